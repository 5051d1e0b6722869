"""What the stores on this machine share: a lock, a comparison of contents, and the versions that are kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from robodj_secretguard.common.files import closing, locked, make_directory, open_or_make, reason, write_file
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.manager import ABSENT, CONFLICT, STORE_CHECK, Fields, Store, Stored, sealed
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import shown_place
from robodj_secretguard.startup.directory import MAX_BYTES, names_of
from robodj_secretguard.startup.file_reader import path_faults, read_most

MOST_VERSIONS: Final = 20
_ENTRY: Final = re.compile(r"([0-9]{8})\.([0-9a-f]{32})\.json")


class LocalStore(Store):
    """A file or a directory of this machine. Its version is a hash of its fields, so that an edit by hand shows.

    A subclass has `fields_found`, `require_writable` and `replace`.
    """

    purges = True
    least_seconds = 30.0
    reach = "end what holds its lock, then start again"

    @abstractmethod
    def fields_found(self) -> Fields:
        """Return all fields; `None` for one that is never written.

        Raises:
            AbsentError: there is no such file or directory.
        """

    @abstractmethod
    def require_writable(self, fields: Fields) -> None:
        """Raise a `ManagerError` where fields cannot be written."""

    @abstractmethod
    def replace(self, fields: Fields) -> None:
        """Put fields in place of those that are there, at once. The lock is held."""

    def require_own(self) -> None:
        """Refuse a link: what it leads to may have another purpose. Nothing is made beside it."""
        if os.path.islink(self._place.rstrip(os.sep)):
            kind, _, _ = self.name.partition(":")
            raise ManagerError(
                "is not written: it is a symbolic link", f"name what it leads to: {kind}:{shown_place(self.path())}"
            )

    def current(self) -> Stored:
        """Return what is there."""
        return _stored(self.fields_found())

    def write(self, fields: SealedStr, current: Stored) -> None:
        """Keep what is there and what is new as versions, and replace the one by the other."""
        new = Stored(fields, "").opened()
        with self._held() as kept:
            found = self.found()
            if found.version != current.version:
                raise ManagerError(*CONFLICT)
            self.require_writable(new)
            if found is not ABSENT:
                kept.add(found)
            # Kept before it is in place: an edit by hand could destroy the only copy right afterwards.
            kept.add(_stored(new))
            self.replace(new)

    def versions(self) -> Sequence[str]:
        """Return the kept versions."""
        return [*reversed(self._kept().names())]

    def version(self, name: str) -> Stored:
        """Return a kept version."""
        return self._kept().read(name)

    def purge(self, is_ended: Callable[[str], bool]) -> None:
        """Take fields out of the kept versions."""
        with self._held() as kept:
            current = self.current().version
            for name in kept.names():
                if name != current:
                    kept.purge(name, is_ended)

    def declared(self) -> list[str]:
        """Return the fields that are read and written. Whatever else is there stays as it is."""
        return [*names_of(self._policies), STORE_CHECK]

    def path(self) -> str:
        """Return the path without links."""
        return os.path.realpath(self._place)

    def judged_path(self) -> str:
        """Return a path, whose directories are judged."""
        return self.path()

    def _kept(self) -> KeptVersions:
        return KeptVersions(f"{self.path()}.versions")

    @contextmanager
    def _held(self) -> Iterator[KeptVersions]:
        """Hold the lock, and turn errors of the system into those of a manager."""
        try:
            self.require_own()
            if exposed := path_faults(self.judged_path()).exposed:
                raise ManagerError(f"is not written: it {exposed[0]}", "choose a path that only its owner can write")
            kept = self._kept()
            with kept.locked():
                yield kept
        except OSError as error:
            raise ManagerError(
                f"was not written: {reason(error)}", "let the user of this command write there, then run it again"
            ) from None


class KeptVersions:
    """The versions of a store, in a directory that only its owner can enter, and that is never delivered.

    Each one is a file. Its name has a number, which tells the order, and the version.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory, hold its lock, and remove what an interrupted write has left behind."""
        make_directory(self.directory, mode=0o700)
        status = os.lstat(self.directory)
        if not stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
            shown = shown_place(self.directory)
            raise ManagerError(f"is not written: others may read {shown}", f"run chmod 700 {shown}")
        descriptor, _ = open_or_make(os.path.join(self.directory, "lock"), os.O_RDWR, 0o600)
        with closing(descriptor), locked(descriptor):
            known = {"lock", *self._files().values()}
            for name in os.listdir(self.directory):
                if name not in known:
                    os.unlink(os.path.join(self.directory, name))
            yield

    def names(self) -> list[str]:
        """Return the versions, the oldest first."""
        return [*self._files()]

    def read(self, name: str) -> Stored:
        """Return a version."""
        try:
            descriptor = os.open(os.path.join(self.directory, self._files()[name]), os.O_RDONLY)
            with closing(descriptor):
                content = json.loads(read_most(descriptor, 2 * MAX_BYTES))
            return Stored(sealed(content["fields"]), name)
        except (OSError, LookupError, TypeError, ValueError):
            raise ManagerError("has no such version any more", "run this command again") from None

    def add(self, stored: Stored) -> None:
        """Keep a version as the newest one, and remove those that are too old."""
        files = self._files()
        if stored.version == next(reversed(files), ""):
            return
        last = next(reversed(files.values()), "00000000")
        number = int(last[:8]) + 1
        self._write(f"{number:08d}.{stored.version}.json", stored.opened())
        removed = [files.pop(stored.version)] if stored.version in files else []
        removed += [*files.values()][: max(0, len(files) + 1 - MOST_VERSIONS)]
        for file in removed:
            os.unlink(os.path.join(self.directory, file))

    def purge(self, name: str, is_ended: Callable[[str], bool]) -> None:
        """Take the fields that `is_ended` accepts out of a version, which keeps its name."""
        fields = self.read(name).opened()
        left = {field: text for field, text in fields.items() if not (isinstance(text, str) and is_ended(text))}
        if left != fields:
            self._write(self._files()[name], left)

    def _files(self) -> dict[str, str]:
        """Return the file of each version, the oldest first."""
        try:
            found = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return {}
        files: dict[str, str] = {}
        for file in found:
            if match := _ENTRY.fullmatch(file):
                files.pop(match[2], None)  # an interrupted write has left it
                files[match[2]] = file
        return files

    def _write(self, file: str, fields: Fields) -> None:
        content = sealed({"fields": fields}).get_secret_value().encode()
        write_file(os.path.join(self.directory, file), content, 0o600, replace=True)


def _stored(fields: Fields) -> Stored:
    """Return fields as a version. Its name is a hash of those that are texts."""
    texts = {name: value for name, value in fields.items() if value is not None}
    content = Stored(sealed(texts), "").canonical().encode()
    return Stored(sealed(fields), hashlib.sha256(content).hexdigest()[:32])
