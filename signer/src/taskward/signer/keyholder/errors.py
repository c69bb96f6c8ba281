"""Why a body is not signed."""


class RefusedBodyError(Exception):
    """This body cannot be signed in this form and never will; the text says why."""


class SigningError(Exception):
    """The key is there, but no good signature came out of it. Nothing left; the text says why."""
