"""Windows, as far as the files of the lifecycle depend on it: its lock, and the functions that `os` lacks there."""

from __future__ import annotations

import errno
import os
import sys
from types import SimpleNamespace
from typing import Final

import pytest

from robodj_secretguard.common import files
from robodj_secretguard.lifecycle import operations_log

_TAKE: Final = 2
_GIVE_BACK: Final = 0


class _Msvcrt:
    """A lock on a range at the position of the file. Nobody can read the range, not even the process that holds it."""

    LK_NBLCK = _TAKE
    LK_UNLCK = _GIVE_BACK

    def __init__(self) -> None:
        self.held: set[tuple[int, int]] = set()

    def locking(self, descriptor: int, mode: int, size: int) -> None:
        assert size == 1
        locked = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if (locked in self.held) is (mode == _TAKE):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self.held ^= {locked}


def pretend_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules that write files believe that they run on Windows."""
    windows = SimpleNamespace(**{**vars(os), "name": "nt", "fchmod": None})
    for module in (files, operations_log):
        monkeypatch.setattr(module, "os", windows)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", _Msvcrt())
