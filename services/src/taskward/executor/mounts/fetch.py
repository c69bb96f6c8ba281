"""Downloads: any http(s) URL into an open file, whatever the server does. Runs with the rights of the task's user.

A connection that breaks is taken up where it broke (Range with If-Range) when the server can do that, else from the
start. Content-Encoding gzip is undone, as generic-worker's HTTP library does; hash and size are those of the result.
"""

import hashlib
import http.client
import os
import time
import zlib
from dataclasses import dataclass
from typing import Any, Final

from taskward.executor.mounts.ask import STALL_S, Client, Transient, attempts, check_status, reason
from taskward.executor.mounts.errands import Refused

_PIECE_BYTES: Final = 1 << 20
_CODED_PIECE_BYTES: Final = 1 << 16  # what follows a gzip member is copied at its end


@dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Attributes:
        most_bytes: its size; 0 is no limit.
        longest_s: from the first attempt to the last byte.
        stall_s: how long a server may send nothing.
    """

    most_bytes: int
    longest_s: float
    stall_s: float = STALL_S


class Download:
    """One URL into one file.

    Args:
        client: how to ask.
        url: what.
        to_proxy: whether it is a call of Taskcluster through the task's own proxy.
        file: descriptor of an empty file.
        limits: what it may cost.
    """

    def __init__(self, client: Client, url: str, to_proxy: bool, file: int, limits: Limits) -> None:
        self._client, self._url, self._to_proxy, self._file, self._limits = client, url, to_proxy, file, limits
        self._deadline = time.monotonic() + limits.longest_s
        self._start_over()

    def run(self) -> dict[str, Any]:
        """``size`` and ``sha256`` of what is in the file now.

        Raises:
            Refused: it cannot be had.
            OSError: it cannot be written.
        """
        attempts(self._attempt, self._deadline)
        return {"size": self._size, "sha256": self._hash.hexdigest()}

    def _start_over(self) -> None:
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._hash, self._size, self._received = hashlib.sha256(), 0, 0
        self._validator = ""
        self._decoder: Any = None

    def _attempt(self) -> None:
        fields = {"Range": f"bytes={self._received}-", "If-Range": self._validator} if self._validator else {}
        response = self._client.get(self._url, fields, to_proxy=self._to_proxy)
        try:
            self._begin(response)
            self._receive(response)
        except (OSError, http.client.HTTPException) as error:
            raise Transient(reason(error)) from error
        except zlib.error as error:
            raise Refused(f"it says that it is compressed with gzip, but: {error}") from error
        finally:
            response.close()

    def _begin(self, response: http.client.HTTPResponse) -> None:
        if response.status == 416 and self._received:
            self._start_over()
            raise Transient("the server cannot continue where it stopped")
        check_status(response, says_why=self._to_proxy)
        start = response.getheader("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if response.status == 206 and self._received and start == str(self._received):
            return
        self._start_over()
        if response.status != 200:
            raise Transient(f"the server answered with status {response.status}")
        etag = response.getheader("ETag", "")
        self._validator = "" if etag.startswith("W/") else etag or response.getheader("Last-Modified", "")
        if response.getheader("Content-Encoding", "").lower() in ("gzip", "x-gzip"):
            self._decoder = zlib.decompressobj(31)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        while piece := response.read1(_PIECE_BYTES if self._decoder is None else _CODED_PIECE_BYTES):
            self._received += len(piece)
            self._store(piece)
            if time.monotonic() > self._deadline:
                raise Refused(f"it takes longer than {self._limits.longest_s:.0f} s")
        if response.length or (self._decoder is not None and not self._decoder.eof):
            raise Transient("the connection was closed before the end")

    def _store(self, piece: bytes) -> None:
        if self._decoder is None:
            self._write(piece)
            return
        while piece:
            if self._decoder.eof:  # another gzip member follows
                self._decoder = zlib.decompressobj(31)
            self._write(self._decoder.decompress(piece, _PIECE_BYTES))
            piece = self._decoder.unconsumed_tail or self._decoder.unused_data

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._limits.most_bytes and self._size > self._limits.most_bytes:
            raise Refused(f"it is larger than {self._limits.most_bytes} bytes, the most that this worker downloads")
        self._hash.update(data)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise Refused(f"it cannot be written: {error.strerror}") from error
