"""The errors that callers of an API see.

Grouped by what the caller does next: 4xx means change the request, 5xx means try again. The name
of the class is the ``code`` in the body of the reply.
"""


class ApiError(Exception):
    """A refusal with its HTTP status; ``str(error)`` is the message for the caller."""

    status = 500

    @property
    def code(self) -> str:
        """The error's name in the reply's body."""
        return type(self).__name__


class InputError(ApiError):
    """The request is well formed but asks for something impossible."""

    status = 400


class InputValidationError(ApiError):
    """The body does not have the prescribed shape."""

    status = 400


class MalformedPayload(ApiError):
    """The body is not JSON, or not announced as JSON."""

    status = 400


class InvalidRequestArguments(ApiError):
    """A part of the path or the query does not have the prescribed form."""

    status = 400


class AuthenticationFailed(ApiError):
    """The caller is not who the signature claims."""

    status = 401


class InsufficientScopes(ApiError):
    """The caller is known but may not do this."""

    status = 403


class ResourceNotFound(ApiError):
    """There is no such thing."""

    status = 404


class NoMatchingMethod(ApiError):
    """None of the offered ways of transfer can be used."""

    status = 406


class RequestConflict(ApiError):
    """The request contradicts the present state."""

    status = 409


class ResourceExpired(ApiError):
    """There was such a thing."""

    status = 410


class InternalServerError(ApiError):
    """A fault of the service; also where the real services have such faults."""

    status = 500


class DevclusterError(Exception):
    """The development cluster cannot start; the message says why and what to do."""
