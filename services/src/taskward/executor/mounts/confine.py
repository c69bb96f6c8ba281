"""Lets a process change nothing but one directory, and reach no network: Landlock (Linux 5.13), ``man 7 landlock``.

Where the kernel has no Landlock nothing happens; the rights of the process's user are the first line anyway.
"""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION: Final = 1
_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38
_READABLE: Final = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null")

_EXECUTE, _READ_FILE, _READ_DIRECTORY = 1 << 0, 1 << 2, 1 << 3
_MAKE_DEVICES: Final = 1 << 6 | 1 << 11  # an ordinary user can make one kind, too: the whiteout of overlayfs
_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}  # by version of the interface
_CONNECT_AND_BIND: Final = 3
_libc: Final = ctypes.CDLL(None, use_errno=True)


def confine(writable: int | None) -> bool:
    """From now on, for this process and its children: reads programs and `writable`, writes below `writable` only.

    Descriptors that are open stay usable. Returns False where the kernel cannot do it.
    """
    version = int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)))
    if version < 1:
        return False
    rights = _RIGHTS[min(version, max(_RIGHTS))]
    attributes = struct.pack("=QQ", rights, _CONNECT_AND_BIND)[: 16 if version >= 4 else 8]
    ruleset = int(_libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    if ruleset < 0:
        return False
    for path in _READABLE:
        if Path(path).exists():
            _allow(ruleset, path, _EXECUTE | _READ_FILE | (_READ_DIRECTORY if Path(path).is_dir() else 0))
    if writable is not None:
        _rule(ruleset, writable, rights & ~_EXECUTE & ~_MAKE_DEVICES)
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return int(_libc.syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0))) == 0


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _rule(ruleset, fd, rights)
    finally:
        os.close(fd)


def _rule(ruleset: int, fd: int, rights: int) -> None:
    packed = struct.pack("=Qi", rights, fd)
    if _libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), packed, ctypes.c_uint(0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
