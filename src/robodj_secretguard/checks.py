"""The checks of policy section 6: the table `CHECKS` at the end, and the rule of each.

A rule is a pure function of what was read. It yields what is wrong and the fix, as texts of constants, declared names,
lengths and times. Nothing here reads, shows a value or raises.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, dataclass_transform

from robodj_secretguard.frozen import Frozen
from robodj_secretguard.material import (
    FORM,
    canonical,
    fingerprint,
    format_defects,
    is_placeholder,
    last_characters,
    weakness,
)
from robodj_secretguard.sources import (
    CONFIG_DIR,
    EPHEMERAL,
    NOTHING,
    REVOKED_FILE,
    REVOKED_FINGERPRINTS,
    absent_lists,
    chmod,
    invalid_entries,
    iso_utc,
    place,
    within_config_dir,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import NamedBy, Reading, Setup
    from robodj_secretguard.textfile import TextFile

EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This source is no older: an earlier clock is wrong, and would let an expired key pass."""
CADENCE_GRACE: Final = timedelta(days=1)

_MOST_NUMBERS: Final = 5


class Severity(StrEnum):
    """Whether a finding stops the service."""

    ALERT = "alert"
    WARNING = "warning"
    NOTE = "note"
    """Shown and not counted: it fails no gate, not even with `--strict`."""


class State(StrEnum):
    """A secret's presence and validity, in the words of the Codex Environment Contract."""

    MISSING = "missing"
    INVALID_FORMAT = "invalid-format"
    EXPIRED = "expired"
    PRESENT = "present"


class Check(StrEnum):
    """The checks (policy section 6), in the order in which a secret's findings are reported."""

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
    NEAR_MISS = "near-miss"
    SUPERSEDED = "superseded"
    INTERNAL = "internal"
    EPHEMERAL = "ephemeral"
    EXPIRING = "expiring"
    CADENCE = "cadence"
    FILE_FALLBACK = "file-fallback"
    FILE_STALE = "file-stale"
    FILE_PERMISSIONS = "file-permissions"


class Problem(Frozen):
    """What a rule has found.

    Attributes:
        what: what is wrong.
        fix: what to do.
        source: where it was found; `None` for where the secret's value comes from.
        severity: another severity than that of the check.
    """

    what: str
    fix: str
    source: str | None = None
    severity: Severity | None = None


Problems: TypeAlias = "Iterator[Problem]"


def _missing(reading: Reading) -> Problems:
    if reading.used is NOTHING:
        absent = ", and ".join([offer.absent for offer in reading.offers])
        yield Problem(f"{absent}.", _deliver_or_generate(reading.policy))


def _file_unsafe(reading: Reading) -> Problems:
    if why := reading.used.text.unsafe:
        yield Problem(f"{reading.used.place} may not be used: {'; '.join(why)}.", reading.used.fix)


def _placeholder(reading: Reading) -> Problems:
    if reading.value is not None and is_placeholder(reading.value.get_secret_value()):
        yield Problem(f"{reading.used.place} holds a placeholder, not a key.", _deliver_or_generate(reading.policy))


def _format(reading: Reading) -> Problems:
    if not reading.found:
        return
    where, lines = reading.used.place, reading.used.text.lines
    if reading.value is None:
        what = f"{where} has {len(lines)} lines besides blanks and comments where exactly one is needed."
        yield Problem(what, _deliver_or_generate(reading.policy))
    elif defects := format_defects(reading.value.get_secret_value(), reading.policy.material):
        what = f"{where} does not hold a well-formed key: {'; '.join(defects)}."
        yield Problem(what, _deliver_or_generate(reading.policy))


def _deliver_or_generate(policy: SecretPolicy) -> str:
    return (
        f"To mend it, deliver the existing value from the secret manager as {policy.variable}; "
        f"only for a first key or a deliberate rotation, generate one: {policy.generator.command}"
    )


def _weak(reading: Reading) -> Problems:
    if reading.value is not None and (why := weakness(reading.value.get_secret_value())):
        fix = f"No approved generator makes such a key. Rotate to a generated one: {reading.policy.generator.command}"
        yield Problem(f"{reading.used.place} holds a key that is plainly not random: {why}.", fix)


def _revoked(reading: Reading) -> Problems:
    policy, revoked = reading.policy, reading.setup.revocation.fingerprints
    if revoked and reading.value is not None and fingerprint(reading.value) in revoked:
        fix = (
            f"Deliver its replacement from the secret manager as {policy.variable}; if there is none yet, rotate:"
            f" {policy.generator.command}"
        )
        yield Problem(f"The key is revoked: {fingerprint(reading.value)} is on the revocation list.", fix)


def _shared(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Problem, list[str]]]:
    """Yield each secret that equals, contains or lies in earlier ones, and the names of these."""
    keys = [(reading, canonical(reading.value.get_secret_value())) for reading in readings if reading.value is not None]
    together = "\n".join(key for _, key in keys)
    if all(together.count(_stem(key)) == 1 for _, key in keys):  # in C: pair by pair only where something is shared
        return
    earlier: list[tuple[str, str]] = []
    for reading, key in keys:
        if any(_placeholder(reading)):
            continue
        shared = [name for name, other in earlier if _stem(key) in other or _stem(other) in key]
        if shared:
            what = f"Its value and that of {', '.join(shared)} are equal, or one contains the other."
            fix = f"Every secret needs its own key. Rotate {reading.policy.name}: {reading.policy.generator.command}"
            yield reading, Problem(what, fix), shared
        earlier.append((reading.policy.name, key))


def _stem(key: str) -> str:
    """Return what is compared of a key: all of it, or without a last character that has unused bits."""
    return key if len(last_characters(key)) == 1 else key[:-1]


def _expired(reading: Reading) -> Problems:
    instant = reading.expires_at
    if reading.found and instant is not None and instant <= reading.setup.now:
        name = reading.policy.expiry_variable
        yield Problem(f"The key expired at {iso_utc(instant)} ({name}).", f"Rotate: {_rotation(reading.policy)}")


def _rotation(policy: SecretPolicy) -> str:
    return (
        f"generate a new key ({policy.generator.command}), deliver it as {policy.variable}, set"
        f" {policy.expiry_variable} to at most {policy.cadence.days} days from then, and restart; moving the marker"
        " alone is not a rotation."
    )


def _expiry_marker(reading: Reading) -> Problems:
    if reading.found and reading.expires_at is None:
        what = f"{reading.policy.expiry_variable} is set, but not to an instant in ISO-8601 with a timezone."
        fix = "Write it like 2027-01-31T00:00:00Z, the instant by which the key must be rotated, or unset it."
        yield Problem(what, fix)


def _clock(reading: Reading) -> Problems:
    if reading.found and _is_clock_wrong(reading):
        now, name = reading.setup.now, reading.policy.expiry_variable
        what = f"The clock says {iso_utc(now)}, which is before this program was made: {name} cannot be judged."
        yield Problem(what, "Set the clock of this machine, then start again.")


def _is_clock_wrong(reading: Reading) -> bool:
    return reading.setup.now < EARLIEST_CLOCK


def _time_left(reading: Reading) -> timedelta | None:
    """Return how long a key is still valid; `None` where it has expired, or where that is not known."""
    if not reading.found or reading.expires_at is None or _is_clock_wrong(reading):
        return None
    left = reading.expires_at - reading.setup.now
    return left if left > timedelta(0) else None


def _expiring(reading: Reading) -> Problems:
    left, policy = _time_left(reading), reading.policy
    # Temporary keys have a line of their own.
    if left is not None and reading.expires_at and left <= policy.warn_before and not reading.setup.ephemeral:
        days = -(-left // timedelta(days=1))
        what = (
            f"The key expires at {iso_utc(reading.expires_at)} ({policy.expiry_variable}), within {days}"
            f" day{'s' if days > 1 else ''}."
        )
        yield Problem(what, f"Rotate before then: {_rotation(policy)}")


def _cadence(reading: Reading) -> Problems:
    left, policy = _time_left(reading), reading.policy
    if left is not None and reading.expires_at and left > policy.cadence + CADENCE_GRACE:
        ahead = f"further ahead than the cadence of {policy.cadence.days} days"
        what = f"{policy.expiry_variable} is {iso_utc(reading.expires_at)}, {ahead}."
        yield Problem(what, f"Set it to the last rotation's date plus {policy.cadence.days} days.")


def _file_fallback(reading: Reading) -> Problems:
    if reading.used.is_break_glass and reading.found:
        what = f"The value comes from the break-glass file {reading.used.place}."
        yield Problem(what, f"Deliver the key as {reading.policy.variable}, then delete the file.")


def _file_permissions(reading: Reading) -> Problems:
    if not reading.found:
        return
    where, text = reading.used.place, reading.used.text
    if lax := (*text.lax, *text.lax_way):
        fix = f"Make the service's user its owner, and run: chmod 600 {where}"
        if text.lax_way:
            variable = reading.policy.variable
            fix = f"Deliver the key as {variable} instead: the mount is read-only, and chmod fails there."
        yield Problem(f"{where} is open too wide: {'; '.join(lax)}.", fix)


def _file_present(reading: Reading) -> Problems:
    yield from _left_behind(reading, "while fallback files are off", is_off=True)


def _file_stale(reading: Reading) -> Problems:
    yield from _left_behind(reading, f"while {reading.used.place} delivers the key", is_off=False)


def _left_behind(reading: Reading, why: str, *, is_off: bool) -> Problems:
    for offer in [each for each in reading.offers if each.is_break_glass and each.is_off is is_off]:
        if offer is not reading.used and holds_key_material(offer.text):
            what = "cannot be judged" if offer.text.unreadable else "holds key material"
            fix = "Make sure that the secret manager has the key, then delete the file; if it was exposed, rotate."
            yield Problem(f"{offer.place} {what}, {why}.", fix, offer.source)


def holds_key_material(file: TextFile) -> bool:
    """Whether a key file holds anything but blanks, comments and placeholders, or cannot be judged."""
    return bool(file.unreadable) or not all(is_placeholder(line.get_secret_value()) for line in file.lines)


def _near_miss(reading: Reading) -> Problems:
    yield from _misspelled(reading.setup, reading.policy)
    for offer in reading.offers:
        if offer.is_break_glass and offer.text.misnamed:
            fix = f"If it holds the key, deliver that as {reading.policy.variable}; then delete the file."
            yield from _misnamed(reading.setup, reading.policy.file, fix, Severity.WARNING)


def _near_miss_of_setup(setup: Setup) -> Problems:
    yield from _misspelled(setup, None)
    if any(file.misnamed for file in setup.lists):
        fix = f"Add its lines to {place(REVOKED_FILE, setup.directory_named_by)}, then delete it."
        yield from _misnamed(setup, REVOKED_FILE, fix, None)


def _misspelled(setup: Setup, policy: SecretPolicy | None) -> Problems:
    for meant, found in setup.near_misses:
        if meant.policy is policy:
            yield Problem(
                f"{found} is set, and nothing reads it: {meant.name} is probably meant.",
                f"If it holds what {meant.name} should hold, rename it; otherwise remove it.",
                "environment",
                None if meant.loosens else Severity.WARNING,
            )


def _misnamed(setup: Setup, file: str, fix: str, severity: Severity | None) -> Problems:
    """Yield the file that an editor gave a second ending."""
    if f"{file}.txt" not in {each.file for each in setup.policies}:
        where = place(file, setup.directory_named_by)
        what = f"Beside {where} there is a file of that name and .txt, and nothing reads it."
        yield Problem(what, fix, f"file:{file}", severity)


_NAMED: Final[dict[NamedBy | None, str]] = {
    None: "config under the working directory",
    "environment": f"The config directory that {CONFIG_DIR} names",
    "argument": "The config directory that the config_dir argument names",
    "model": "The config directory that the model names",
}
_FIX: Final[dict[NamedBy | None, str]] = {
    None: "Start in the service's own directory, and restore config as a directory from version control.",
    "environment": f"Correct {CONFIG_DIR}, or restore that directory.",
    "argument": "Correct the config_dir argument, or restore that directory.",
    "model": "Restore that directory from version control or the deployment.",
}


def _setting(setup: Setup) -> Problems:
    for name in setup.unknown_switches:
        what = f"{name} is neither true nor false, so fallback files are off."
        yield Problem(what, "Set it to one of 1, true, yes, on, 0, false, no, off, or unset it.", "environment")
    yield from unusable_directories(setup)


def unusable_directories(setup: Setup) -> Problems:
    """Yield the config directories that cannot be used."""
    for named_by, fault in ((setup.directory_named_by, setup.directory_fault), ("model", setup.model_directory_fault)):
        if fault:
            fix = f"It may hold the revocation list or key files. {_FIX[named_by]}"
            source = "environment" if named_by == "environment" else "none"
            yield Problem(f"{_NAMED[named_by]} {fault}.", fix, source)


def _revocation_list(setup: Setup) -> Problems:
    source = f"file:{REVOKED_FILE}"
    for number, file in enumerate(setup.lists):
        where = _place_of_list(setup, number)
        if unsafe := ("it is a link to a file that is not there",) if file.dangling else file.unsafe:
            fix = "Restore it from version control."
            if file.exposed:
                named_by = "model" if number else setup.directory_named_by
                fix = f"Compare it with version control, and run: {chmod(file, named_by)}."
            yield Problem(f"The revocation list {where} cannot be relied on: {'; '.join(unsafe)}.", fix, source)
        # Where the directory itself is missing, that is what is to be fixed.
        if setup.list_required and number in absent_lists(setup.lists) and not setup.directory_fault:
            what = f"There is no revocation list {where}, or it is empty, and the model requires one."
            fix = f"Restore {where} from version control; a new project begins one with a comment as its only line."
            yield Problem(what, fix, source)
        if invalid := _numbered(invalid_entries(file)):
            entries = f"{invalid}, comments and blank lines not counted"
            what = f"The revocation list {where} has lines that are not fingerprints: {entries}."
            fix = f"Restore them from version control: each is {FORM}; keep the fingerprints."
            yield Problem(what, fix, source)
    if invalid := _numbered(invalid_entries(setup.added)):
        what = f"{REVOKED_FINGERPRINTS} has entries that are not fingerprints: {invalid}."
        yield Problem(what, f"Correct it: {FORM} each, separated by commas or blanks.", "environment")


def _lists_of_others(setup: Setup) -> Problems:
    for number, file in enumerate(setup.lists):
        if why := (*file.lax_way, *file.foreign):
            which = "revocation list" if file.exists else "directory of the revocation list"
            what = f"The {which} {_place_of_list(setup, number)} could be changed by others: {'; '.join(why)}."
            fix = "Make root or this user the owner of it, of its directory and of those above, and the only writer."
            yield Problem(what, fix, f"file:{REVOKED_FILE}")


def revocation_list_problems(setup: Setup) -> list[Problem]:
    """Return all that is wrong with the revocation list, what is wrong with its variable last."""
    return sorted((*_revocation_list(setup), *_lists_of_others(setup)), key=lambda each: each.source == "environment")


def _place_of_list(setup: Setup, number: int) -> str:
    """Return where a revocation list is: the second one is the model's."""
    if number:
        return f"{within_config_dir(REVOKED_FILE)} in the model's directory"
    return place(REVOKED_FILE, setup.directory_named_by)


def _numbered(numbers: Sequence[int]) -> str:
    """Name entries by their numbers."""
    if not numbers:
        return ""
    first = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
    return f"{'entry' if len(numbers) == 1 else 'entries'} {first}{more}"


def _ephemeral(setup: Setup) -> Problems:
    if setup.ephemeral:
        what = f"{EPHEMERAL} is set: the keys are temporary, for an image build or a test"
        fix = f"To serve, leave out exec --ephemeral, unset {EPHEMERAL}, and deliver the keys from the manager; "
        if setup.protected:
            what += ", and the environment is protected."
            fix += "to build or test, do so outside of the protected environment."
        else:
            what += "."
            fix += "a build or a test needs nothing."
        yield Problem(what, fix, "environment", Severity.ALERT if setup.protected else None)


def internal(error_type: str) -> Problem:
    """Return that a check itself failed, with an error of this type."""
    fix = "If the service passes arguments or has validators of its own, ask its developers; else report a bug."
    return Problem(f"The check itself failed ({error_type}): nothing is verified.", fix, "none")


@dataclass_transform(kw_only_default=True)
class _Entry(SimpleNamespace):
    """Lets a type checker know the fields of an entry. A record of another kind would cost a start more."""


class CheckEntry(_Entry):
    """One check.

    Attributes:
        check: its id.
        severity: of its findings, where a rule does not say another.
        title: what is wrong, in a few words.
        explanation: when it is reported.
        fix: what an operator does.
        otherwise: the other severity, and when that is used.
        state: what a secret is where the check has a finding on it.
        scope: what it is about. Of the scope `value`, a secret has the first finding only. A rule of `marker` runs
            where a marker is set. A check of `log` runs in the commands that read the operations log.
        of_secret: its rule for each secret.
        of_all: its rule for all secrets together.
        of_setup: its rule for the set-up.
    """

    check: Check
    severity: Severity
    title: str
    explanation: str
    fix: str
    otherwise: str = ""
    state: State = State.PRESENT
    scope: Literal["value", "marker", "secret", "set-up", "log", "none"] = "secret"
    of_secret: Callable[[Reading], Problems] | None = None
    of_all: Callable[[Sequence[Reading]], Iterator[tuple[Reading, Problem, list[str]]]] | None = None
    of_setup: Callable[[Setup], Problems] | None = None


_ALERT, _WARNING = Severity.ALERT, Severity.WARNING

CHECKS: Final = (
    CheckEntry(
        check=Check.MISSING,
        severity=_ALERT,
        title="no key is delivered",
        explanation="neither the environment nor, where allowed, the file has it",
        fix="deliver the existing value; only for a first key or a deliberate rotation, generate one",
        state=State.MISSING,
        scope="value",
        of_secret=_missing,
    ),
    CheckEntry(
        check=Check.PLACEHOLDER,
        severity=_ALERT,
        title="a template's value is delivered",
        explanation=(
            "a template's value, such as `changeme`, `Change-Me` or `<key>`, in several languages; such text in"
            " base64 or hexadecimal; or the default of a well-known project"
        ),
        fix="as for `missing`",
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_placeholder,
    ),
    CheckEntry(
        check=Check.FORMAT,
        severity=_ALERT,
        title="the value is not a well-formed key",
        explanation=(
            "not the accepted material: too short or long, a newline, blanks, quotes, padding, a wrong character,"
            " two lines in a file"
        ),
        fix="as for `missing`",
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_format,
    ),
    CheckEntry(
        check=Check.WEAK,
        severity=_ALERT,
        title="the key is clearly not random",
        explanation="plainly not random: few distinct characters, a repeated block, runs, one case",
        fix="rotate to a key that the generator made",
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_weak,
    ),
    CheckEntry(
        check=Check.SHARED,
        severity=_ALERT,
        title="two secrets have the same value",
        explanation="two secrets are equal, also where only unused bits differ, or one contains the other",
        fix="rotate the one that is named",
        of_all=_shared,
    ),
    CheckEntry(
        check=Check.EXPIRED,
        severity=_ALERT,
        scope="marker",
        title="the key has expired",
        explanation="the marker's instant is now or past",
        fix="rotate; moving the marker alone is not a rotation",
        state=State.EXPIRED,
        of_secret=_expired,
    ),
    CheckEntry(
        check=Check.EXPIRY_MARKER,
        severity=_ALERT,
        scope="marker",
        title="the expiry marker is invalid",
        explanation="the marker is not ISO-8601 with a timezone",
        fix="correct or unset it",
        of_secret=_expiry_marker,
    ),
    CheckEntry(
        check=Check.CLOCK,
        severity=_ALERT,
        scope="marker",
        title="the clock is wrong",
        explanation="a marker is set, and the clock is earlier than this program",
        fix="set the clock",
        of_secret=_clock,
    ),
    CheckEntry(
        check=Check.FILE_UNSAFE,
        severity=_ALERT,
        title="the fallback file cannot be trusted",
        explanation=(
            "the file is not a regular UTF-8 file of at most 4 KiB, cannot be read, changes while it is read, or"
            " others can write it, or have put it there by a directory or a link on the way"
        ),
        fix="deliver the variable, or make the file safe",
        state=State.INVALID_FORMAT,
        scope="value",
        of_secret=_file_unsafe,
    ),
    CheckEntry(
        check=Check.FILE_PRESENT,
        severity=_ALERT,
        title="a fallback file holds a key and fallback files are off",
        explanation="fallback files are off, and a file holds key material",
        fix="see that the secret manager has it, delete the file",
        of_secret=_file_present,
    ),
    CheckEntry(
        check=Check.SETTING,
        severity=_ALERT,
        scope="set-up",
        title="a setting is invalid",
        explanation=(
            "a switch has an invalid value. A named config directory does not exist. `config` is a plain file, is a"
            " link to nothing or cannot be examined. The working directory was deleted. `ROBODJ_OPERATIONS_LOG`"
            " names a file that is not there"
        ),
        fix="correct it",
        otherwise="warning for the log",
        of_setup=_setting,
    ),
    CheckEntry(
        check=Check.REVOKED,
        severity=_ALERT,
        title="the key is revoked",
        explanation=(
            "the key's fingerprint is on the revocation list; a key respelled in its unused bits has the same"
            " fingerprint"
        ),
        fix="deliver the replacement",
        scope="value",
        of_secret=_revoked,
    ),
    CheckEntry(
        check=Check.REVOCATION_LIST,
        severity=_ALERT,
        scope="set-up",
        title="the revocation list cannot be relied on",
        explanation=(
            "the list has an invalid line, is unsafe or unreadable, or is required and absent or empty; or the"
            " operations log has a revocation that is not listed"
        ),
        fix="restore the list from version control; run `revoke` again",
        of_setup=_revocation_list,
    ),
    CheckEntry(
        check=Check.NEAR_MISS,
        severity=_ALERT,
        title="a misspelled name is ignored",
        explanation=(
            "a variable is ignored and is a typo of one that is read. The same holds for a name that begins like a"
            " switch, or begins with `ROBODJ_SECRET` and speaks of expiry, but not for a Kubernetes service link."
            " There is a `config/secret.key.txt` or (an alert) a `config/revoked.fingerprints.txt`"
        ),
        fix="rename or remove it",
        otherwise="warning for a key, the config directory or the operations log",
        of_secret=_near_miss,
        of_setup=_near_miss_of_setup,
    ),
    CheckEntry(
        check=Check.SUPERSEDED,
        severity=_WARNING,
        scope="log",
        title="an old key came back",
        explanation=(
            "of `check`, `status` and `exec` where there is an operations log: it records a later key for this"
            " secret and environment, so an old key came back"
        ),
        fix="set the variable to its current value",
        otherwise="a note during a rollout",
    ),
    CheckEntry(
        check=Check.INTERNAL,
        severity=_ALERT,
        scope="none",
        title="a check failed by itself",
        explanation=(
            "a check failed by itself, an argument of the call failed, or a validator of your own refused or"
            " replaced a value"
        ),
        fix="correct your argument or validator, or report a bug",
    ),
    CheckEntry(
        check=Check.EPHEMERAL,
        severity=_WARNING,
        scope="set-up",
        title="the keys are temporary",
        explanation="the keys are temporary",
        fix="for a build or a test, nothing; to serve, deliver the existing values",
        otherwise="alert in a protected environment",
        of_setup=_ephemeral,
    ),
    CheckEntry(
        check=Check.EXPIRING,
        severity=_WARNING,
        scope="marker",
        title="the key expires soon",
        explanation="the key expires within its warn window (14 and 7 days)",
        fix="rotate",
        of_secret=_expiring,
    ),
    CheckEntry(
        check=Check.CADENCE,
        severity=_WARNING,
        scope="marker",
        title="the expiry marker is too far ahead",
        explanation="the marker is further ahead than the cadence (90 and 30 days) and a day",
        fix="set it to the last rotation plus the cadence",
        of_secret=_cadence,
    ),
    CheckEntry(
        check=Check.FILE_FALLBACK,
        severity=_WARNING,
        title="the key comes from a fallback file",
        explanation="the value comes from a file: break-glass",
        fix="deliver the variable",
        of_secret=_file_fallback,
    ),
    CheckEntry(
        check=Check.FILE_STALE,
        severity=_WARNING,
        title="a fallback file holds a key that is not used",
        explanation="the environment has the value, and a file still holds key material",
        fix="delete the file",
        of_secret=_file_stale,
    ),
    CheckEntry(
        check=Check.FILE_PERMISSIONS,
        severity=_WARNING,
        title="others can read or change a file",
        explanation=(
            "a key file in use is readable by others, writable by its group, or owned by neither root nor this user."
            " Another ordinary user owns the revocation list or a directory on the way to it. A directory is"
            " writable by others, and only its read-only mount protects it"
        ),
        fix="`chmod 600` for a key file; root or the service's user as owner",
        of_secret=_file_permissions,
        of_setup=_lists_of_others,
    ),
)
"""Every check, in the order in which the findings of a secret are reported."""
