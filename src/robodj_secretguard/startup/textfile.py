"""What is known of a small text file that decides whether a service starts: its lines, and its faults."""

from __future__ import annotations

from typing import Final

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.sealed import SealedStr

# The faults of a file. Each is the end of a sentence that begins with the name of the file.
NOT_REGULAR: Final = "is not a regular file"
CHANGED: Final = "changed while it was read"
NOT_ALLOWED: Final = "cannot be read by this user"
CANNOT_BE_READ: Final = "cannot be read"
TOO_LARGE: Final = "is larger than {} bytes"
NOT_UTF_8: Final = "is not UTF-8"
WRITABLE: Final = "can be written by others"
IN_WRITABLE: Final = "is in a directory that others can write"
BELOW_WRITABLE: Final = "is below a directory that others can write"
OWNED: Final = "is owned by another user"
IN_OWNED: Final = "is in a directory that another user owns"
BELOW_OWNED: Final = "is below a directory that another user owns"
READABLE: Final = "can be read by others"
GROUP_WRITABLE: Final = "can be written by its group"


MAX_CHARACTERS: Final = 1 << 16  # of the longest value, as the systems limit the variables of a command


class TextFile(Frozen):
    """The result of one bounded read of a file: a key file (policy section 2), or the revocation list.

    Attributes:
        exists: whether the file exists.
        dangling: whether its path is a broken link.
        empty: whether it has no line at all, as during a checkout.
        lines: the lines other than blank lines and comments; or the whole text as one line.
        numbers: the number of each of these lines in the file, from 1.
        unreadable: why the lines cannot be read.
        exposed: why others could have written the lines.
        lax: permissions that are wider than those of a key file should be.
        lax_paths: parts of the path that others could write if the file system were not read-only.
        foreign: whether another ordinary user owns the file or a directory above it.
        misnamed: whether a file with the same name and `.txt` is next to it.
    """

    exists: bool = False
    dangling: bool = False
    empty: bool = True
    lines: tuple[SealedStr, ...] = ()
    numbers: tuple[int, ...] = ()
    unreadable: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    lax_paths: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    misnamed: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Why the file may not be used."""
        return self.unreadable + self.exposed


NO_TEXT: Final = TextFile()


def is_one_line(text: str) -> bool:
    """Check whether text has no other kind of line break, after which an editor shows another line."""
    return len(text.splitlines()) == 1
