"""Missing, file-unsafe, placeholder, format, weak: whether a key was delivered, and is one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from robodj_secretguard.fingerprint import FORM, fingerprint
from robodj_secretguard.material import canonical, format_defects, is_placeholder, last_characters, weakness
from robodj_secretguard.report import Check, Finding, Severity, State, about, about_setup, iso_utc
from robodj_secretguard.sources import (
    CONFIG_DIR,
    EPHEMERAL,
    MAX_FILE_BYTES,
    REVOKED_FILE,
    REVOKED_FINGERPRINTS,
    Reading,
    Setup,
    chmod,
    within_config_dir,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Finding
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.sources import NamedBy, Reading, Setup
    from robodj_secretguard.textfile import TextFile


def delivery_findings(reading: Reading) -> Iterator[Finding]:
    """Return at most one finding: the first that applies (policy section 6).

    Args:
        reading: what was found for the secret.
    """
    policy, file, value = reading.policy, reading.file, reading.value
    if not reading.variable and not reading.file_in_use:
        yield about(reading, Check.MISSING, _missing(reading), _deliver_or_generate(reading))
        return
    where = policy.variable if reading.variable else reading.setup.place(policy.file)
    if reading.file_in_use and file.unsafe:
        remedy = (
            f"Deliver the key as {policy.variable} instead; or make it a UTF-8 file of the key alone, at most"
            f" {MAX_FILE_BYTES} bytes, that nobody else can write: chmod 600 {where}"
        )
        remedy += f"; {chmod(file, reading.setup.directory_named_by)}." if file.exposed else "."
        yield about(reading, Check.FILE_UNSAFE, f"{where} may not be used: {'; '.join(file.unsafe)}.", remedy)
    elif value is None:
        message = f"{where} has {len(file.lines)} lines besides blanks and comments where exactly one is needed."
        yield about(reading, Check.FORMAT, message, _deliver_or_generate(reading))
    elif is_placeholder(value.get_secret_value()):
        message = f"{where} holds a placeholder, not a key."
        yield about(reading, Check.PLACEHOLDER, message, _deliver_or_generate(reading))
    elif defects := format_defects(value.get_secret_value(), policy.material):
        message = f"{where} does not hold a well-formed key: {'; '.join(defects)}."
        yield about(reading, Check.FORMAT, message, _deliver_or_generate(reading))
    elif why := weakness(value.get_secret_value()):
        remedy = f"No approved generator makes such a key. Rotate to a generated one: {policy.generator.command}"
        yield about(reading, Check.WEAK, f"{where} holds a key that is plainly not random: {why}.", remedy)


def _missing(reading: Reading) -> str:
    policy, setup = reading.policy, reading.setup
    unset = f"{policy.variable} is {'unset' if reading.variable is None else 'set but empty'}"
    place = setup.place(policy.file)
    if setup.files_off:
        return f"{unset}, and fallback files are off: {place} is not used."
    if reading.file.dangling:
        return f"{unset}, and {place} is a link to a file that is not there."
    if reading.file.exists:
        return f"{unset}, and {place} has nothing but blanks and comments."
    return f"{unset}, and there is no file {place}{'' if setup.directory_named_by else ' under the working directory'}."


def _deliver_or_generate(reading: Reading) -> str:
    policy = reading.policy
    return (
        f"To mend it, deliver the existing value from the secret manager as {policy.variable}; "
        f"only for a first key or a deliberate rotation, generate one: {policy.generator.command}"
    )


EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This source is no older: an earlier clock is wrong, and would let an expired key pass."""
CADENCE_GRACE: Final = timedelta(days=1)

# Not compiled here: that is a twentieth of a start, and few keys have a marker.
_MARKER: Final = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


def expiry(marker: SealedStr | None) -> datetime | None:
    """Return the instant of an expiry marker, in UTC; `None` when there is none or it is not a valid one.

    The standard library's parsers never see unchecked text: they repeat it in their errors.

    Args:
        marker: `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z` or an offset of hours and minutes.
    """
    match = re.fullmatch(_MARKER, marker.get_secret_value()) if marker else None
    if match is None:
        return None
    *date_and_time, fraction, sign, hours, minutes = match.groups("0")
    year, month, day, hour, minute, second = map(int, date_and_time)
    microsecond = int(fraction[:6].ljust(6, "0"))
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):  # not in the calendar, or out of range in UTC
        return None


def expiry_findings(reading: Reading) -> Iterator[Finding]:
    """Return what is wrong with the expiry of a secret that was found, whatever its shape.

    Args:
        reading: what was found for it.
    """
    if reading.marker is None or not reading.found:
        return
    policy, now, name = reading.policy, reading.setup.now, reading.policy.expiry_variable
    instant = expiry(reading.marker)
    clock_is_wrong = now < EARLIEST_CLOCK
    days = policy.cadence.days
    rotation = (
        f"generate a new key ({policy.generator.command}), deliver it as {policy.variable}, set {name} to at most"
        f" {days} days from then, and restart; moving the marker alone is not a rotation."
    )
    if instant is None:
        message = f"{name} is set, but not to an instant in ISO-8601 with a timezone."
        remedy = "Write it like 2027-01-31T00:00:00Z, the instant by which the key must be rotated, or unset it."
        yield about(reading, Check.EXPIRY_MARKER, message, remedy)
    elif instant <= now:
        yield about(reading, Check.EXPIRED, f"The key expired at {iso_utc(instant)} ({name}).", f"Rotate: {rotation}")
    elif not clock_is_wrong and instant - now <= policy.warn_before:
        if reading.setup.ephemeral:  # temporary keys have a line of their own
            return
        left = -((now - instant) // timedelta(days=1))
        message = f"The key expires at {iso_utc(instant)} ({name}), within {left} day{'s' if left > 1 else ''}."
        yield about(reading, Check.EXPIRING, message, f"Rotate before then: {rotation}")
    elif not clock_is_wrong and instant - now > policy.cadence + CADENCE_GRACE:
        message = f"{name} is {iso_utc(instant)}, further ahead than the cadence of {days} days."
        yield about(reading, Check.CADENCE, message, f"Set it to the last rotation's date plus {days} days.")
    if clock_is_wrong:
        message = f"The clock says {iso_utc(now)}, which is before this program was made: {name} cannot be judged."
        yield about(reading, Check.CLOCK, message, "Set the clock of this machine, then start again.")


def file_findings(reading: Reading) -> Iterator[Finding]:
    """Return what is to be said of a fallback file besides that it may not be used.

    Args:
        reading: what was found for the secret.
    """
    policy, file, where = reading.policy, reading.file, reading.setup.place(reading.policy.file)
    if reading.file_in_use and not file.unsafe:
        message = f"The value comes from the break-glass file {where}."
        yield about(
            reading, Check.FILE_FALLBACK, message, f"Deliver the key as {policy.variable}, then delete the file."
        )
        if lax := (*file.lax, *file.lax_way):
            remedy = f"Make the service's user its owner, and run: chmod 600 {where}"
            if file.lax_way:
                remedy = f"Deliver the key as {policy.variable} instead: the mount is read-only, and chmod fails there."
            yield about(reading, Check.FILE_PERMISSIONS, f"{where} is open too wide: {'; '.join(lax)}.", remedy)
    elif not reading.file_in_use and holds_key_material(file):
        if reading.setup.files_off:
            check, why = Check.FILE_PRESENT, "while fallback files are off"
        else:
            check, why = Check.FILE_STALE, f"while {policy.variable} delivers the key"
        what = "cannot be judged" if file.unreadable else "holds key material"
        message = f"{where} {what}, {why}."
        remedy = "Make sure that the secret manager has the key, then delete the file; if it was exposed, rotate."
        yield about(reading, check, message, remedy, source=f"file:{policy.file}")


def holds_key_material(file: TextFile) -> bool:
    """Whether a key file holds anything but blanks, comments and placeholders, or cannot be judged.

    Args:
        file: the file.
    """
    return bool(file.unreadable) or not all(is_placeholder(line.get_secret_value()) for line in file.lines)


def near_miss_findings(setup: Setup, policy: SecretPolicy | None) -> Iterator[Finding]:
    """Return the set variables that are typos of those that belong to one secret, or to none.

    It is an alert where ignoring the variable loosens a check, and a warning where a key is merely missed.

    Args:
        setup: what holds for every declared secret.
        policy: the secret; `None` for the variables that belong to none.
    """
    for miss in setup.near_misses:
        if miss.meant.policy is policy:
            yield about_setup(
                setup.policies,
                Check.NEAR_MISS,
                f"{miss.found} is set, and nothing reads it: {miss.meant.name} is probably meant.",
                f"If it holds what {miss.meant.name} should hold, rename it; otherwise remove it.",
                source="environment",
                severity=Severity.ALERT if miss.meant.loosens else Severity.WARNING,
                policy=policy,
            )


def misnamed_file_findings(reading: Reading) -> Iterator[Finding]:
    """Return the file that an editor gave a second ending, beside where the fallback file is looked for.

    Args:
        reading: what was found for the secret.
    """
    policy = reading.policy
    if reading.file.misnamed:
        remedy = f"If it holds the key, deliver that as {policy.variable}; then delete the file."
        yield from _misnamed(reading.setup, policy.file, remedy, Severity.WARNING, policy)


def misnamed_list_findings(setup: Setup) -> Iterator[Finding]:
    """Return the file that an editor gave a second ending, beside where the revocation list is looked for.

    Args:
        setup: what holds for every declared secret.
    """
    if any(file.misnamed for file in setup.revocation.files):
        remedy = f"Add its lines to {setup.place(REVOKED_FILE)}, then delete it."
        yield from _misnamed(setup, REVOKED_FILE, remedy, Severity.ALERT, None)


def _misnamed(
    setup: Setup, file: str, remedy: str, severity: Severity, policy: SecretPolicy | None
) -> Iterator[Finding]:
    if f"{file}.txt" not in {each.file for each in setup.policies}:
        yield about_setup(
            setup.policies,
            Check.NEAR_MISS,
            f"Beside {setup.place(file)} there is a file of that name and .txt, and nothing reads it.",
            remedy,
            source=f"file:{file}",
            severity=severity,
            policy=policy,
        )


_MOST_NUMBERS: Final = 5


def revoked_findings(reading: Reading) -> Iterator[Finding]:
    """Return that the key is on the revocation list.

    Args:
        reading: what was found for the secret: a key that passed the format and strength rules.
    """
    policy, revoked = reading.policy, reading.setup.revocation.fingerprints
    if revoked and reading.value is not None and fingerprint(reading.value) in revoked:
        message = f"The key is revoked: {fingerprint(reading.value)} is on the revocation list."
        remedy = (
            f"Deliver its replacement from the secret manager as {policy.variable}; if there is none yet, rotate:"
            f" {policy.generator.command}"
        )
        yield about(reading, Check.REVOKED, message, remedy)


def revocation_list_findings(setup: Setup) -> Iterator[Finding]:
    """Return why the revocation list cannot be relied on, or is missing: a revoked key could pass.

    Args:
        setup: what holds for every declared secret.
    """
    revocation, source = setup.revocation, f"file:{REVOKED_FILE}"

    def finding(message: str, remedy: str, source: str = source, severity: Severity = Severity.ALERT) -> Finding:
        check = Check.REVOCATION_LIST if severity is Severity.ALERT else Check.FILE_PERMISSIONS
        return about_setup(setup.policies, check, message, remedy, source=source, severity=severity)

    for number, (file, invalid) in enumerate(zip(revocation.files, revocation.invalid_in_files, strict=True)):
        place = f"{within_config_dir(REVOKED_FILE)} in the model's directory" if number else setup.place(REVOKED_FILE)
        unsafe = ("it is a link to a file that is not there",) if file.dangling else file.unsafe
        if unsafe:
            message = f"The revocation list {place} cannot be relied on: {'; '.join(unsafe)}."
            remedy = "Restore it from version control."
            if file.exposed:
                named_by = "model" if number else setup.directory_named_by
                remedy = f"Compare it with version control, and run: {chmod(file, named_by)}."
            yield finding(message, remedy)
        # Where the directory itself is missing, that is what is to be fixed.
        if setup.list_required and number in revocation.absent and not setup.directory_fault:
            message = f"There is no revocation list {place}, or it is empty, and the model requires one."
            remedy = f"Restore {place} from version control; a new project begins one with a comment as its only line."
            yield finding(message, remedy)
        if invalid:
            entries = f"{_entries(invalid)}, comments and blank lines not counted"
            message = f"The revocation list {place} has lines that are not fingerprints: {entries}."
            yield finding(message, f"Restore them from version control: each is {FORM}; keep the fingerprints.")
        if file.lax_way or file.foreign:
            what = "revocation list" if file.exists else "directory of the revocation list"
            message = f"The {what} {place} could be changed by others: {'; '.join((*file.lax_way, *file.foreign))}."
            remedy = "Make root or this user the owner of it, of its directory and of those above, and the only writer."
            yield finding(message, remedy, severity=Severity.WARNING)
    if numbers := revocation.invalid_in_variable:
        message = f"{REVOKED_FINGERPRINTS} has entries that are not fingerprints: {_entries(numbers)}."
        remedy = f"Correct it: {FORM} each, separated by commas or blanks."
        yield finding(message, remedy, source="environment")


def _entries(numbers: Sequence[int]) -> str:
    first = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
    return f"{'entry' if len(numbers) == 1 else 'entries'} {first}{more}"


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


def setting_findings(setup: Setup) -> Iterator[Finding]:
    """Return the switches with an unknown value, and a config directory that cannot be used.

    Args:
        setup: what holds for every declared secret.
    """
    for name in setup.unknown_switches:
        message = f"{name} is neither true nor false, so fallback files are off."
        remedy = "Set it to one of 1, true, yes, on, 0, false, no, off, or unset it."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source="environment")
    if setup.directory_fault:
        yield _directory_finding(setup, setup.directory_named_by, setup.directory_fault)
    if setup.model_directory_fault:
        yield _directory_finding(setup, "model", setup.model_directory_fault)


def _directory_finding(setup: Setup, named_by: NamedBy | None, fault: str) -> Finding:
    source = "environment" if named_by == "environment" else "none"
    remedy = f"It may hold the revocation list or key files. {_FIX[named_by]}"
    return about_setup(setup.policies, Check.SETTING, f"{_NAMED[named_by]} {fault}.", remedy, source=source)


def ephemeral_findings(setup: Setup) -> Iterator[Finding]:
    """Return that the keys are temporary: an alert where the environment is protected, where services serve.

    Args:
        setup: what holds for every declared secret.
    """
    if setup.ephemeral:
        message = f"{EPHEMERAL} is set: the keys are temporary, for an image build or a test"
        remedy = f"To serve, leave out exec --ephemeral, unset {EPHEMERAL}, and deliver the keys from the manager; "
        if setup.protected:
            message += ", and the environment is protected."
            remedy += "to build or test, do so outside of the protected environment."
        else:
            message += "."
            remedy += "a build or a test needs nothing."
        severity = Severity.ALERT if setup.protected else Severity.WARNING
        yield about_setup(setup.policies, Check.EPHEMERAL, message, remedy, source="environment", severity=severity)


def internal(policies: Sequence[SecretPolicy], error_type: str, policy: SecretPolicy | None = None) -> Finding:
    """Return the finding that a check itself failed.

    Args:
        policies: all declared secrets.
        error_type: the name of the error's type.
        policy: the secret that it is about, if one is known.
    """
    message = f"The check itself failed ({error_type}): nothing is verified."
    remedy = "If the service passes arguments or has validators of its own, ask its developers; else report a bug."
    return about_setup(policies, Check.INTERNAL, message, remedy, source="none", policy=policy)


def shared_findings(readings: Sequence[Reading]) -> Iterator[tuple[Finding, list[str]]]:
    """Return, for each secret that equals, contains or lies in earlier ones, a finding on it and their names.

    Args:
        readings: what was found, in declared order, for every declared secret that does not hold a placeholder.
    """
    keys = [(reading, canonical(reading.value.get_secret_value())) for reading in readings if reading.value is not None]
    together = "\n".join(key for _, key in keys)
    if all(together.count(_stem(key)) == 1 for _, key in keys):  # in C: pair by pair only where something is shared
        return
    earlier: list[tuple[str, str]] = []
    for reading, key in keys:
        shared = [name for name, other in earlier if _stem(key) in other or _stem(other) in key]
        if shared:
            message = f"Its value and that of {', '.join(shared)} are equal, or one contains the other."
            remedy = f"Every secret needs its own key. Rotate {reading.policy.name}: {reading.policy.generator.command}"
            yield about(reading, Check.SHARED, message, remedy), shared
        earlier.append((reading.policy.name, key))


def _stem(key: str) -> str:
    """Return what is compared of a key: all of it, or without a last character that has unused bits."""
    return key if len(last_characters(key)) == 1 else key[:-1]


_INVALID_FORMAT: Final = frozenset({Check.FILE_UNSAFE, Check.PLACEHOLDER, Check.FORMAT, Check.WEAK})


class Judged(NamedTuple):
    """One secret, and what the rules say of it by itself.

    Attributes:
        reading: what was found for it.
        findings: every finding that can be made without the other secrets.
    """

    reading: Reading
    findings: tuple[Finding, ...]


class Judgement:
    """What the rules say of everything that was read. To make one is to run them all, once.

    Args:
        readings: what was found, for every declared secret in declared order, at least one.
    """

    __slots__ = ("_secrets", "_sharing", "_together")

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._secrets = tuple(Judged(reading, _judge_alone(reading)) for reading in readings)
        setup = readings[0].setup
        shared = [
            *shared_findings([reading for reading, findings in self._secrets if not _holds_placeholder(findings)])
        ]
        self._sharing = {name for _, names in shared for name in names}
        self._together = (
            *setting_findings(setup),
            *revocation_list_findings(setup),
            *near_miss_findings(setup, None),
            *misnamed_list_findings(setup),
            *ephemeral_findings(setup),
            *(finding for finding, _ in shared),
        )

    @property
    def secrets(self) -> tuple[Judged, ...]:
        """Every declared secret, in declared order."""
        return self._secrets

    @property
    def together(self) -> tuple[Finding, ...]:
        """The findings about the set-up, and about one secret beside another."""
        return self._together

    @property
    def sharing(self) -> Collection[str]:
        """The secrets whose value a later one has: the finding is on that one, and neither is usable."""
        return self._sharing

    @property
    def setup(self) -> Setup:
        """What holds for every declared secret."""
        return self._secrets[0].reading.setup

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding."""
        return (*self._together, *(finding for judged in self._secrets for finding in judged.findings))


def _judge_alone(reading: Reading) -> tuple[Finding, ...]:
    delivery = tuple(delivery_findings(reading))
    return (
        *delivery,
        *expiry_findings(reading),
        *file_findings(reading),
        *(() if delivery else revoked_findings(reading)),
        *near_miss_findings(reading.setup, reading.policy),
        *misnamed_file_findings(reading),
    )


def _holds_placeholder(findings: Iterable[Finding]) -> bool:
    return any(finding.check is Check.PLACEHOLDER for finding in findings)


def state_of(findings: Iterable[Finding]) -> State:
    """Return a secret's state: the first of missing, invalid-format, expired and present that holds.

    A placeholder, a weak key and a fallback file that may not be used are `invalid-format`.
    """
    checks = {finding.check for finding in findings}
    if Check.MISSING in checks:
        return State.MISSING
    if checks & _INVALID_FORMAT:
        return State.INVALID_FORMAT
    return State.EXPIRED if Check.EXPIRED in checks else State.PRESENT
