"""The checks of policy section 6: the table `CHECKS` at the end, and the rule of each.

A rule is a pure function of the values that were read. It yields what is wrong and the fix, as texts of constants,
declared names, lengths and times. No rule reads, shows a value or raises.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

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
    NOTHING,
    REVOKED_FILE,
    WORKING_DIRECTORY_DELETED,
    absent_lists,
    chmod,
    in_command,
    invalid_entries,
    invalid_lines,
    named_list,
    set_current,
    shown_directory,
    shown_path,
    within_config_dir,
)
from robodj_secretguard.startup.textfile import BELOW_OWNED, IN_OWNED, NOT_ALLOWED, NOT_REGULAR, OWNED
from robodj_secretguard.startup.variables import (
    ALLOW_FILE_SECRET_FALLBACK,
    CONFIG_DIR,
    EPHEMERAL,
    INSTANCE,
    PROTECTED_ENV,
    REVOKED_FINGERPRINTS,
    SECRET_EVENTS,
    SECRET_HEARTBEAT,
    SERVICE,
    iso_utc,
    parse_marker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import NamedBy, Reading, Setup
    from robodj_secretguard.startup.textfile import TextFile
    from robodj_secretguard.startup.variables import NearMiss

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


class CheckEntry(Frozen):
    """One check. Its texts are in cli/explanations.toml.

    Attributes:
        check: its id.
        severity: the severity of its findings, unless a rule gives another one.
        scope: the subject of the check. Of the scope `value`, only the first finding of a secret is reported. Rules of
            `marker` run where a marker is set. Those of `value` and `slot` also run for the next and the previous key.
            Checks of `log` run in the commands that read the operations log, and those of `source` with `--from`.
        state: the state of a secret with a finding of this check.
        of_secret: the rule for each secret.
        of_all: the rule for all secrets together.
        of_setup: the rule for the set-up.
    """

    check: Check
    severity: Severity
    scope: Literal["value", "marker", "secret", "slot", "set-up", "log", "source", "none"]
    state: State = State.PRESENT
    of_secret: Callable[[Reading], Problems] | None = None
    of_all: Callable[[Sequence[Reading]], Iterator[tuple[Reading, Problem, list[str]]]] | None = None
    of_setup: Callable[[Setup], Problems] | None = None


CHECKS: Final = (
    CheckEntry(Check.MISSING, Severity.ALERT, "value", state=State.MISSING, of_secret=_missing),
    CheckEntry(Check.PLACEHOLDER, Severity.ALERT, "value", state=State.INVALID_FORMAT, of_secret=_placeholder),
    CheckEntry(Check.FORMAT, Severity.ALERT, "value", state=State.INVALID_FORMAT, of_secret=_format),
    CheckEntry(Check.WEAK, Severity.ALERT, "value", state=State.INVALID_FORMAT, of_secret=_weak),
    CheckEntry(Check.SHARED, Severity.ALERT, "secret", of_all=_shared),
    CheckEntry(Check.EXPIRED, Severity.ALERT, "marker", state=State.EXPIRED, of_secret=_expired),
    CheckEntry(Check.EXPIRY_MARKER, Severity.ALERT, "marker", of_secret=_expiry_marker),
    CheckEntry(Check.CLOCK, Severity.ALERT, "marker", of_secret=_clock),
    CheckEntry(Check.FILE_UNSAFE, Severity.ALERT, "value", state=State.INVALID_FORMAT, of_secret=_file_unsafe),
    CheckEntry(Check.FILE_PRESENT, Severity.ALERT, "secret", of_secret=_file_present),
    CheckEntry(Check.SETTING, Severity.ALERT, "set-up", of_setup=_setting),
    CheckEntry(Check.REVOKED, Severity.ALERT, "value", of_secret=_revoked),
    CheckEntry(Check.REVOCATION_LIST, Severity.ALERT, "set-up", of_setup=_revocation_list),
    CheckEntry(Check.PREVIOUS_UNTIL, Severity.ALERT, "slot", of_secret=_previous_until),
    CheckEntry(Check.SLOTS_EQUAL, Severity.WARNING, "secret", of_all=_slots_equal),
    CheckEntry(Check.PREVIOUS_PAST, Severity.WARNING, "slot", of_secret=_previous_past),
    CheckEntry(Check.NEAR_MISS, Severity.ALERT, "secret", of_secret=_near_miss, of_setup=_near_miss_of_setup),
    CheckEntry(Check.SUPERSEDED, Severity.WARNING, "log"),
    CheckEntry(Check.DRIFT, Severity.WARNING, "log"),
    CheckEntry(Check.SOURCE, Severity.ALERT, "source"),
    CheckEntry(Check.UNAVAILABLE, Severity.ALERT, "source"),
    CheckEntry(Check.INTERNAL, Severity.ALERT, "none"),
    CheckEntry(Check.EPHEMERAL, Severity.WARNING, "set-up", of_setup=_ephemeral),
    CheckEntry(Check.EXPIRING, Severity.WARNING, "marker", of_secret=_expiring),
    CheckEntry(Check.CADENCE, Severity.WARNING, "marker", of_secret=_cadence),
    CheckEntry(Check.FILE_FALLBACK, Severity.WARNING, "secret", of_secret=_file_fallback),
    CheckEntry(Check.FILE_STALE, Severity.WARNING, "secret", of_secret=_file_stale),
    CheckEntry(
        Check.FILE_PERMISSIONS, Severity.WARNING, "secret", of_secret=_file_permissions, of_setup=_lists_of_others
    ),
)
"""Every check, in the order of the findings of a secret."""
