"""A directory with a file for each variable: `directory:PATH`. It is written as a Kubernetes volume is.

The link `..data` leads to a directory with all files of one version, and each file is a link through it. Replacing that
one link replaces all files at once. No reader fails, and none gets a part of one version and a part of another.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from robodj_secretguard.common.files import make_directory, read_unlinked, sync_directory, write_new
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.local import LocalStore
from robodj_secretguard.managers.manager import AbsentError, Fields
from robodj_secretguard.startup.directory import read_directory

_DATA: Final = "..data"
_OURS: Final = re.compile(r"\.\.robodj-[0-9a-f]{16}")
"""The names of what a write makes in the directory."""
_MOST_COPIED: Final = 1 << 30
_READERS_SECONDS: Final = 0.05
"""How long a version stays after its end, for readers that have just followed the link to it."""


class Directory(LocalStore):
    """The files of one directory that are named after the variables, or after the secrets."""

    has_files = True

    def fetch(self, names: Collection[str]) -> Fields:
        """Return the content of each file, all of them of one version of the directory."""
        return read_directory(self._place, self._policies, names, self.seconds)

    def fields_found(self) -> Fields:
        """Return the content of each declared file, and `None` for every other one."""
        if not os.path.lexists(self._place):
            raise AbsentError("does not exist", "correct the path; rotate put stores the first keys there")
        return self.fetch(self.declared())

    def judged_path(self) -> str:
        """Return a path in the directory."""
        return os.path.join(self.path(), _DATA) if os.path.isdir(self.path()) else self.path()

    def require_writable(self, fields: Fields) -> None:
        """Refuse what is no text, and a file that is somewhere else or was edited beside its link."""
        place = self.path()
        is_linked = os.path.lexists(os.path.join(place, _DATA))
        for name in self.declared():
            if not isinstance(fields.get(name), str | None):
                raise ManagerError(f"has {name}, but it is not a string", f"store {name} as a string")
            for file in self._files_of(name):
                path = os.path.join(place, file)
                through = os.path.join(_DATA, file)
                if os.path.islink(path) and os.readlink(path) != through:
                    raise ManagerError(
                        f"was not written: {file} is a link to another place", f"put the file itself in place of {file}"
                    )
                if is_linked and os.path.isfile(path) and not _is_equal(path, os.path.join(place, through)):
                    raise ManagerError(
                        f"was not written: {file} is not the same as {through}, which services read",
                        f"put the right text into {through}, and delete {file}",
                    )

    def replace(self, fields: Fields) -> None:
        """Make a directory with all files of the new version, and let the link lead to it."""
        place = self.path()
        link = os.path.join(place, _DATA)
        make_directory(place, mode=0o700)
        earlier = ""
        try:
            if not os.path.lexists(link):  # the files that are there become a version: nothing changes for readers
                self._publish(place, {})
            self._link_files(place)
            earlier = os.path.realpath(link)
            self._publish(place, self._changes(fields))
            self._link_files(place)
            time.sleep(_READERS_SECONDS)
        finally:
            self._remove_others(place, earlier)

    def _files_of(self, name: str) -> list[str]:
        """Return the files that can have a variable: they are named after it, or after the secret."""
        aliases = {policy.variable: policy.name for policy in self._policies}
        return [name, aliases[name]] if name in aliases else [name]

    def _changes(self, fields: Fields) -> dict[str, str | None]:
        """Return the new text of each file that changes; `None` for one that is removed."""
        found = self.fields_found()
        changes: dict[str, str | None] = {}
        for name in self.declared():
            if fields.get(name) == found.get(name):
                continue
            files = [file for file in self._files_of(name) if os.path.lexists(os.path.join(self.path(), file))]
            changes |= dict.fromkeys(files)
            changes[files[0] if files else name] = fields.get(name)
        return changes

    def _publish(self, place: str, changes: Mapping[str, str | None]) -> None:
        """Make a directory with the files of the present version and these changes, and let the link lead to it."""
        link = os.path.join(place, _DATA)
        source = link if os.path.lexists(link) else place
        status = os.stat(place)
        new = os.path.join(place, f"..robodj-{secrets.token_hex(8)}")
        os.mkdir(new, 0o700)
        with suppress(PermissionError):  # only root may
            os.chown(new, status.st_uid, status.st_gid)
        declared = {file for name in self.declared() for file in self._files_of(name)}
        for entry in [*os.scandir(source)]:
            target = os.path.join(new, entry.name)
            if entry.name in changes:
                continue
            if entry.is_file(follow_symlinks=False):
                content, file = read_unlinked(entry.path, _MOST_COPIED)
                is_ours = entry.name in declared
                write_new(target, content, 0o600 if is_ours else file.st_mode & 0o777, None if is_ours else file)
            elif source == link and entry.is_dir():  # another program has made this version
                shutil.copytree(entry.path, target, symlinks=True)
        for name, text in changes.items():
            if text is not None:
                write_new(os.path.join(new, name), text.encode(), 0o600)
        os.chmod(new, status.st_mode & 0o755)
        sync_directory(new)
        self._link(place, os.path.basename(new), _DATA)

    def _link(self, place: str, target: str, name: str) -> None:
        """Put a link in place of a file or of a link, at once."""
        new = os.path.join(place, f"..robodj-{secrets.token_hex(8)}")
        os.symlink(target, new)
        os.replace(new, os.path.join(place, name))
        sync_directory(place)

    def _link_files(self, place: str) -> None:
        """Let each file be a link to that of the present version, and remove the links to files that are gone."""
        data = os.path.join(place, _DATA)
        for name in os.listdir(data):
            path = os.path.join(place, name)
            if not os.path.lexists(path) or (os.path.isfile(path) and not os.path.islink(path)):
                self._link(place, os.path.join(_DATA, name), name)
        for entry in [*os.scandir(place)]:
            is_through = entry.is_symlink() and os.readlink(entry.path) == os.path.join(_DATA, entry.name)
            if is_through and not os.path.lexists(os.path.join(data, entry.name)):
                os.unlink(entry.path)

    def _remove_others(self, place: str, earlier: str) -> None:
        """Remove the version that was replaced, and what interrupted writes have left behind."""
        present = os.path.realpath(os.path.join(place, _DATA))
        for entry in [*os.scandir(place)]:
            is_old = entry.path == earlier or _OURS.fullmatch(entry.name)
            if not is_old or entry.path == present:
                continue
            if entry.is_symlink():
                os.unlink(entry.path)
            else:
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_equal(path: str, other: str) -> bool:
    """Check whether a path is a link, or a file with the same content as the other one."""
    if os.path.islink(path):
        return True
    with suppress(FileNotFoundError):
        return read_unlinked(path, _MOST_COPIED)[0] == read_unlinked(other, _MOST_COPIED)[0]
    return False
