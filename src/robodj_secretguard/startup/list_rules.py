"""The checks of the revocation list (policy section 4), and of config directories. Few starts import this module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from robodj_secretguard.secret.material import join_faults
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import listed, shown_place
from robodj_secretguard.startup.file_remedies import chmod
from robodj_secretguard.startup.inputs import (
    BELOW_OWNED,
    CONFIG_DIR,
    IN_OWNED,
    INSTANT_FORM,
    NOT_ALLOWED,
    OWNED,
    REVOKED_FINGERPRINTS,
    TextFile,
)
from robodj_secretguard.startup.readings import (
    REVOKED_FILE,
    SHOWN_DIRECTORIES,
    WORKING_DIRECTORY_DELETED,
    NamedBy,
    Setup,
    entries_in,
    entries_of,
    parsed_entry,
    shown_path,
)
from robodj_secretguard.startup.rules import Check, Problem, Problems


def named_list(source: str) -> str:
    """Return the name of the revocation list of a source."""
    return {f"file:{REVOKED_FILE}": REVOKED_FILE, "environment": REVOKED_FINGERPRINTS}.get(
        source, f"{REVOKED_FINGERPRINTS} in {source}"
    )


def invalid_lines(file: TextFile) -> list[int]:
    """Return the numbers of the lines that are not fingerprints. Never return a line: it may be a key."""
    return [number for number, entry in zip(file.numbers, entries_of(file), strict=True) if not parsed_entry(entry)]


def invalid_entries(variable: SealedStr) -> list[int]:
    """Return the numbers, from 1, of the variable's entries that are not fingerprints."""
    return [number for number, entry in enumerate(entries_in(variable), start=1) if not parsed_entry(entry)]


def absent_lists(files: Sequence[TextFile]) -> tuple[int, ...]:
    """Return the numbers of the lists that count as absent for a model that requires a list.

    That is the last one, if it does not exist, and each empty one: a checkout may not be finished. An unreadable list
    has another alert.
    """
    last = len(files) - 1
    return tuple(
        number
        for number, file in enumerate(files)
        if file.empty and not file.unreadable and not file.dangling and (file.exists or number == last)
    )


_SOURCE_OF_LISTS: Final = f"file:{REVOKED_FILE}"


def check_revocation_list(setup: Setup) -> Problems:
    """Yield what is wrong with the content of the revocation list, and who could have written it."""
    for number, (file, named_by, where) in enumerate(_lists(setup)):
        if faults := ("is a broken link",) if file.dangling else file.unsafe:
            yield Problem(f"{where} {join_faults(faults)}", _how_to_restore(file, where, named_by), _SOURCE_OF_LISTS)
        # An unusable directory has its own finding.
        if setup.list_required and number in absent_lists(setup.lists) and not setup.directory_fault:
            yield Problem(
                f"the revocation list {where} is {'empty' if file.exists else 'missing'}, and the model requires one",
                f"restore {where} from version control",
                _SOURCE_OF_LISTS,
            )
        yield from _invalid(
            ("line", "lines"), invalid_lines(file), where, "version control or the log", _SOURCE_OF_LISTS
        )
    for source, entries in setup.added:
        manager = ", in the manager too" if source == "environment" else ""
        origin = f"an earlier version or the log{manager}"
        yield from _invalid(("entry", "entries"), invalid_entries(entries), named_list(source), origin, source)


def _lists(setup: Setup) -> Iterator[tuple[TextFile, NamedBy | None, str]]:
    """Yield each revocation list, what named its directory, and its path for messages."""
    for file, named_by in zip(setup.lists, (setup.directory_named_by, "model"), strict=False):
        yield file, named_by, shown_path(REVOKED_FILE, named_by)


def _how_to_restore(file: TextFile, where: str, named_by: NamedBy | None) -> str:
    """Return the remedy for a list that cannot be read, or that others could have written."""
    if file.unreadable == (NOT_ALLOWED,):
        return f"let the service's user read {where} (mode 644) and enter each directory above"
    if file.unreadable or file.dangling:
        return f"restore {where} from version control"
    return f"compare it with version control, then {chmod(file, where, named_by)}"


def _invalid(kinds: tuple[str, str], numbers: Sequence[int], where: str, origin: str, source: str) -> Problems:
    """Yield the problem of lines or entries that are not fingerprints, with their first three numbers."""
    if numbers:
        kind, are = (kinds[0], "is not a fingerprint") if len(numbers) == 1 else (kinds[1], "are not fingerprints")
        named = f"{kind} {listed([*map(str, numbers)], 3)}"
        yield Problem(
            f"{named} of {where} {are}",
            f"correct {named} by {origin}; keep the fingerprint, and an instant as @{INSTANT_FORM}",
            source,
        )


def check_list_owners(setup: Setup) -> Problems:
    """Yield who else owns the revocation list or its path, or could write it if the mount were not read-only."""
    for file, _, where in _lists(setup):
        if faults := (*file.lax_paths, *file.foreign):
            remedy = _REMEDY_OF_OWNER.get(faults[0], "put {} into the image, not into a volume that others can write")
            yield Problem(
                f"{'' if file.exists else 'the path '}{where} {join_faults(faults)}",
                remedy.format(where),
                _SOURCE_OF_LISTS,
            )


_REMEDY_OF_OWNER: Final = {
    OWNED: "make root or the service's user the owner of {}",
    IN_OWNED: "make root or the service's user the owner of the directory of {}",
    BELOW_OWNED: "move the config directory to a path where root owns each directory above it",
}


LIST_RULES: Final = (
    (Check.REVOCATION_LIST, check_revocation_list),
    (Check.FILE_PERMISSIONS, check_list_owners),
)
"""For the set-up, where there is a list or one is required."""


def unusable_directories(setup: Setup) -> Problems:
    """Yield the problems of config directories that cannot be used."""
    for named_by, fault, directory in (
        (setup.directory_named_by, setup.directory_fault, setup.directories[0]),
        ("model", setup.model_directory_fault, setup.directories[1]),
    ):
        if fault:
            shown = "" if named_by == "model" else "the config directory "
            path = f": {shown_place(directory)[-60:]}" if named_by else ""  # its end, as a line is short
            yield Problem(
                f"{shown}{SHOWN_DIRECTORIES[named_by]} {fault}{path}",
                _OF_DIRECTORIES.get(fault, _OF_DIRECTORIES[named_by]),
                "environment" if named_by == "environment" else "none",
            )


_OF_DIRECTORIES: Final[dict[str | None, str]] = {
    WORKING_DIRECTORY_DELETED: "change to the service's directory, then start again",
    NOT_ALLOWED: "let the service's user enter that directory and each directory above",
    None: "restore the directory config from version control",
    "environment": f"correct the path in {CONFIG_DIR}; if it is right, restore the directory from version control",
    "argument": "correct the path in config_dir; if it is right, restore the directory from version control",
    "model": "restore that directory from version control",
}


DIRECTORY_RULES: Final = ((Check.SETTING, unusable_directories),)
"""For a config directory that cannot be used."""
