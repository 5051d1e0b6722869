"""Read a directory of files: systemd credentials, Docker and Kubernetes secrets, templates of an agent."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from robodj_secretguard.managers.manager import MAX_BYTES, Manager, ManagerError
from robodj_secretguard.startup.file_reader import is_read_only, read_text_file
from robodj_secretguard.startup.textfile import BELOW_WRITABLE, CHANGED, NOT_ALLOWED, TextFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


SETTLED_SECONDS: Final = 1.0
"""How long the files must be unchanged, as an agent writes one after the other."""
_KUBERNETES: Final = "..data"
"""In a Kubernetes volume, the link to the directory of all files. Replacing it replaces all of them at once."""
_PAUSE: Final = 0.01
_OTHERS: Final = (
    "compare the keys with their origin, then run chmod o-w on their directory and {} (or mount it read-only)"
)
_LINE: Final = "write {} again, as one line in UTF-8"
_FIXES: Final = {
    BELOW_WRITABLE: "compare the keys with their origin, then use a directory that is below no directory of others",
    NOT_ALLOWED: "let the user of this command read {} and enter the directory",
    CHANGED: "stop what writes {} again and again, then start again",
}


class Directory(Manager):
    """The files of one directory that are named after the variables, or after the secrets."""

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:
        """Return the content of each file, all of them of one version of the directory."""
        deadline, earlier = time.monotonic() + seconds, dict[str, tuple[int, ...]]()
        while time.monotonic() < deadline:
            link = os.path.join(self._place, _KUBERNETES)
            is_atomic = os.path.lexists(link)
            path = link if is_atomic else self._place
            directory = os.path.realpath(path)
            wait = _PAUSE
            try:
                before = _stats_of(directory)
                found, texts = self._read(directory, names)
                # The files of a directory that stayed the same are of one version. After it was replaced, some of them
                # may be removed already.
                if before == _stats_of(directory) and directory == os.path.realpath(path):
                    wait = 0 if is_atomic or is_read_only(directory) else _unsettled(before, earlier)
                    earlier = before
                    if wait <= 0:
                        return _variables_in(found, texts)
            except (NotADirectoryError, PermissionError):
                raise ManagerError(
                    "is not a directory that this user may read", "correct the path, or let this user read it"
                ) from None
            except OSError:  # perhaps another directory takes its place
                time.sleep(_PAUSE)
                if not os.path.exists(self._place):
                    raise ManagerError("does not exist", "correct the path") from None
            time.sleep(max(0, min(wait, deadline - time.monotonic())))  # end in time, with the error below
        raise ManagerError("does not stay the same", "stop what changes its files, then start again", is_temporary=True)

    def _read(self, directory: str, names: Collection[str]) -> tuple[list[str], dict[tuple[str, str], TextFile]]:
        """Return the names of all files, and the content of each wanted one, by its variable and its name."""
        aliases = {policy.variable: policy.name for policy in self._policies}
        found = os.listdir(directory)
        wanted = [(name, file) for name in names for file in dict.fromkeys((name, aliases.get(name, name)))]
        paths = {(name, file): os.path.join(directory, file) for name, file in wanted if file in found}
        return found, {key: read_text_file(path, most=MAX_BYTES) for key, path in paths.items()}


def _variables_in(found: Iterable[str], texts: Mapping[tuple[str, str], TextFile]) -> Mapping[str, object]:
    """Return the content of each file. One that may not be used, or that contradicts another one, is an error."""
    variables: dict[str, object] = dict.fromkeys(found)
    for (name, file), text in texts.items():
        if why := text.unsafe:
            remedy = _FIXES.get(why[0], _LINE if text.unreadable else _OTHERS)
            raise ManagerError(f"has {file}, which {why[0]}", remedy.format(file), is_temporary=why == (CHANGED,))
        value = "\n".join([line.get_secret_value() for line in text.lines])
        if variables.get(name) and variables[name] != value:
            raise ManagerError(f"has {name} and {file} with different values", "delete the file with the wrong one")
        variables[name] = value
    return variables


def _stats_of(directory: str) -> dict[str, tuple[int, ...]]:
    """Return numbers of a directory and its files that change when one is added, written, replaced or removed."""
    paths = [directory, *[each.path for each in os.scandir(directory) if os.path.exists(each)]]  # no broken link
    stats = [(path, os.stat(path)) for path in paths]
    return {path: (each.st_mtime_ns, each.st_ctime_ns, each.st_size, each.st_ino, each.st_dev) for path, each in stats}


def _unsettled(version: Mapping[str, tuple[int, ...]], earlier: Mapping[str, tuple[int, ...]]) -> float:
    """Return for how many seconds to wait, as somebody may be writing further files; at most zero where all are old."""
    now = time.time()
    # A copy may have the time of its original: then only the second one tells when it was made.
    ages = [now - changed / 1e9 for mtime, ctime, *_ in version.values() for changed in (mtime, ctime)]
    wait = max([SETTLED_SECONDS - age for age in ages if age > -SETTLED_SECONDS], default=0)
    # While a file is written again, it may be empty and still have its old times.
    is_empty = any(not size for _, _, size, *_ in version.values())
    return max(wait, SETTLED_SECONDS) if is_empty and version != earlier else wait
