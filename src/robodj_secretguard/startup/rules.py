"""The checks of policy section 6: the table `CHECKS` at the end, and the rule of each.

A rule is a pure function of the values that were read. It yields what is wrong and the fix, as texts of constants,
declared names, lengths and times. No rule reads, shows a value or raises.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import combinations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, dataclass_transform

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import (
    BLANK,
    NEWLINE,
    QUOTES,
    canonical,
    fingerprint,
    format_defects,
    has_shape,
    is_placeholder,
    last_characters,
    placeholder,
    weakness,
)
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import (
    ALLOW_FILE_SECRET_FALLBACK,
    CONFIG_DIR,
    EPHEMERAL,
    INSTANCE,
    NOTHING,
    PROTECTED_ENV,
    REVOKED_FILE,
    REVOKED_FINGERPRINTS,
    SECRET_EVENTS,
    SECRET_HEARTBEAT,
    SERVICE,
    WORKING_DIRECTORY_DELETED,
    absent_lists,
    chmod,
    in_command,
    invalid_entries,
    invalid_lines,
    iso_utc,
    named_list,
    parse_marker,
    set_current,
    shown_directory,
    shown_path,
    within_config_dir,
)
from robodj_secretguard.startup.textfile import BELOW_OWNED, IN_OWNED, NOT_ALLOWED, NOT_REGULAR, OWNED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.near_miss import NearMiss
    from robodj_secretguard.startup.readings import NamedBy, Reading, Setup
    from robodj_secretguard.startup.textfile import TextFile

EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This release is later: an earlier clock is wrong, and an expired key could pass."""
CADENCE_GRACE: Final = timedelta(days=1)
_UNITS: Final = (
    (timedelta(days=1), "days"),
    (timedelta(hours=1), "hours"),
    (timedelta(minutes=1), "minutes"),
    (timedelta.resolution, "microseconds"),
)

_MOST_NUMBERS: Final = 3
_MOST_DEFECTS: Final = 2


class Severity(StrEnum):
    """Whether a finding stops the service."""

    ALERT = "alert"
    WARNING = "warning"
    NOTE = "note"
    """Shown and not counted: no gate fails, also with `--strict`."""


class State(StrEnum):
    """The presence and validity of a secret, in the words of the Codex Environment Contract."""

    MISSING = "missing"
    INVALID_FORMAT = "invalid-format"
    EXPIRED = "expired"
    PRESENT = "present"


class Check(StrEnum):
    """The checks (policy section 6), in the order of the findings of a secret."""

    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    FORMAT = "format"
    WEAK = "weak"
    SHARED = "shared"
    EXPIRED = "expired"
    EXPIRY_MARKER = "expiry-marker"
    CLOCK = "clock"
    FILE_UNSAFE = "file-unsafe"
    FILE_PRESENT = "file-present"
    SETTING = "setting"
    REVOKED = "revoked"
    REVOCATION_LIST = "revocation-list"
    PREVIOUS_UNTIL = "previous-until"
    SLOTS_EQUAL = "slots-equal"
    PREVIOUS_PAST = "previous-past"
    NEAR_MISS = "near-miss"
    SUPERSEDED = "superseded"
    DRIFT = "drift"
    SOURCE = "source"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    EPHEMERAL = "ephemeral"
    EXPIRING = "expiring"
    CADENCE = "cadence"
    FILE_FALLBACK = "file-fallback"
    FILE_STALE = "file-stale"
    FILE_PERMISSIONS = "file-permissions"


class Problem(Frozen):
    """The result of a rule: one thing that is wrong.

    Attributes:
        what: what is wrong.
        fix: what to do.
        source: where it was found; `None` for the source of the secret's value.
        severity: the severity, where it is not that of the check.
    """

    what: str
    fix: str
    source: str | None = None
    severity: Severity | None = None


Problems: TypeAlias = "Iterator[Problem]"


def _missing(reading: Reading) -> Problems:
    if reading.used is not NOTHING or reading.slot != "current":
        return
    policy, setup = reading.policy, reading.setup
    what, fix = "".join([offer.absent for offer in reading.offers]), set_current(policy)
    if managers := [each.manager for each in reading.offers if each.manager and not each.text.lines]:
        what = f"{' and '.join(managers)} {'has' if len(managers) == 1 else 'have'} no {policy.variable}"
        fix = f"in {reading.manager}, set {policy.variable} to the current value of the key"
    if setup.directory_fault and not setup.files_off and not managers:
        what = f"{reading.offers[0].absent}, and the config directory cannot be used"
        fix = "first do what the setting alert says, then start again"
    elif policy.variable in [miss.meant.name for miss in setup.near_misses]:
        fix = "first do what the near-miss warning says, then start again"
    yield Problem(what, fix)


def _set_value(reading: Reading) -> str:
    """Return the fix that is right where the secret manager has the value of this slot."""
    if reading.slot == "current":
        return set_current(reading.policy, reading.manager)
    if reading.manager:
        right = f"in {reading.manager}, set {reading.variable} to the right {reading.slot} key"
        return f"{right}; if there is none, delete it{_DEADLINE * (reading.slot == 'previous')}"
    until = f" and {reading.policy.slot_variables[2]}" if reading.slot == "previous" else ""
    from_manager = f"set {reading.variable} to the secret manager's {reading.slot} key"
    return f"{from_manager}; if there is none, unset it{until}"


def _unset(reading: Reading) -> str:
    """Return the fix that removes a next or a previous key."""
    _, previous, until = reading.policy.slot_variables
    if reading.manager:
        return f"delete {reading.variable}{_DEADLINE * (reading.slot == 'previous')} from {reading.manager}"
    return f"unset {previous} and {until}" if reading.slot == "previous" else f"unset {reading.variable}"


_DEADLINE: Final = " and its deadline"
"""Short, as the name of a secret manager takes room."""


def _within(manager: str) -> str:
    """Return the beginning of a fix for a variable in a secret manager; empty for the environment."""
    return f"in {manager}, " if manager else ""


def _rotate(policy: SecretPolicy) -> str:
    if policy.is_opaque:
        return f"{policy.replacement}, then set {policy.variable} to it"
    return f"run robodj-secretguard rotate plan {policy.name} and follow its steps"


def _file_unsafe(reading: Reading) -> Problems:
    if why := reading.used.text.unsafe:
        yield Problem(f"{reading.used.location} {_listed(why, most=1)}", reading.used.fix)


def _listed(faults: Sequence[str], *, most: int) -> str:
    """Return the first faults, and the number of the others."""
    first, more = faults[:most], len(faults) - most
    return " and ".join(first) if more <= 0 else f"{', '.join(first)}, and {more} more"


def _placeholder(reading: Reading) -> Problems:
    value, is_opaque = reading.value, reading.policy.is_opaque
    if value is not None and (kind := placeholder(value.get_secret_value(), is_opaque=is_opaque)):
        yield Problem(f"{reading.used.location} is {kind}", _set_value(reading))


def _format(reading: Reading) -> Problems:
    value, where = reading.value, reading.used.location
    if value is not None and (defects := format_defects(value.get_secret_value(), reading.policy.material)):
        yield _malformed(reading, value, defects)
    if value is None and reading.found:
        what = f"{where} has {len(reading.used.text.lines)} lines, not 1 (without blank lines and comments)"
        yield Problem(what, _set_value(reading))


def _malformed(reading: Reading, value: SealedStr, defects: Sequence[str]) -> Problem:
    policy, where = reading.policy, reading.used.location
    others = [(each, each.generator) for each in reading.setup.policies if each is not policy and each.generator]
    if found := next((each for each in others if has_shape(value.get_secret_value(), each[1])), None):
        other, generator = found
        what = f"{where} looks like {other.name} ({generator.characters} characters); are the two swapped?"
        end = reading.variable.removeprefix(policy.variable)
        theirs = other.variable + end if other.overlap else other.variable
        origin = "(see an earlier version)" if reading.manager else "from the secret manager"
        fix = f"{_within(reading.manager)}set {reading.variable} and {theirs}, each to its own value {origin}"
        return Problem(what, fix)
    fix = _set_value(reading)
    if reading.slot == "current" and not reading.manager:
        fix += ", whole and unchanged"
    if len(defects) == 1 and defects[0] in _WITHOUT:
        defect, origin = _WITHOUT[defects[0]]
        fix = (
            f"remove {defect} from {where}"
            if reading.used.is_break_glass
            else f"{_within(reading.manager)}set {where} without {defect}{origin}"
        )
    return Problem(f"{where} has {_listed(defects, most=_MOST_DEFECTS)}", fix)


_WITHOUT: Final = {
    NEWLINE: ("the newline", " (printf %s writes none; echo does)"),
    BLANK: ("the blank", ""),
    QUOTES: ("the quotes", " (docker --env-file keeps them)"),
}
"""What to remove from a value that is otherwise a key, and where it usually comes from."""


def _weak(reading: Reading) -> Problems:
    if reading.value is None or reading.policy.is_opaque:
        return
    if why := weakness(reading.value.get_secret_value()):
        policy, what = reading.policy, f"{reading.used.location} is clearly not random: it has {why}"
        other = "" if reading.manager else f"set {policy.variable} to the secret manager's value; if it is the same, "
        yield Problem(what, f"{other}{_rotate(policy)}" if reading.slot == "current" else _set_value(reading))


def _revoked(reading: Reading) -> Problems:
    policy, begin = reading.policy, _revoked_from(reading)
    if begin is not None and begin <= reading.setup.now and reading.key:
        which = "the key" if reading.slot == "current" else reading.variable
        new = "" if reading.manager else f"set {policy.variable} to the secret manager's new key; if there is none, "
        what = f"{which} is revoked: {fingerprint(reading.key)} is on the revocation list"
        yield Problem(what, f"{new}{_rotate(policy)}" if reading.slot == "current" else _unset(reading))


def _revoked_from(reading: Reading) -> datetime | None:
    """Return the instant from which a key is revoked; `None` for a value that is not on the list, or not a key."""
    listed = reading.setup.revocation
    if not listed.entries or reading.policy.is_opaque or reading.key is None:
        return None
    return listed.begin(fingerprint(reading.key))


def _shared(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Problem, list[str]]]:
    """Yield each secret that equals, contains or is in earlier secrets, and the names of these."""
    accepted = (each for reading in readings for each in (reading, *reading.slots) if not each.is_past)
    keys = [(reading, canonical(reading.value.get_secret_value())) for reading in accepted if reading.value is not None]
    together = "\n".join(key for _, key in keys)
    if all(together.count(_stem(key)) == 1 for _, key in keys):  # in C, and by pairs only for shared keys
        return
    earlier: list[tuple[Reading, str]] = []
    for reading, key in keys:
        if any(_placeholder(reading)):
            continue
        others = [(other, text) for other, text in earlier if other.policy is not reading.policy]
        shared = [other for other, text in others if _are_same(reading, key, other, text)]
        if shared:
            concerned = (reading, *shared)
            what = f"{' and '.join(each.variable for each in concerned)} are equal, or one contains the other"
            replace = "rotate each"
            if any(each.policy.is_opaque for each in concerned):
                replace = "; ".join(_rotate(each.policy) for each in concerned)
            is_within = bool(reading.manager) and all(each.manager == reading.manager for each in shared)
            fix = (
                f"in {reading.manager}, set each to its own value (see an earlier version); if they were always equal,"
                f" {replace}"
                if is_within
                else "compare them with the secret manager, and set each to its own value; if the manager has equal"
                f" values, {replace}"
            )
            yield reading, Problem(what, fix), [each.policy.name for each in shared]
        earlier.append((reading, key))


def _are_same(one: Reading, key: str, other: Reading, other_key: str) -> bool:
    """Check whether two values are equal, or one contains the other. A vendor's short secret may occur by chance."""
    if one.policy.is_opaque or other.policy.is_opaque:
        return one.value == other.value
    return _stem(key) in other_key or _stem(other_key) in key


def _stem(key: str) -> str:
    """Return the part of a key that is compared: without a last character that has unused bits."""
    return key if len(last_characters(key)) == 1 else key[:-1]


def _expired(reading: Reading) -> Problems:
    instant, policy = reading.expires_at, reading.policy
    if reading.found and instant is not None and instant <= reading.setup.now:
        what = f"the key expired at {iso_utc(instant)} ({policy.expiry_variable})"
        yield Problem(what, f"{_rotate(policy)} (a later date alone does not rotate the key)")


def _expiry_marker(reading: Reading) -> Problems:
    if reading.found and reading.marker is not None and reading.expires_at is None:
        yield _invalid_instant(reading.policy.expiry_variable, reading.marker, "the expiry time", reading.manager)


def _invalid_instant(name: str, marker: SealedStr, time: str, manager: str) -> Problem:
    completed = ((SealedStr(marker.get_secret_value() + rest), why) for rest, why in _INCOMPLETE_MARKERS.items())
    why = next((why for text, why in completed if parse_marker(text)), "is not a valid instant")
    fix = f"{_within(manager)}write {time} into {name} in this format: 2027-01-31T09:00:00Z (Z is UTC)"
    return Problem(f"{name} {why}", fix)


_INCOMPLETE_MARKERS: Final = {"Z": "has no timezone", "T00:00Z": "has no time and no timezone"}
"""The missing end of a marker, and the fault of a marker without it."""


def _clock(reading: Reading) -> Problems:
    now, name = reading.setup.now, reading.policy.expiry_variable
    if reading.slot == "previous":
        name = reading.policy.slot_variables[2]
    if reading.found and reading.marker is not None and now < EARLIEST_CLOCK:
        what = f"the clock says {iso_utc(now)}, before this release: {name} cannot be checked"
        yield Problem(what, "set the clock of this machine, then start again")


def _time_left(reading: Reading) -> timedelta | None:
    """Return how long a key is still valid; `None` for an expired key, or where that is unknown."""
    if not reading.found or reading.expires_at is None or reading.setup.now < EARLIEST_CLOCK:
        return None
    left = reading.expires_at - reading.setup.now
    return left if left > timedelta(0) else None


def _expiring(reading: Reading) -> Problems:
    left, policy = _time_left(reading), reading.policy
    # Temporary keys have another finding.
    if left is not None and reading.expires_at and left <= policy.warn_before and not reading.setup.ephemeral:
        days = -(-left // timedelta(days=1))
        within = f"within {days} day{'s' if days > 1 else ''}"
        what = f"the key expires at {iso_utc(reading.expires_at)}, {within} ({policy.expiry_variable})"
        yield Problem(what, f"before then, {_rotate(policy)}")


def _cadence(reading: Reading) -> Problems:
    left, policy = _time_left(reading), reading.policy
    if left is not None and reading.expires_at and left > policy.cadence + CADENCE_GRACE:
        name, days = policy.expiry_variable, policy.cadence.days
        yield Problem(
            f"{name} is {iso_utc(reading.expires_at)}, more than {days} days ahead",
            f"{_within(reading.manager)}set {name} to the time of the last rotation plus {days} days, like"
            " 2027-01-31T09:00:00Z",
        )


def _previous_until(reading: Reading) -> Problems:
    if reading.slot != "previous":
        return
    (_, previous, until), instant, now = reading.policy.slot_variables, reading.expires_at, reading.setup.now
    overlap = reading.policy.overlap
    unit, name = next(each for each in _UNITS if not overlap % each[0])
    limit = f"{overlap // unit} {name}"
    there = _within(reading.manager)
    fix = f"{there}set {until} to the time of the rotation plus {limit}, like 2027-01-31T09:00:00Z"
    misspelled = [miss.meant.name for miss in reading.setup.near_misses]
    if not reading.found:
        delete, again = ("delete", "restore it") if there else ("unset", f"set {previous} to it")
        alone = f"{there}{delete} {until}; only if the previous key must still verify, {again}"
        if previous in misspelled:
            alone = "first do what the near-miss warning says, then start again"
        yield Problem(f"{until} is set, but {previous} is not", alone, severity=Severity.WARNING)
    elif reading.marker is None and until in misspelled:
        yield Problem(f"{until} is not set", "first do what the near-miss alert says, then start again")
    elif reading.marker is None:
        yield Problem(f"{until} is not set, so {previous} has no deadline", fix)
    elif instant is None:
        yield _invalid_instant(until, reading.marker, "the deadline", reading.manager)
    elif now >= EARLIEST_CLOCK and instant - now > overlap + CADENCE_GRACE:
        yield Problem(f"{until} is {iso_utc(instant)}, more than {limit} ahead", fix)
    elif (begin := _revoked_from(reading)) and now < begin < instant:
        what = f"{until} is later than {iso_utc(begin)}, when the key is revoked"
        yield Problem(what, f"{there}set {until}={iso_utc(begin)}", severity=Severity.WARNING)


def _previous_past(reading: Reading) -> Problems:
    if reading.is_past and reading.found and reading.expires_at is not None:
        what = f"{reading.variable} has not been accepted since {iso_utc(reading.expires_at)}"
        yield Problem(what, f"{_unset(reading)}, after re-encrypting data that needs this key")


def _slots_equal(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Problem, list[str]]]:
    """Yield each slot that has the key of another slot. A value that is not a key has another finding."""
    for reading in [each for each in readings if each.slots]:
        accepted = (each for each in (reading, *reading.slots) if not each.is_past)
        keys = [(each, canonical(key.get_secret_value())) for each in accepted if (key := each.key)]
        for (earlier, one), (later, other) in combinations(keys, 2):
            if one == other:
                fix = f"{_unset(later)}: {earlier.variable} has the key already"
                if later.slot == "previous":
                    fix = _set_value(later)
                yield later, Problem(f"{later.variable} and {earlier.variable} have the same value", fix), []


def _file_fallback(reading: Reading) -> Problems:
    if reading.used.is_break_glass and reading.found:
        policy, where = reading.policy, reading.used.location
        fix = "first do what the alert about its value says, then start again"
        if reading.key:
            stored = "make sure the secret manager has its key"
            fix = f"{stored}; set {policy.variable} to the current value there; delete {where}"
        yield Problem(f"the key comes from the fallback file {where}", fix)


def _file_permissions(reading: Reading) -> Problems:
    if reading.found and (lax := reading.used.text.lax + reading.used.text.lax_paths):
        where = reading.used.location
        fix = f"if you keep the file, make the service's user its owner, then run chmod 600 {in_command(where)}"
        if reading.used.text.lax_paths:
            fix = f"{set_current(reading.policy)}, then take the file out of the read-only mount"
        yield Problem(f"{where} {_listed(lax, most=1)}", fix)


def _file_present(reading: Reading) -> Problems:
    yield from _unused_files(reading, "fallback files are off", is_off=True)


def _file_stale(reading: Reading) -> Problems:
    yield from _unused_files(reading, f"{reading.used.location} is used", is_off=False)


def _unused_files(reading: Reading, why: str, *, is_off: bool) -> Problems:
    for offer in [each for each in reading.offers if each.is_break_glass and each.is_off is is_off]:
        if offer is not reading.used and holds_key_material(offer.text, is_opaque=reading.policy.is_opaque):
            what = "may have a key (it cannot be read)" if offer.text.unreadable else "has a key"
            fix = "delete {}" if offer.text.unreadable == (NOT_REGULAR,) else _STORE
            yield Problem(f"{offer.location} {what}, but {why}", fix.format(offer.location), offer.source)


# Never as the current version: the secret manager may have a newer key.
_STORE: Final = "keep its key in the secret manager as an old version (not as the current one), then delete {}"


def holds_key_material(file: TextFile, *, is_opaque: bool = False) -> bool:
    """Check whether a key file has a line that may be a key, or cannot be read."""
    lines = (line.get_secret_value() for line in file.lines)
    return bool(file.unreadable) or not all(is_placeholder(line, is_opaque=is_opaque) for line in lines)


def _near_miss(reading: Reading) -> Problems:
    yield from _misspelled(reading.setup, reading.policy)
    for offer in reading.offers:
        if offer.is_break_glass and offer.text.misnamed:
            yield from _misnamed(reading.setup, reading.policy.file, _STORE, Severity.WARNING)


def _near_miss_of_setup(setup: Setup) -> Problems:
    yield from _misspelled(setup, None)
    if any(file.misnamed for file in setup.lists):
        where = shown_path(REVOKED_FILE, setup.directory_named_by)
        yield from _misnamed(setup, REVOKED_FILE, f"add its lines to {where}, then delete {{}}", None)


def _misspelled(setup: Setup, policy: SecretPolicy | None) -> Problems:
    for miss in setup.near_misses:
        meant = miss.meant
        if meant.policy is policy:
            hidden = f"a variable that looks like {meant.name} is not read"
            what = f"{miss.name} is not read; did you mean {meant.name}?" if miss.name else hidden
            yield Problem(
                what, _fix_of_name(miss), miss.manager or "environment", None if meant.loosens else Severity.WARNING
            )


def _fix_of_name(miss: NearMiss) -> str:
    meant, name, unset = miss.meant.name, miss.name or "that variable", "delete" if miss.manager else "unset"
    if meant in _PROTECTIVE:  # whatever either of them says
        fix = f"unset {name} and {_PROTECTIVE[meant]}"
    elif meant == REVOKED_FINGERPRINTS:
        which = f"the fingerprints in the file of {name}" if name.endswith("_FILE") else "its fingerprints"
        fix = f"add {which} to {meant}, then {unset} {name}"
    elif miss.is_meant_set:
        earlier = f"set {meant} to the earlier of both, then {unset} {name}"
        fix = earlier if miss.meant.expires else f"{unset} {name}; {meant} is set"
    elif meant == EPHEMERAL:
        fix = f"unset {name} (exec --ephemeral makes temporary keys)"
    elif name == f"{meant}_FILE":
        fix = (
            f"{unset} {name}, and set {meant} to the content of the file that it named"
            " (or use exec --from directory:PATH)"
        )
    else:
        fix = f"rename {name} to {meant}"
    if miss.manager:
        return f"in {miss.manager}, {fix}"
    return fix if miss.name else f'{fix} (list names: python -c "import os; print(*os.environ)")'


_PROTECTIVE: Final = {
    PROTECTED_ENV: f"set {PROTECTED_ENV}=true",
    ALLOW_FILE_SECRET_FALLBACK: f"set {ALLOW_FILE_SECRET_FALLBACK}=false",
}
_WHO_MAY: Final = {
    PROTECTED_ENV: "only a developer's machine may set it to false",
    ALLOW_FILE_SECRET_FALLBACK: "true is for break-glass on a developer's machine only",
}


def _misnamed(setup: Setup, file: str, fix: str, severity: Severity | None) -> Problems:
    """Yield the problem of a file to which an editor added `.txt`."""
    if f"{file}.txt" not in {each.file for each in setup.policies}:
        where = shown_path(f"{file}.txt", setup.directory_named_by)
        what = f"{where} is not read; did you mean {within_config_dir(file)}?"
        yield Problem(what, fix.format(where), f"file:{file}", severity)


def _setting(setup: Setup) -> Problems:
    for name in setup.unknown_switches:
        what = f"{name} has an invalid value, so fallback files are off until it is corrected"
        yield Problem(what, f"{_PROTECTIVE[name]} ({_WHO_MAY[name]})", "environment")
    yield from unusable_directories(setup)
    for name in setup.event_faults:
        yield Problem(
            f"{name} has an invalid value, and is ignored",
            f"set {name} to {_OF_EVENTS[name]}, or unset it",
            "environment",
            Severity.WARNING,
        )


_OF_EVENTS: Final = {
    SERVICE: "the service's name, of letters, digits and ._:@/-",
    INSTANCE: "the instance's name, of letters, digits and ._:@/-",
    SECRET_EVENTS: "stderr, stdout or the absolute path of a file",
    SECRET_HEARTBEAT: "a number of seconds from 1 to 86400",
}


_FIX_OF_DIRECTORY: Final[dict[NamedBy | None, str]] = {
    None: "restore the directory config from version control",
    "environment": f"correct the path in {CONFIG_DIR}; if it is right, restore the directory from version control",
    "argument": "correct the path in config_dir; if it is right, restore the directory from version control",
    "model": "restore that directory from version control",
}


def unusable_directories(setup: Setup) -> Problems:
    """Yield the problems of config directories that cannot be used."""
    for named_by, fault in ((setup.directory_named_by, setup.directory_fault), ("model", setup.model_directory_fault)):
        if fault:
            fix = _FIX_OF_DIRECTORY[named_by]
            if fault == WORKING_DIRECTORY_DELETED:
                fix = "change to the service's directory, then start again"
            elif fault == NOT_ALLOWED:
                fix = "let the service's user enter that directory and each directory above"
            source = "environment" if named_by == "environment" else "none"
            what = "" if named_by == "model" else "the config directory "
            yield Problem(f"{what}{shown_directory(named_by)} {fault}", fix, source)


def _revocation_list(setup: Setup) -> Problems:
    source = f"file:{REVOKED_FILE}"
    for number, file in enumerate(setup.lists):
        named_by = "model" if number else setup.directory_named_by
        where = shown_path(REVOKED_FILE, named_by)
        restore = f"restore {where} from version control"
        if unsafe := ("is a broken link",) if file.dangling else file.unsafe:
            fix = restore if file.unreadable or file.dangling else "compare it with version control"
            if file.unreadable == (NOT_ALLOWED,):
                fix = f"let the service's user read {where} (mode 644) and enter each directory above"
            if file.exposed and not file.unreadable:
                fix += f", then {chmod(file, where, named_by)}"
            yield Problem(f"{where} {_listed(unsafe, most=1)}", fix, source)
        # An unusable directory has its own finding.
        if setup.list_required and number in absent_lists(setup.lists) and not setup.directory_fault:
            what = f"the revocation list {where} is {'empty' if file.exists else 'missing'}, and the model requires one"
            yield Problem(what, restore, source)
        yield from _invalid(("line", "lines"), invalid_lines(file), where, "version control", source)
    for source, entries in setup.added:
        origin = "the secret manager" if source == "environment" else "an earlier version"
        yield from _invalid(("entry", "entries"), invalid_entries(entries), named_list(source), origin, source)


def _invalid(kinds: tuple[str, str], numbers: Sequence[int], where: str, origin: str, source: str) -> Problems:
    """Yield the problem of lines or entries that are not fingerprints, with their first numbers."""
    if numbers:
        first, more = ", ".join(map(str, numbers[:_MOST_NUMBERS])), len(numbers) - _MOST_NUMBERS
        kind, are = (kinds[0], "is not a fingerprint") if len(numbers) == 1 else (kinds[1], "are not fingerprints")
        named = f"{kind} {first} and {more} more" if more > 0 else f"{kind} {first}"
        fix = f"correct {named} by the same entry in {origin}; {_KEEP_IT}"
        yield Problem(f"{named} of {where} {are}", fix, source)


_KEEP_IT: Final = "keep the fingerprint, and an instant as @2027-01-31T09:00:00Z"


def _lists_of_others(setup: Setup) -> Problems:
    for number, file in enumerate(setup.lists):
        if why := (*file.lax_paths, *file.foreign):
            where = shown_path(REVOKED_FILE, "model" if number else setup.directory_named_by)
            what = f"{where if file.exists else f'the path {where}'} {_listed(why, most=1)}"
            fix = _FIX_OF_WAY.get(why[0], f"put {where} into the image, not into a volume that others can write")
            yield Problem(what, fix.format(where), f"file:{REVOKED_FILE}")


_FIX_OF_WAY: Final = {
    OWNED: "make root or the service's user the owner of {}",
    IN_OWNED: "make root or the service's user the owner of the directory of {}",
    BELOW_OWNED: "move the config directory to a path where root owns each directory above it",
}


def revocation_list_problems(setup: Setup) -> list[Problem]:
    """Return all problems of the revocation list. Those of its variables are the last."""
    found = (*_revocation_list(setup), *_lists_of_others(setup))
    return sorted(found, key=lambda each: each.source != f"file:{REVOKED_FILE}")


def _ephemeral(setup: Setup) -> Problems:
    if setup.ephemeral:
        what = f"the keys are temporary ({EPHEMERAL} is set)"
        fix = f"leave out exec --ephemeral, unset {EPHEMERAL}, and set the keys from the secret manager"
        if setup.protected:
            yield Problem(f"{what}, but the environment is protected", fix, "environment", Severity.ALERT)
        else:
            yield Problem(what, f"to serve, {fix}", "environment")


def internal(error_type: str) -> Problem:
    """Return that a check itself failed, with an error of this type."""
    if error_type == "ValidationError":  # only validators of the host raise it
        fix = "correct the validators of the model; they run only on values that passed every check"
        return Problem(f"a validator of the model failed ({error_type}), so nothing is verified", fix, "none")
    fix = "check the arguments of guard() and the validators of the model; if they are right, report a bug"
    return Problem(f"the check itself failed ({error_type}), so nothing is verified", fix, "none")


@dataclass_transform(kw_only_default=True)
class _Entry(SimpleNamespace):
    """Declare the fields of an entry for type checkers. A `Frozen` record would make the startup slower."""


class CheckEntry(_Entry):
    """One check. The README's table and `explain` print its texts: complete sentences of at most 25 words, in ASCII.

    Attributes:
        check: its id.
        severity: the severity of its findings, unless a rule gives another one.
        title: what is wrong, in a few words.
        meaning: when it is reported.
        why: why it refuses or warns.
        causes: how it usually happens.
        fixes: what an operator does: first the most frequent fix, then one fix for each fault.
        section: the section of the policy that requires it.
        commands: pairs of a purpose and a command. The placeholders `{name}`, `{variable}`, `{file}` and `{generator}`
            are of a declared secret. `{options}` stands for the `--model` option that was passed. For a secret that a
            vendor issues, a command that makes a key is replaced by a comment.
        otherwise: the other severity, and when that is used.
        state: the state of a secret with a finding of this check.
        scope: the subject of the check. Of the scope `value`, only the first finding of a secret is reported. Rules of
            `marker` run where a marker is set. Those of `value` and `slot` also run for the next and the previous key.
            Checks of `log` run in the commands that read the operations log, and those of `source` with `--from`.
        of_secret: the rule for each secret.
        of_all: the rule for all secrets together.
        of_setup: the rule for the set-up.
    """

    check: Check
    severity: Severity
    title: str
    meaning: str
    why: str
    causes: tuple[str, ...]
    fixes: tuple[str, ...]
    section: int
    commands: tuple[tuple[str, str], ...] = ()
    otherwise: str = ""
    state: State = State.PRESENT
    scope: Literal["value", "marker", "secret", "slot", "set-up", "log", "source", "none"] = "secret"
    of_secret: Callable[[Reading], Problems] | None = None
    of_all: Callable[[Sequence[Reading]], Iterator[tuple[Reading, Problem, list[str]]]] | None = None
    of_setup: Callable[[Setup], Problems] | None = None


_ALERT, _WARNING = Severity.ALERT, Severity.WARNING

_SET_CURRENT: Final = "Set the variable to its current value from the secret manager. Then start the service again."
_DELETE_FILE: Final = (
    "Keep the key of the file in the secret manager as an old version, not as the current one. Then delete the file."
)
_ONLY_COPY: Final = (
    "If the secret manager has no key at all: store this key there before you delete the file. Without it, encrypted"
    " data is lost."
)
_GENERATE: Final = "robodj-secretguard generate {name}{options} | YOUR-SECRET-MANAGER"
_GENERATOR: Final = "{generator}  # {name}"
_ROTATE: Final = ("Print the steps of a rotation", "robodj-secretguard rotate plan {name}{options}")
_RECORDED: Final = ("Show when each key was recorded", "robodj-secretguard log show --secret {name}{options}")
_PRIVATE: Final = ("Take the file's permissions from everybody else", "chmod 600 {file}")
_FIRST_KEY: Final = (
    ("Only for a first key: make it, and store it in the secret manager", _GENERATE),
    ("Only for a first key: make it without this program", _GENERATOR),
)
_NEW_KEY: Final = (
    _ROTATE,
    ("Only in a rotation: make the new key, and store it in the secret manager", _GENERATE),
    ("Only in a rotation: make the new key without this program", _GENERATOR),
)

CHECKS: Final = (
    CheckEntry(
        check=Check.MISSING,
        severity=_ALERT,
        title="no key is delivered",
        meaning=(
            "The environment variable of the secret is unset or empty. Its fallback file is absent or has no key, or"
            " fallback files are off."
        ),
        why=(
            "The service cannot sign, verify or decrypt without its key. A made-up key would end every session, and it"
            " would not decrypt old data."
        ),
        causes=(
            (
                "The service does not get the variable. In docker compose, environment: without a value passes a"
                " variable on only if the calling shell has it."
            ),
            "The key is in a .env file that nothing reads. This library never reads .env files.",
            "The variable was set in a shell without export, so programs that the shell starts do not get it.",
            "sudo, cron or systemd started the service. They do not pass on the variables of your shell.",
            "The value is empty. GitHub Actions passes an empty value for a secret that is not set.",
            "The name has a typo, or it ends with _FILE. The check near-miss then names the right variable.",
            "The key is in a fallback file, but fallback files are off. The check file-present then names that file.",
            "The service started in another working directory, and its config directory is not there.",
        ),
        fixes=(
            _SET_CURRENT,
            (
                "If your shell has the variable and the service does not: add it to the service's definition. Use"
                " environment: in compose.yaml, env: in Kubernetes, or EnvironmentFile= in systemd."
            ),
            (
                "If the key is in a .env file on a developer's machine: load that file into the shell. Have no such"
                " file in a deployment."
            ),
            (
                "If a variable that ends with _FILE is set: read that file into the variable without _FILE. The check"
                " near-miss has the command."
            ),
            (
                "If the secret manager has no value: this is the first key. Make a key, store it in the manager, then"
                " set the variable to it."
            ),
            (
                "If a key existed before, never make a new one here. Find the old value in the secret manager or its"
                " backup."
            ),
            (
                "On a developer's machine without a secret manager: make keys for this shell with the command below."
                " Never do this in a deployment."
            ),
        ),
        section=6,
        commands=(
            *_FIRST_KEY,
            (
                "On a developer's machine: make keys for this shell",
                'eval "$(robodj-secretguard generate --format shell{options})"',
            ),
            ("On a developer's machine: load a .env file into the shell", "set -a; . ./.env; set +a"),
        ),
        state=State.MISSING,
        scope="value",
        of_secret=_missing,
    ),
    CheckEntry(
        check=Check.PLACEHOLDER,
        severity=_ALERT,
        title="a template's value is delivered",
        meaning=(
            "The value is the text of a template, such as changeme, Change-Me or replace_with_a_key. Such text in"
            " base64 or hexadecimal counts too. So does the default value of a well-known project."
        ),
        why=("A template is public, so anybody may know this value. With it, anybody could forge sessions and tokens."),
        causes=(
            "A template was copied and not edited, such as .env.example or config/secret.key.example.",
            "A deployment tool did not fill in a template. The value still has a name in braces or percent signs.",
            "A chart or an image has a default value, and the deployment did not replace it.",
            "A Kubernetes Secret still has the example text in base64.",
        ),
        fixes=(
            _SET_CURRENT,
            (
                "If the value comes from a template of your deployment: correct the deployment too. Otherwise, the next"
                " one brings the placeholder back."
            ),
            (
                "If the placeholder is in a fallback file: replace that whole line with the key. The comment lines may"
                " stay."
            ),
            (
                "If the secret manager has the placeholder too: there is no key yet. Make a key, store it in the"
                " manager, then set the variable to it."
            ),
        ),
        section=6,
        commands=_FIRST_KEY,
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_placeholder,
    ),
    CheckEntry(
        check=Check.FORMAT,
        severity=_ALERT,
        title="the value is not a well-formed key",
        meaning=(
            "The value is too short or too long, or it has a newline, blanks, quotes, = padding or a wrong character."
            " Or a fallback file has more than one line with a value."
        ),
        why=(
            "A value that was cut or changed is not the key in the secret manager. The service would not accept its"
            " own sessions, and a short key is easy to guess."
        ),
        causes=(
            "docker run --env-file keeps the quotes around a value. They become a part of the key.",
            "echo writes a newline at the end. In a Kubernetes Secret, echo KEY | base64 encodes that newline too.",
            "In YAML, a block that begins with | ends with a newline.",
            "A part of the value was lost when it was copied, or a blank was copied with it.",
            "Two secrets are swapped, and each variable has the value of the other one.",
            "openssl rand -base64 made the key. It writes +, / and =, which are not accepted.",
            "A fallback file has two values, such as an old key and a new key.",
            "In the Windows command prompt, set NAME=KEY && PROGRAM adds the blank before && to the key.",
        ),
        fixes=(
            (
                "Set the variable to its current value from the secret manager, without any change. Then start the"
                " service again."
            ),
            "If it has a newline: write the value with printf %s, not with echo. In YAML, write |- instead of |.",
            (
                "If it has quotes or blanks: remove them where the variable is set. docker run --env-file needs"
                " NAME=KEY without quotes."
            ),
            "If it has the wrong length: copy the whole value again.",
            "If two secrets are swapped: set each variable to its own value from the secret manager.",
            (
                "If a fallback file has several values: keep the one that the secret manager has. Store the others"
                " there as old versions, then delete their lines."
            ),
            (
                "If the secret manager has the newline, blanks or quotes too: store the value again without them. The"
                " key stays the same."
            ),
            "If the value in the secret manager has any other defect: rotate the secret. Do not repair a key by hand.",
        ),
        section=6,
        commands=_NEW_KEY,
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_format,
    ),
    CheckEntry(
        check=Check.WEAK,
        severity=_ALERT,
        title="the key is clearly not random",
        meaning=(
            "The value is long enough, but it has a pattern. It has few different characters, a repeated block, runs"
            " such as abcd or qwerty, or letters of one case only."
        ),
        why="Attackers try such patterns first. With the key, they can forge sessions and tokens, and decrypt data.",
        causes=(
            "Somebody typed the key by hand.",
            "A password was repeated until it was long enough.",
            "A script or a form changed the key to lower case or upper case.",
            "A key that was made for a test was deployed.",
        ),
        fixes=(
            (
                "Compare the value with the secret manager. If the manager has another value, set the variable to that"
                " value. Otherwise, rotate the secret."
            ),
            "If you rotate: use the generator of the secret. It is in the commands below.",
            "If a service without this guard used the key: end all sessions and tokens that it signed.",
        ),
        section=1,
        commands=_NEW_KEY,
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_weak,
    ),
    CheckEntry(
        check=Check.SHARED,
        severity=_ALERT,
        title="two secrets have the same value",
        meaning=(
            "Two declared secrets have the same value, or the value of one contains the other. The same key can"
            " be spelled with another last character. That is the same value too."
        ),
        why="A leak of one secret is then a leak of both. Neither of them can be rotated alone.",
        causes=(
            "One value was pasted into both variables.",
            "The deployment uses the same entry of the secret manager for both variables.",
            "The longer key was made from the shorter one.",
            "The secret manager has the same value under both names.",
        ),
        fixes=(
            (
                "Compare both variables with the secret manager. Set each one to its own value there. Then start the"
                " service again."
            ),
            "If the deployment uses one entry for both: correct that, and deploy again.",
            (
                "If the secret manager has the same value twice: rotate both secrets. Whoever knows one of them knows"
                " the other."
            ),
        ),
        section=1,
        commands=(_RECORDED, *_NEW_KEY),
        of_all=_shared,
    ),
    CheckEntry(
        check=Check.EXPIRED,
        severity=_ALERT,
        scope="marker",
        title="the key has expired",
        meaning=(
            "The time in the expiry marker of the secret is now or past. The marker is a variable such as"
            " ROBODJ_SECRET_KEY_EXPIRES_AT."
        ),
        why="The longer a key is in use, the more likely somebody has copied it. The policy limits the time.",
        causes=(
            "Nobody rotated the key in time. The check expiring warned before.",
            "The key was rotated, but the marker still has the old time.",
            "A rollback brought back the old key and the old marker.",
            "The marker has a wrong year or a wrong timezone.",
            "The clock of this machine is ahead.",
        ),
        fixes=(
            (
                "Rotate the secret: follow the steps of robodj-secretguard rotate plan NAME. A later date alone is not"
                " a rotation."
            ),
            "If the secret manager already has a newer key: set the variable and the marker to the new values.",
            (
                "If the marker has a typo: set it to the date of the last rotation plus the cadence. The log has that"
                " date."
            ),
            "If the clock is ahead: set the clock.",
        ),
        section=6,
        commands=(_RECORDED, *_NEW_KEY),
        state=State.EXPIRED,
        of_secret=_expired,
    ),
    CheckEntry(
        check=Check.EXPIRY_MARKER,
        severity=_ALERT,
        scope="marker",
        title="the expiry marker is invalid",
        meaning=(
            "The expiry marker of the secret is set, but it is not a date and time with a timezone. An example of the"
            " format is 2027-01-31T00:00:00Z (ISO-8601)."
        ),
        why="The guard cannot know whether the key has expired, and it does not guess.",
        causes=(
            "The value is a date without a time, or a time without a timezone.",
            "The value has a blank between date and time, where a T is needed.",
            "The value has quotes. docker run --env-file keeps them.",
            "The value is a number of seconds, or a day that does not exist.",
        ),
        fixes=(
            (
                "Write the marker like 2027-01-31T00:00:00Z: the date, T, the time, and Z for UTC. Then start the"
                " service again."
            ),
            "If your time has an offset: write it at the end, as in 2027-01-31T01:00:00+01:00.",
            (
                "If you do not know the date: set the marker to the date of the last rotation plus the cadence. The log"
                " has that date."
            ),
            "If the secret has no expiry date: unset the marker. It is optional.",
        ),
        section=6,
        commands=(_RECORDED,),
        of_secret=_expiry_marker,
    ),
    CheckEntry(
        check=Check.CLOCK,
        severity=_ALERT,
        scope="marker",
        title="the clock is wrong",
        meaning="An expiry marker is set, and the clock of this machine is earlier than the release of this library.",
        why="With a wrong clock, an expired key could pass the checks.",
        causes=(
            "The machine does not use NTP, or NTP has not set the clock yet.",
            "The machine has no battery for its clock, such as a Raspberry Pi. It starts with an old time.",
            "A virtual machine was resumed or restored from a snapshot.",
            "A test sets the time of the process to the past.",
        ),
        fixes=(
            "Set the clock of this machine, and turn on NTP. Then start the service again.",
            "If the service runs in a container: set the clock of the host.",
            (
                "If it happens at boot: let the service start after the clock is set. In systemd, use"
                " After=time-sync.target."
            ),
        ),
        section=6,
        commands=(
            ("Show the time of this machine in UTC", "date -u"),
            ("Turn on NTP (Linux with systemd)", "timedatectl set-ntp true"),
        ),
        of_secret=_clock,
    ),
    CheckEntry(
        check=Check.FILE_UNSAFE,
        severity=_ALERT,
        title="the fallback file cannot be trusted",
        meaning=(
            "The guard needs the fallback file, but it is not a regular UTF-8 file of at most 4 KiB, or it cannot be"
            " read. Or others can write it, or replace it through a directory or a link."
        ),
        why=(
            "Somebody who can write the file can choose the key of the service. With it, they can forge sessions and"
            " tokens."
        ),
        causes=(
            "In Windows PowerShell, > writes UTF-16.",
            "The file or its directory has a mode such as 666 or 777.",
            "The repository was cloned or unpacked under umask 0.",
            "Another user owns the file, and the service may not read it.",
            "A directory has the name of the file. Docker makes one when the source of a bind mount does not exist.",
            "Another program changed the file while the guard read it.",
        ),
        fixes=(
            "Do what the finding says for this fault. Then start the service again.",
            "If the file is UTF-16: save it as UTF-8, with mode 600. Do not change the key.",
            (
                "If others can write the file: compare its key with the secret manager. If the keys differ, somebody"
                " may have replaced it: delete the file, and rotate the secret."
            ),
            "If others can write a directory above it: run chmod go-w on that directory.",
            "If the service cannot read the file: make the service's user the owner of it.",
            "If the file changed while it was read: start the service again.",
        ),
        section=2,
        commands=(_PRIVATE,),
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_file_unsafe,
    ),
    CheckEntry(
        check=Check.FILE_PRESENT,
        severity=_ALERT,
        title="fallback files are off and one holds a key",
        meaning=(
            "Fallback files are off, and a fallback file still holds a key. A file that the guard cannot read counts"
            " too."
        ),
        why=(
            "Here, keys come from environment variables only. A key file can get into images, backups and version"
            " control."
        ),
        causes=(
            "Somebody used the file in an emergency, and did not delete it.",
            "An image was built with COPY . . from a directory that has a key file.",
            "A developer's working copy was deployed.",
            "ROBODJ_PROTECTED_ENV=true is set on a developer's machine that uses key files.",
        ),
        fixes=(
            _DELETE_FILE,
            _ONLY_COPY,
            "If an image or version control has the current key: rotate the secret. Then revoke the old key.",
            (
                "On a developer's machine, fallback files may be used. Unset ROBODJ_PROTECTED_ENV there, and never in a"
                " deployment."
            ),
            (
                "If the model turns files off: ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true allows them. It is for"
                " emergencies on a developer's machine only."
            ),
        ),
        section=2,
        commands=(("Look for copies of the keys", "robodj-secretguard scan --git-history{options}"), _ROTATE),
        of_secret=_file_present,
    ),
    CheckEntry(
        check=Check.SETTING,
        severity=_ALERT,
        scope="set-up",
        title="a setting is invalid",
        meaning=(
            "A switch is neither true nor false. Or the config directory cannot be used: it does not exist, is a plain"
            " file or is a link to nothing. Or the working directory was deleted. A missing or damaged operations log"
            " is only a warning, and so is an invalid setting of the start events."
        ),
        why=(
            "The guard does not guess what a switch means, and uses the stricter value. Without the config directory,"
            " it cannot see the revocation list."
        ),
        causes=(
            "The value has quotes or blanks around it. docker run --env-file keeps the quotes.",
            "The value is another word, such as enabled or production.",
            "The volume that has the config directory is not mounted.",
            "ROBODJ_CONFIG_DIR is a relative path, and the service started in another directory.",
            "A deployment deleted the directory in which the service started.",
            "On Windows, git made a plain file of the link config.",
            "ROBODJ_OPERATIONS_LOG names the log of another machine.",
        ),
        fixes=(
            "Correct the variable or the directory that the finding names. Then start the service again.",
            (
                "Set ROBODJ_PROTECTED_ENV to true in every deployment. It may be false on a developer's machine and in"
                " tests."
            ),
            "Set ROBODJ_ALLOW_FILE_SECRET_FALLBACK to false. It may be true in an emergency on a developer's machine.",
            "A switch takes 1, true, yes, on, 0, false, no or off. Upper case and lower case are the same.",
            (
                "If the config directory does not exist: mount or restore it, or write its absolute path into"
                " ROBODJ_CONFIG_DIR."
            ),
            "If config is a plain file or a link to nothing: restore the directory from version control.",
            "If the working directory was deleted: change to the present directory, and start the service there.",
            (
                "If the operations log is damaged: keep it under another name as evidence. The next robodj-secretguard"
                " rotate record begins a new log."
            ),
            (
                "If the operations log is not there: write its path into ROBODJ_OPERATIONS_LOG. The first"
                " robodj-secretguard rotate record makes a new log."
            ),
        ),
        section=2,
        commands=(("Show why the operations log does not verify", "robodj-secretguard log verify{options}"),),
        otherwise="warning for the operations log",
        of_setup=_setting,
    ),
    CheckEntry(
        check=Check.REVOKED,
        severity=_ALERT,
        title="the key is revoked",
        meaning=(
            "The fingerprint of the key is on the revocation list. The list is config/revoked.fingerprints and"
            " ROBODJ_REVOKED_FINGERPRINTS together. An entry with an instant holds from then on."
        ),
        why="The key was revoked because others may know it, or its overlap ended. No service may use it again.",
        causes=(
            "The new key is in the secret manager, but the service still gets the old one.",
            "A rollback or a restored backup brought the old key back.",
            "The key was revoked, and no new key was made.",
            "Somebody revoked the wrong key.",
        ),
        fixes=(
            _SET_CURRENT,
            "If the secret manager has no newer key: rotate the secret now.",
            "If the key was revoked by mistake: rotate the secret too. A revocation cannot be undone.",
            "Never remove the fingerprint from the list to start a service.",
        ),
        section=4,
        commands=_NEW_KEY,
        scope="value",
        of_secret=_revoked,
    ),
    CheckEntry(
        check=Check.REVOCATION_LIST,
        severity=_ALERT,
        scope="set-up",
        title="the revocation list is invalid or incomplete",
        meaning=(
            "The revocation list has an invalid line, cannot be read, or can be written by others. Or the model"
            " requires a list, and it is absent or empty. Or the operations log has a revocation or a replaced key that"
            " is not on the list."
        ),
        why="With such a list, a service could start on a revoked key.",
        causes=(
            "A git merge left its conflict marks in the file.",
            "A fingerprint was typed by hand, or a part of it was lost.",
            "A checkout is not finished, and the file is still empty.",
            "The image or the deployment does not have the file.",
            "The repository was cloned under umask 0, so others can write the file.",
            "A deployment of an older commit replaced the list.",
            "The project is new and has no list yet.",
        ),
        fixes=(
            (
                "Compare the list with version control, and correct the lines that are wrong. Keep every fingerprint"
                " that is on it."
            ),
            (
                "If a line is invalid: correct it from version control or from the log. A fingerprint is sgfp1: and 32"
                " hexadecimal digits in lower case."
            ),
            (
                "If the list is absent or empty: restore it from version control. If a checkout is running, wait for"
                " its end."
            ),
            "If others can write the list: compare it with version control. Then run chmod -R go-w on its directory.",
            (
                "If a recorded revocation is not on the list: run the robodj-secretguard revoke command of the finding."
                " Then commit the list."
            ),
            "If a replaced key is not on the list: add the line that the finding shows, then deploy the list.",
            "If ROBODJ_REVOKED_FINGERPRINTS is invalid: correct its entries. Separate them by commas or blanks.",
            "Only if the project is new and no key was ever revoked: write a list with one comment line.",
        ),
        section=4,
        commands=(
            ("Compare the list with version control", "git diff HEAD -- config/revoked.fingerprints"),
            ("Restore a list that is absent or empty", "git checkout HEAD -- config/revoked.fingerprints"),
            ("Show the recorded revocations", "robodj-secretguard log show --event revoked{options}"),
            ("Begin the list of a new project", "echo '# nothing is revoked' > config/revoked.fingerprints"),
        ),
        otherwise="warning for a replaced key that is not on the list",
        of_setup=_revocation_list,
    ),
    CheckEntry(
        check=Check.PREVIOUS_UNTIL,
        severity=_ALERT,
        scope="slot",
        title="the previous key has no valid deadline",
        meaning=(
            "A previous key is set, and its deadline is missing, invalid, or more than the overlap and one day ahead."
            " Or it is later than the instant on the revocation list. Or a deadline is set without a previous key."
        ),
        why="Without a valid deadline, the service would accept an old key for longer than the policy allows.",
        causes=(
            "The previous key was delivered without its deadline.",
            "The deadline has no timezone, or it is a number of seconds.",
            "The deadline was made with the cadence, and not with the overlap.",
            "Only one of the two variables was removed after the rotation.",
            "After a rollback, the key was promoted again with a new deadline.",
        ),
        fixes=(
            "Set the deadline to the time of the rotation plus the overlap of the secret.",
            "If the rotation was longer ago than the overlap: unset the previous key and the deadline.",
            "If only the deadline is set: unset it. Only if the previous key must still verify, set that key too.",
        ),
        section=3,
        commands=(_RECORDED, _ROTATE),
        otherwise="warning for a deadline alone, or later than on the revocation list",
        of_secret=_previous_until,
    ),
    CheckEntry(
        check=Check.SLOTS_EQUAL,
        severity=_WARNING,
        title="two slots of a secret have the same key",
        meaning="The current, the next and the previous key of a secret must differ, and two of them are the same.",
        why="One of the two variables has no effect. Perhaps a step of the rotation is not finished.",
        causes=(
            "After the promotion, the variable of the next key was not removed.",
            "The previous key was set to the new key, and not to the old one.",
        ),
        fixes=(
            "Unset the variable of the next key if that key is already the current one.",
            (
                "If the previous key equals another one: set it to the key from before the rotation. If nothing needs"
                " that key any more, unset it and its deadline."
            ),
        ),
        section=3,
        commands=(_RECORDED, _ROTATE),
        of_all=_slots_equal,
    ),
    CheckEntry(
        check=Check.PREVIOUS_PAST,
        severity=_WARNING,
        scope="slot",
        title="the deadline of the previous key has passed",
        meaning="A previous key is set, and its deadline has passed. So the service does not accept this key.",
        why="The key verifies nothing any more. A key that nobody needs should not be delivered.",
        causes=("The last step of the rotation is not done: the previous key was not removed.",),
        fixes=(
            "First re-encrypt stored data that still needs the key. Then unset the previous key and its deadline.",
            "Never move the deadline to a later time: ended sessions would be valid again.",
        ),
        section=3,
        commands=(_ROTATE,),
        of_secret=_previous_past,
    ),
    CheckEntry(
        check=Check.NEAR_MISS,
        severity=_ALERT,
        title="a misspelled name is ignored",
        meaning=(
            "A variable is set that nothing reads, and its name is like one that is read. Or next to a key file or the"
            " revocation list, there is a file with the same name and .txt."
        ),
        why=(
            "Somebody set this name for a reason, and it has no effect. A misspelled switch or expiry marker leaves a"
            " protection off."
        ),
        causes=(
            "The name has a typo, or it is in lower case.",
            "The name is a guess, such as ROBODJ_SECRET_KEY_EXPIRY instead of ROBODJ_SECRET_KEY_EXPIRES_AT.",
            "The name ends with _FILE. Many Docker images read such a variable as a path, but this library does not.",
            "An editor on Windows added .txt to the name of the file.",
        ),
        fixes=(
            (
                "Rename the variable to the name in the finding, unless it ends with _FILE. Give a switch its safe"
                " value: ROBODJ_PROTECTED_ENV=true, ROBODJ_ALLOW_FILE_SECRET_FALLBACK=false."
            ),
            (
                "If the right variable is set too: keep the protective value or the earlier time. Then unset the"
                " misspelled variable."
            ),
            "If it has fingerprints: add them to ROBODJ_REVOKED_FINGERPRINTS. Then unset the misspelled variable.",
            "On a developer's machine and in tests, ROBODJ_PROTECTED_ENV may be false.",
            "ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true is for an emergency on a developer's machine only.",
            (
                "If the name ends with _FILE: read the file into the variable without _FILE. Then unset the one with"
                " _FILE."
            ),
            "If a key file ends with .txt: keep its key in the secret manager as an old version. Then delete the file.",
            (
                "If the revocation list ends with .txt: add its lines to config/revoked.fingerprints. Then delete the"
                " file."
            ),
        ),
        section=2,
        commands=(
            ("Read the file of a _FILE variable", 'export {variable}="$(cat "${variable}_FILE")"'),
            ("Unset the _FILE variable", "unset {variable}_FILE"),
        ),
        otherwise="warning for a key, the config directory or the operations log",
        of_secret=_near_miss,
        of_setup=_near_miss_of_setup,
    ),
    CheckEntry(
        check=Check.SUPERSEDED,
        severity=_WARNING,
        scope="log",
        title="an old key came back",
        meaning=(
            "The operations log has a later key for this secret and environment, so this key is an old one. check,"
            " status and exec report it where they read the log. guard() does not."
        ),
        why=(
            "Services with different keys do not accept each other's sessions. It is only a warning, because the"
            " rollout of a new key takes time."
        ),
        causes=(
            "A rollback or a restored backup brought the old key back.",
            "The deployment names a fixed version of the secret, and not the current one.",
            "The new version in the secret manager was disabled.",
            "The rollout of the new key is not finished.",
            "The current and the previous key are swapped.",
        ),
        fixes=(
            _SET_CURRENT,
            "During a rollout it is only a note. Finish the rollout before the time in the note.",
            "If the finding says that two keys are swapped: set each to its own value from the secret manager.",
            "To go back during a rollout: set the later key as the next key. After it, rotate to a new key.",
            "If others may know the old key: revoke it. Its fingerprint is in the log.",
        ),
        section=3,
        commands=(_RECORDED, _ROTATE),
        otherwise="a note during a rollout",
    ),
    CheckEntry(
        check=Check.DRIFT,
        severity=_WARNING,
        scope="log",
        title="the manager differs from what is recorded",
        meaning=(
            "A key in the secret manager is not the one that the last step of its rotation has left there. Or the"
            " operations log does not have that step. check, status and exec report it with --from, where they read the"
            " log."
        ),
        why="A key that nobody recorded cannot be revoked by name, and nobody knows who changed it.",
        causes=(
            "Somebody changed a field of the secret by hand, or restored an older version.",
            "A step of the rotation was interrupted before it was recorded.",
            "A step was taken on another machine, with another operations log.",
        ),
        fixes=(
            "Compare the versions in the manager. Find out who wrote the last one, and why.",
            "If a step is not in the log: run the command in the finding. It changes no key, and records the step.",
            "If a change by hand was meant: record it with rotate record.",
        ),
        section=3,
        commands=(("Show the versions (Vault)", "vault kv metadata get -mount=MOUNT PATH"), _RECORDED),
    ),
    CheckEntry(
        check=Check.SOURCE,
        severity=_ALERT,
        scope="source",
        title="a source of --from cannot be used",
        meaning=(
            "The secret manager refused a source of --from, or has nothing there that can be used. Or the environment"
            " has another value for a variable of a secret that the manager delivers."
        ),
        why="Without its keys the service cannot start. With two values, nobody knows which one is right.",
        causes=(
            "The token, the role or the credentials are wrong or have expired.",
            "The policy of the login does not allow reading the secret.",
            "The name of the secret or of the directory is wrong, or the current version was deleted.",
            "The certificate of the server is not from a CA that this machine knows.",
            "The deployment still sets a variable that the manager delivers now.",
        ),
        fixes=(
            "Do what the finding says for this fault. Then start the service again.",
            "If the environment has another value: unset the variable there. The value of the manager is then used.",
            "If a version was deleted by mistake: restore it in the manager. Do not make a new key.",
            "Never turn off the verification of certificates: name the CA file of the server instead.",
        ),
        section=2,
        commands=(
            ("Show how the server answers (Vault)", "vault kv get -format=json MOUNT/PATH >/dev/null"),
            ("Show which login is used (AWS)", "aws sts get-caller-identity"),
        ),
    ),
    CheckEntry(
        check=Check.UNAVAILABLE,
        severity=_ALERT,
        scope="source",
        title="the secret manager did not answer",
        meaning=(
            "A source of --from could not be read within the seconds of --wait. The server cannot be reached, is"
            " sealed or is too slow, or an answer was cut off."
        ),
        why="A service never starts without its keys. The exit status is 75, and a supervisor tries again.",
        causes=(
            "The server is not running, was restarted, or is sealed.",
            "The network, the name service or a firewall keeps this machine from the server.",
            "The address of the server is wrong.",
            "For json:-, the command before the pipe failed.",
        ),
        fixes=(
            "Make sure that the server runs, is unsealed, and can be reached from here. Then start the service again.",
            "If the server is slow to start: pass a larger number of seconds to --wait.",
            "If this is a deployment: let the supervisor start the service again after status 75.",
        ),
        section=2,
        commands=(("Show the state of the server (Vault)", "vault status"),),
    ),
    CheckEntry(
        check=Check.INTERNAL,
        severity=_ALERT,
        scope="none",
        title="a check ended with an error",
        meaning=(
            "A check ended with an error, so nothing is verified. Or an argument of guard() is invalid. Or a validator"
            " of the model refused or changed a value."
        ),
        why="The guard never lets a service start on keys that it did not verify.",
        causes=(
            "The service passes an invalid argument to guard() or check().",
            "A validator of the model refuses the value, raises an error, or returns another value.",
            "This library has a bug.",
        ),
        fixes=(
            (
                "Run robodj-secretguard check with the same variables. If it passes, correct the arguments of guard()"
                " in the service."
            ),
            (
                "If it fails too and the model has validators: correct them. A validator returns the value without a"
                " change."
            ),
            "Otherwise, report a bug of this library, with the error type in the finding. Never send a key.",
        ),
        section=6,
        commands=(("Run the same checks without the service", "robodj-secretguard check{options}"),),
    ),
    CheckEntry(
        check=Check.EPHEMERAL,
        severity=_WARNING,
        scope="set-up",
        title="the keys are temporary",
        meaning=(
            "ROBODJ_SECRETS_EPHEMERAL is set. The keys are random, temporary keys of exec --ephemeral or of the pytest"
            " plugin."
        ),
        why=(
            "No other service has these keys, and they are lost when the process ends. A deployment on them loses"
            " sessions and encrypted data."
        ),
        causes=(
            "An image build or a test uses temporary keys. That is right.",
            "The command of an image build was copied into the start command of a container.",
            "A deployment sets ROBODJ_SECRETS_EPHEMERAL.",
        ),
        fixes=(
            (
                "In a build or a test, do nothing. In a deployment, start without exec --ephemeral, and set the"
                " variables from the secret manager."
            ),
            "If a deployment sets ROBODJ_SECRETS_EPHEMERAL: unset it there.",
            "If a build or a test is refused: run it outside of the protected environment.",
        ),
        section=2,
        otherwise="alert in a protected environment",
        of_setup=_ephemeral,
    ),
    CheckEntry(
        check=Check.EXPIRING,
        severity=_WARNING,
        scope="marker",
        title="the key expires soon",
        meaning="The key is still valid, but the time in its expiry marker is within the secret's warning period.",
        why="After that time, no service starts on the key.",
        causes=(
            "The next rotation is due. This is the usual case.",
            "The key was rotated, but the marker still has the old time.",
        ),
        fixes=(
            (
                "Rotate the secret before it expires: follow the steps of robodj-secretguard rotate plan NAME. A later"
                " date alone is not a rotation."
            ),
            "If the key was rotated already: set the marker to the date of that rotation plus the cadence.",
        ),
        section=3,
        commands=_NEW_KEY,
        of_secret=_expiring,
    ),
    CheckEntry(
        check=Check.CADENCE,
        severity=_WARNING,
        scope="marker",
        title="the expiry marker is too far ahead",
        meaning=(
            "The expiry marker is more than one day further ahead than the cadence. The cadence is how often the"
            " secret is rotated."
        ),
        why="The key would be in use for longer than the policy allows.",
        causes=(
            "Somebody moved the date, and did not rotate the key.",
            "The marker has a wrong year.",
            "The date of a secret with a longer cadence was copied.",
        ),
        fixes=(
            "Set the marker to the date of the last rotation plus the cadence.",
            "If you do not know the date of the last rotation: the log has it.",
            "If the last rotation is longer ago than the cadence: rotate the secret now.",
        ),
        section=3,
        commands=(_RECORDED, _ROTATE),
        of_secret=_cadence,
    ),
    CheckEntry(
        check=Check.FILE_FALLBACK,
        severity=_WARNING,
        title="the key comes from a fallback file",
        meaning="The variable is not set, and the key comes from a fallback file.",
        why="Such files are for emergencies and for developers' machines. They are easy to copy and easy to forget.",
        causes=(
            "The service does not get the variable, and an old key file is there.",
            "The secret manager could not be reached, and somebody used the file.",
            "A developer's machine has no secret manager.",
        ),
        fixes=(
            (
                "Make sure that the secret manager has the key. Set the variable to the current value there. Then"
                " delete the file."
            ),
            (
                "If the secret manager does not have this key: rotate the secret when you can reach the manager. Keep"
                " the file until then."
            ),
            "In a deployment, also set ROBODJ_PROTECTED_ENV=true. Then no fallback file is used.",
            "On a developer's machine, you may ignore this warning.",
        ),
        section=2,
        commands=(_ROTATE,),
        of_secret=_file_fallback,
    ),
    CheckEntry(
        check=Check.FILE_STALE,
        severity=_WARNING,
        title="a fallback file holds a key that is not used",
        meaning=(
            "The environment delivers the key, and the fallback file holds a key as well. A file that the guard cannot"
            " read counts too."
        ),
        why=(
            "A forgotten key file can get into images, backups and version control. Without the variable, the service"
            " would use its key."
        ),
        causes=(
            "Somebody used the file in an emergency, and did not delete it.",
            "A developer's machine has both the variable and the file.",
        ),
        fixes=(
            _DELETE_FILE,
            _ONLY_COPY,
            "If an image or version control has the current key: rotate the secret. Then revoke the old key.",
        ),
        section=2,
        commands=(("Look for copies of the keys", "robodj-secretguard scan --git-history{options}"), _ROTATE),
        of_secret=_file_stale,
    ),
    CheckEntry(
        check=Check.FILE_PERMISSIONS,
        severity=_WARNING,
        title="others can read or change a file",
        meaning=(
            "A key file is readable by others, writable by its group, or owned by another user. Or another user owns"
            " the revocation list or a directory above it. Or only a read-only mount protects a file or directory that"
            " others can write."
        ),
        why="Other users of the machine could read the key, or change the file.",
        causes=(
            "The file was made under the usual umask 022, so everybody can read it.",
            "Another user copied or cloned the files.",
            "A container runs as root on a mounted working copy of another user.",
            "The file is in a Kubernetes volume, whose directory has the mode 0777.",
        ),
        fixes=(
            (
                "Run chmod 600 on the key file. Make root or the service's user the owner of every file and directory"
                " that is named."
            ),
            "If users whom you do not trust could read the key: rotate the secret.",
            "If the file is on a read-only mount: chmod fails there. Set the variable instead, and take the file away.",
            "If the revocation list is on a read-only mount: put it into the image instead.",
        ),
        section=2,
        commands=(_PRIVATE,),
        of_secret=_file_permissions,
        of_setup=_lists_of_others,
    ),
)
"""Every check, in the order of the findings of a secret."""
