"""Real files without planted keys: those of this Python and its packages."""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_FILES = 5000
"""How many files must have no false alarm."""
_COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".a", ".o", ".exe", ".lib")
_MORE = ("/usr/include", "/usr/share")
"""Directories with more files, if Python has too few."""


def is_text(path: str) -> bool:
    """Check by its name and its beginning whether a file is text or code."""
    if path.endswith(_COMPILED):
        return False
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(1024)
    except OSError:
        return False


def _files(directory: str) -> Iterator[str]:
    for here, directories, names in os.walk(directory):
        directories.sort()
        yield from (path for name in sorted(names) if os.path.isfile(path := os.path.join(here, name)))


def _directories() -> Iterator[str]:
    roots = [sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib", "include")]
    for root in dict.fromkeys([*roots, *_MORE]):
        if os.path.isdir(root):
            with os.scandir(root) as entries:
                within = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
            yield from (each for each in within if os.path.basename(each) not in {"site-packages", "__pycache__"})


@cache
def real_directories(least: int = LEAST_FILES) -> tuple[tuple[str, ...], int]:
    """Return the first directories with enough files of text and code, and the number of these files.

    Args:
        least: the minimum number of files.
    """
    chosen: list[str] = []
    count = 0
    for directory in _directories():
        if count >= least:
            break
        chosen.append(directory)
        count += sum(map(is_text, _files(directory)))
    return tuple(chosen), count


def real_files(least: int = LEAST_FILES) -> Iterator[tuple[str, str]]:
    """Yield each file of text and code in these directories, and a name for its copy.

    Args:
        least: the minimum number of files.
    """
    for number, directory in enumerate(real_directories(least)[0]):
        for path in _files(directory):
            if is_text(path):
                yield path, os.path.join(f"{number}-{os.path.basename(directory)}", os.path.relpath(path, directory))
