"""What can go wrong with keys."""


class UnusableKeyError(Exception):
    """A key or its place on disk is not as it has to be, so the keyholder does not start; the text has a remedy."""


class RefusedBodyError(Exception):
    """This body cannot be signed in this form and never will; the text says why."""


class SigningError(Exception):
    """The key is there, but no good signature came out of it. Nothing left; it may be tried again."""
