"""Takes a connection out of gunicorn's hands after the response head, so that no thread has to stay with it.

A response whose body is a `Handover` ends like this: gunicorn writes the head and asks the body for its first bytes;
the body detaches the socket, gives it to its taker and raises `HandedOver`, which ends the request without anything
else being written. The socket object that gunicorn holds is then closed (its descriptor is -1) and the worker in
`front.py` leaves it alone. A duplicate of the descriptor would not do: gunicorn shuts the connection itself down, for
all its duplicates.
"""

import socket
from collections.abc import Callable, Iterator


class HandedOver(BaseException):
    """The connection belongs to somebody else now. Not an error, and nothing but `front.py` may catch it."""


class Handover:
    """A response body that passes the connection on; `take` gets the socket and owns it.

    Without `with_head` nothing has been written then: `take` answers the request by itself.
    """

    def __init__(
        self, connection: socket.socket, take: Callable[[socket.socket], None], *, with_head: bool = True
    ) -> None:
        self._connection = connection
        self._take = take
        self._with_head = with_head

    def __iter__(self) -> Iterator[bytes]:
        if self._with_head:
            yield b""  # makes gunicorn write the head, and nothing more
        self._take(socket.socket(fileno=self._connection.detach()))
        raise HandedOver
