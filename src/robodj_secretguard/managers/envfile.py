"""A file of variables, such as systemd's EnvironmentFile or that of docker's `--env-file`: `envfile:PATH`.

systemd, docker and `sh` read such a file differently. So a declared variable has one form here, which all of them read
alike: its name, `=`, and characters that need no quotes. All other lines stay as they are.
"""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from robodj_secretguard.common.files import read_unlinked, sync_directory, write_new
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.local import LocalStore
from robodj_secretguard.managers.manager import AbsentError, Fields
from robodj_secretguard.startup.directory import MAX_BYTES
from robodj_secretguard.startup.file_reader import read_text_file
from robodj_secretguard.startup.inputs import CHANGED, ROTATION_RECORD

_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_./:@,+=%-]{0,60000}")
"""What needs no quotes, and is no longer than a line that docker reads."""
_ASSIGNED: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_MOST_READS: Final = 10
_ONE_FORM: Final = (
    "write it as NAME=VALUE: no export, quotes, blanks or backslashes, once, and after a line that is complete"
)


class EnvFile(LocalStore):
    """The variables of one file. Only declared ones are read and written."""

    def fields_found(self) -> Fields:
        """Return the text of each declared variable, and `None` for every other one."""
        lines = self._lines()
        fields: dict[str, object] = {}
        for line in lines:
            if match := _ASSIGNED.match(line):
                fields[match[1]] = None
        for name, number in self._declared_lines(lines).items():
            text = lines[number].rstrip("\n").partition("=")[2]
            fields[name] = _record_of(text) if name == ROTATION_RECORD else text
        return fields

    def require_own(self) -> None:
        """Refuse a link, and a file of another format."""
        super().require_own()
        lines = [line for line in self._present_lines() if line.strip() and not line.lstrip().startswith("#")]
        if lines and not any(_ASSIGNED.match(line) for line in lines):
            raise ManagerError(
                "is not written: it has lines, but none of the form NAME=VALUE",
                "name an environment file, or a path where no file is yet",
            )

    def require_writable(self, fields: Fields) -> None:
        """Refuse a value that would need quotes, and a file whose end is not complete."""
        if _insides(self._present_lines())[-1]:
            raise ManagerError(
                "was not written: its last line is not complete", "close its quote, or take its backslash away"
            )
        for name in self.declared():
            text = fields.get(name)
            is_unquoted = text is None or (isinstance(text, str) and _UNQUOTED.fullmatch(text))
            if name != ROTATION_RECORD and not is_unquoted:
                raise ManagerError(
                    f"cannot have {name}: its value needs quotes, which systemd, docker and sh read differently",
                    "store these secrets in directory:PATH instead",
                )

    def replace(self, fields: Fields) -> None:
        """Write a file with the new lines, and put it in place of the old one."""
        path = self.path()
        lines = self._present_lines()
        numbers = self._declared_lines(lines)
        added = []
        for name in self.declared():
            text = fields.get(name)
            line = "" if text is None else f"{name}={_coded(text) if name == ROTATION_RECORD else text}\n"
            if name not in numbers:
                added.append(line)
            elif line.rstrip("\n") != lines[numbers[name]].rstrip("\n"):
                lines[numbers[name]] = line
        lines = [line for line in lines if line]  # without those of removed variables
        if any(added) and lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines += added
        owner = os.stat(path) if os.path.lexists(path) else None
        # Beside the kept versions: what an interruption leaves there is removed by the next write.
        new = os.path.join(f"{path}.versions", f"{secrets.token_hex(8)}.new")
        write_new(new, "".join(lines).encode(), 0o600, owner or os.stat(os.path.dirname(path)))
        os.replace(new, path)
        sync_directory(os.path.dirname(path))

    def _present_lines(self) -> list[str]:
        """Return the lines of the file; none where there is no file yet."""
        return self._lines() if os.path.lexists(self.path()) else []

    def _lines(self) -> list[str]:
        """Return the lines of the file, each with its newline.

        Raises:
            AbsentError: there is no file.
            ManagerError: the file is not safe, or is no text.
        """
        file = read_text_file(self._place, most=MAX_BYTES, is_whole=True)
        for _ in range(_MOST_READS):  # another file took its place meanwhile
            if file.unreadable == (CHANGED,):
                file = read_text_file(self._place, most=MAX_BYTES, is_whole=True)
        if not file.exists:
            raise AbsentError("does not exist", "correct the path; rotate put stores the first keys there")
        if file.unsafe:
            raise ManagerError(f"is not used: it {file.unsafe[0]}", "make it a file that only its owner can write")
        content, _ = read_unlinked(self.path(), MAX_BYTES)
        return io.StringIO(content.decode(), newline="\n").readlines()

    def _declared_lines(self, lines: Sequence[str]) -> dict[str, int]:
        """Return the index of the line of each declared variable.

        Raises:
            ManagerError: systemd, docker and `sh` would read such a line differently.
        """
        names = "|".join(map(re.escape, self.declared()))
        speaks_of = re.compile(rf"(?<![A-Za-z0-9_])({names})\s*(?:\+?=|$)")
        has_form = re.compile(rf"({names})=({_UNQUOTED.pattern})\n?")
        found: dict[str, int] = {}
        for index, (line, is_inside) in enumerate(zip(lines, _insides(lines), strict=False)):
            match = speaks_of.search(line)
            if match is None or line.lstrip().startswith("#"):
                continue
            name = match[1]
            if is_inside or name in found or not has_form.fullmatch(line):
                raise ManagerError(
                    f"has {name} in line {index + 1} in a form that programs read differently", _ONE_FORM
                )
            found[name] = index
        return found


def _insides(lines: Iterable[str]) -> list[bool]:
    """Return for each line, and for one after the last, whether some programs take it as a part of the line before.

    These are lines after a backslash, which systemd obeys in comments too, and lines after a quote that is still open.
    """
    insides = [False]
    quote = ""
    for line in lines:
        if quote or not line.lstrip().startswith("#"):
            quote = _open_quote(line, quote)
        insides.append(bool(quote) or line.rstrip("\r\n").endswith("\\"))
    return insides


def _open_quote(line: str, quote: str) -> str:
    """Return the quote that is open at the end of a line; empty for none. `quote` is open at its beginning."""
    before = " "
    escaped = False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character == "#" and before.isspace():
            break
        elif character in "'\"":
            quote = character
        before = character
    return quote


def _coded(record: str) -> str:
    """Return the record of a rotation, which is JSON, in characters that need no quotes."""
    return base64.urlsafe_b64encode(record.encode()).decode()


def _record_of(text: str) -> str:
    """Return what `_coded` was given; the text itself where it is something else."""
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except ValueError:
        return text
