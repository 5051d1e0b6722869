"""The checks of policy section 6: the rule of each, and the tables of the rules at the end.

A rule is a pure function of the values that were read. It yields what is wrong and the fix, as texts of constants,
declared names, lengths and times. No rule reads, shows a value or raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from robodj_secretguard.secret.frozen import Frozen, NamedText
from robodj_secretguard.secret.material import PART, Fault, Kind, canonical, is_plain_text, join_faults, last_characters
from robodj_secretguard.secret.policy import LEAST_MATERIAL, SecretPolicy
from robodj_secretguard.secret.sealed import type_name
from robodj_secretguard.startup.inputs import (
    EPHEMERAL,
    INSTANCE,
    NOT_REGULAR,
    SECRET_EVENTS,
    SECRET_HEARTBEAT,
    SERVICE,
    TextFile,
)
from robodj_secretguard.startup.readings import (
    NOTHING,
    PIPED,
    REVOKED_FILE,
    Reading,
    Setup,
    Slot,
    accepts,
    set_current,
    shown_path,
    within_config_dir,
)


class Severity(NamedText):
    """Whether a finding stops the service."""

    ALERT = "alert"
    WARNING = "warning"
    NOTE = "note"
    """Shown and not counted: no gate fails, also with `--strict`."""


class State(NamedText):
    """The presence and validity of a secret, in the words of the Codex Environment Contract."""

    MISSING = "missing"
    INVALID_FORMAT = "invalid-format"
    EXPIRED = "expired"
    PRESENT = "present"


class Check(NamedText):
    """The checks (policy section 6), in the order of the findings of a secret."""

    severity: Severity  # of its findings, unless a rule gives another one
    state: State  # of a secret with such a finding

    def _fill(self, severity: Severity, state: State = State.PRESENT) -> None:
        self.severity, self.state = severity, state

    MISSING = "missing", Severity.ALERT, State.MISSING
    PLACEHOLDER = "placeholder", Severity.ALERT, State.INVALID_FORMAT
    FORMAT = "format", Severity.ALERT, State.INVALID_FORMAT
    WEAK = "weak", Severity.ALERT, State.INVALID_FORMAT
    SHARED = "shared", Severity.ALERT
    EXPIRED = "expired", Severity.ALERT, State.EXPIRED
    EXPIRY_MARKER = "expiry-marker", Severity.ALERT
    CLOCK = "clock", Severity.ALERT
    FILE_UNSAFE = "file-unsafe", Severity.ALERT, State.INVALID_FORMAT
    FILE_PRESENT = "file-present", Severity.ALERT
    SETTING = "setting", Severity.ALERT
    REVOKED = "revoked", Severity.ALERT
    ENVIRONMENT = "environment", Severity.ALERT
    DISCONTINUOUS = "discontinuous", Severity.ALERT
    REVOCATION_LIST = "revocation-list", Severity.ALERT
    PREVIOUS_UNTIL = "previous-until", Severity.ALERT
    LEGACY = "legacy", Severity.WARNING
    SLOTS_EQUAL = "slots-equal", Severity.WARNING
    PREVIOUS_PAST = "previous-past", Severity.WARNING
    NEAR_MISS = "near-miss", Severity.ALERT
    SUPERSEDED = "superseded", Severity.WARNING
    DRIFT = "drift", Severity.WARNING
    SOURCE = "source", Severity.ALERT
    UNAVAILABLE = "unavailable", Severity.ALERT
    INTERNAL = "internal", Severity.ALERT
    EPHEMERAL = "ephemeral", Severity.WARNING
    EXPIRING = "expiring", Severity.WARNING
    CADENCE = "cadence", Severity.WARNING
    FILE_FALLBACK = "file-fallback", Severity.WARNING
    FILE_STALE = "file-stale", Severity.WARNING
    FILE_PERMISSIONS = "file-permissions", Severity.WARNING


class Problem(Frozen):
    """The result of a rule: one thing that is wrong.

    Attributes:
        message: what is wrong.
        remedy: what to do.
        source: where it was found; `None` for the source of the secret's value.
        severity: the severity, where it is not that of the check.
        slot: which key of the secret it is about, where it is not the one that was checked.
        policy: of a rule for the set-up: the secret that it is about.
    """

    message: str
    remedy: str
    source: str | None = None
    severity: Severity | None = None
    slot: Slot | None = None
    policy: SecretPolicy | None = None


Problems: TypeAlias = "Iterator[Problem]"
"""What a rule finds."""


def _check_missing(reading: Reading) -> Problems:
    if reading.used is not NOTHING or reading.slot != "current" or reading.is_off:
        return
    policy, message = reading.policy, "".join([offer.absent for offer in reading.offers])
    unset = [offer for offer in reading.offers if offer.manager and not offer.lines]
    fix = f"{set_current(policy)}; if it has none, {_how_to_begin(reading)}"
    if unset:
        what = "an empty" if any(offer.is_empty for offer in unset) else "no"
        have = "has" if len(unset) == 1 else "have"
        message = f"{' and '.join([offer.manager for offer in unset])} {have} {what} {policy.variable}"
        fix = how_to_rotate(policy, reading.manager) if policy.required else _how_to_begin(reading)
    first = _comes_first(reading)
    if first:
        fix = f"first do what the {first} says, then start again"
    yield Problem(message, fix, unset[0].manager if unset else None)


def _how_to_begin(reading: Reading) -> str:
    """Return the remedy where a secret never had a value."""
    policy = reading.policy
    if not policy.required:
        from robodj_secretguard.startup.file_remedies import how_to_switch_off  # noqa: PLC0415 - few secrets are half set

        return how_to_switch_off(reading)
    if policy.is_issued:
        return f"{policy.replacement} and store it there"
    return f"add one: robodj-secretguard generate {policy.name} --show"


def _comes_first(reading: Reading) -> str:
    """Return the finding that says what to do about a missing value, if there is one."""
    setup = reading.setup
    findings = (
        (not reading.manager and setup.directory_fault and not setup.files_off, "setting alert"),
        (reading.policy.variable in [miss.meant.name for miss in setup.near_misses], "near-miss warning"),
        (any(_check_unused_files(reading, is_off=True)), "file-present alert"),
    )
    return next((name for is_there, name in findings if is_there), "")


def how_to_set(reading: Reading) -> str:
    """Return the remedy for a value that is refused. The secret manager may have the same one, or none."""
    policy, slot, variable, manager = reading.policy, reading.slot, reading.variable, reading.manager
    deadline = " and its deadline" if slot == "previous" else ""
    if slot != "current" and manager:
        return f"in {manager}, set {variable} to the right {slot} key; if there is none, delete it{deadline}"
    if slot != "current":
        return f"set {variable} to the secret manager's {slot} key; if it has no other, unset it{deadline}, there too"
    if manager:
        return how_to_rotate(policy, manager)
    other = f"{policy.replacement} and store it there" if policy.is_issued else how_to_rotate(policy)
    return f"{set_current(policy)}; if it has no other value, {other}"


def how_to_remove(reading: Reading) -> str:
    """Return the remedy that removes a next or a previous key. In a store, a step does."""
    policy, manager = reading.policy, reading.manager
    if manager not in {"", PIPED} and not policy.is_issued:
        words = f"retire {policy.name}" if reading.slot == "previous" else f"stage {policy.name} --now"
        return f"run robodj-secretguard rotate {words} --to {manager}"
    variables = f"{reading.variable} and its deadline" if reading.slot == "previous" else reading.variable
    return f"delete {variables} from {reading.manager}" if reading.manager else f"unset {variables}, in the manager too"


FOLLOW: Final = " and follow its steps"
"""The end of a remedy that is `how_to_rotate` and nothing else, for a key."""


def how_to_rotate(policy: SecretPolicy, manager: str = "") -> str:
    """Return the remedy that replaces a key. It works whatever the secret manager has."""
    if policy.is_issued:
        if manager not in {"", PIPED}:
            return f"{policy.replacement}, then run robodj-secretguard rotate put {policy.name} --to {manager}"
        return f"{policy.replacement}, store it in the secret manager, then set {policy.variable} to it"
    source = f" --from {manager}" if manager not in {"", PIPED} else ""
    return f"run robodj-secretguard rotate plan {policy.name}{source}"


def everywhere(instruction: str, manager: str) -> str:
    """Return an instruction about a variable. The environment and the secret manager may have the same fault."""
    return f"in {manager}, {instruction}" if manager else f"{instruction}, in the manager too"


def _check_file_unsafe(reading: Reading) -> Problems:
    file = reading.used.file
    if file is not None and reading.used.faults:
        from robodj_secretguard.startup.file_remedies import how_to_correct_file  # noqa: PLC0415 - few starts do

        where = reading.used.location
        remedy = how_to_correct_file(file, where, reading.setup.directory_named_by, reading.policy)
        yield Problem(f"{where} {join_faults(reading.used.faults)}", remedy)


def _check_fault(reading: Reading, *, check: Check) -> Problems:
    """Yield what the kind of the secret refuses: `placeholder`, `format` or `weak`."""
    fault = _fault_of(reading)
    if fault is not None and fault.check == check:
        yield Problem(f"{reading.used.location} {fault.message}", _how_to_correct(reading, fault))
    if check is Check.FORMAT and reading.value is None and reading.found:
        lines = f"{len(reading.used.lines)} lines, not 1 (without blank lines and comments)"
        yield Problem(f"{reading.used.location} has {lines}", how_to_set(reading))


def _check_kind(reading: Reading) -> Problems:
    """Yield that the kind of the secret raises an error. Then no other rule of the value has a finding."""
    try:
        _fault_of(reading)
        if reading.value is not None and accepts(reading.policy.material, reading.value, reading.variable) is None:
            reading.policy.material.usable(reading.value.get_secret_value())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of a service's own kind
        yield Problem(
            f"the kind of {reading.policy.name} failed ({type_name(error)}), so its value is not verified",
            "correct fault() of the kind: it returns a Fault or None for each text",
        )


def _fault_of(reading: Reading) -> Fault | None:
    """Return what is wrong with a value. A service's own kind must not show a part of it, or forge a line."""
    text, kind = reading.value.get_secret_value() if reading.value else "", reading.policy.material
    fault = kind.fault(text, reading.variable) if text else None
    if reading.slot == "previous" and text:
        from robodj_secretguard.secret.key import LEGACY  # noqa: PLC0415 - few keys are that old

        fault = LEGACY.fault(text, reading.variable) or fault
    if not text or type(kind).__module__.startswith("robodj_secretguard."):
        return fault
    folded, shown = text.casefold(), f"{fault.message}{fault.fix}".casefold() if fault else ""
    shows_part = any(folded[at : at + PART] in shown for at in range(max(1, len(text) - PART + 1)))
    is_fault = fault is not None and fault.check in {"placeholder", "format", "weak"}
    return fault if is_fault and is_plain_text(shown) and not shows_part else Fault("format", "is refused by its kind")


def _how_to_correct(reading: Reading, fault: Fault) -> str:
    """Return the remedy for a value that its kind refuses."""
    if fault.fix and reading.used.file is not None:
        fix = fault.fix.replace("set {} to ", "save in {} ").replace("set {}", "save {}")
        return fix.replace("{}", reading.used.location)
    return everywhere(fault.fix.replace("{}", reading.variable), reading.manager) if fault.fix else how_to_set(reading)


def has_repeated_key(readings: Sequence[Reading]) -> bool:
    """Check whether a value may be in two secrets, or in one of them twice. It is fast, as few starts have one."""
    keys = keys_of(readings)
    together = "\n".join(key for _, key in keys)
    return any(together.count(core_of(key)) > 1 for _, key in keys)


def keys_of(readings: Sequence[Reading]) -> list[tuple[Reading, str]]:
    """Return the accepted values of all secrets: those that have a fingerprint in canonical form."""
    accepted = [slot for reading in readings for slot in (reading, *reading.slots) if not slot.is_past]
    texts = ((slot, slot.value.get_secret_value()) for slot in accepted if slot.value is not None)
    return [(slot, canonical(text) if slot.has_fingerprint else text) for slot, text in texts]


def core_of(key: str) -> str:
    """Return the part of a key that is compared: without a last character that has unused bits."""
    return key if len(last_characters(key)) == 1 else key[:-1]


def _check_file_fallback(reading: Reading) -> Problems:
    if reading.used.file is not None and reading.found:
        where = reading.used.location
        yield Problem(
            f"{reading.policy.variable} comes from the fallback file {where}",
            f"make sure the secret manager has its value; set {reading.policy.variable} to the current value there;"
            f" delete {where}"
            if reading.key
            else "first do what the alert about its value says, then start again",
        )


def _check_file_permissions(reading: Reading) -> Problems:
    where, file = reading.used.location, reading.used.file
    if file is not None and reading.found and (faults := file.lax + file.lax_paths):
        from robodj_secretguard.startup.file_remedies import in_command  # noqa: PLC0415 - few starts have such a file

        yield Problem(
            f"{where} {join_faults(faults)}",
            f"{set_current(reading.policy)}, then take the file out of the read-only mount"
            if file.lax_paths
            else f"if you keep the file, make the service's user its owner, then run chmod 600 {in_command(where)}",
        )


def _check_unused_files(reading: Reading, *, is_off: bool) -> Problems:
    files = [(offer, offer.file) for offer in reading.offers if offer.file is not None and offer.is_off is is_off]
    for offer, file in files:
        if offer is not reading.used and holds_key_material(file, reading.policy.material):
            content = "may have a value (it cannot be read)" if file.unreadable else "has a value"
            why = "fallback files are off" if is_off else f"{reading.used.location} is used"
            remedy = "delete {}" if file.unreadable == (NOT_REGULAR,) else _how_to_store(reading)
            yield Problem(f"{offer.location} {content}, but {why}", remedy.format(offer.location), offer.source)


def _how_to_store(reading: Reading) -> str:
    """Return the remedy for a file that is not used. Its value may be the only one, or older than the current one."""
    if reading.key is None:
        return "store its value in the secret manager (as an old version if it has another), then delete {}"
    return f"make sure the secret manager has {reading.variable}, and this value as an old version; then delete {{}}"


def holds_key_material(file: TextFile, kind: Kind = LEAST_MATERIAL) -> bool:
    """Check whether a key file has a line that may be a key, or cannot be read."""
    try:
        return bool(file.unreadable) or not all(kind.is_template(line.get_secret_value()) for line in file.lines)
    except (Exception, SystemExit):  # noqa: BLE001 - of a service's own kind, which has a finding where its value is used
        return True


def _check_misnamed_file(reading: Reading) -> Problems:
    for offer in reading.offers:
        if offer.file is not None and offer.file.misnamed:
            yield from _misnamed_file(reading.setup, reading.policy.file, _how_to_store(reading), Severity.WARNING)


def _check_near_miss(setup: Setup) -> Problems:
    for miss in setup.near_misses:
        from robodj_secretguard.startup.near_miss import how_to_rename  # noqa: PLC0415 - few starts have one

        name, meant = miss.name, miss.meant
        yield Problem(
            f"{name} is not read; did you mean {meant.name}?"
            if name
            else f"a variable that looks like {meant.name} is not read",
            how_to_rename(miss),
            miss.manager or "environment",
            None if meant.loosens else Severity.WARNING,
            policy=meant.policy,
        )
    if any(file.misnamed for file in setup.lists):
        where = shown_path(REVOKED_FILE, setup.directory_named_by)
        yield from _misnamed_file(setup, REVOKED_FILE, f"add its lines to {where}, then delete {{}}", None)


def _misnamed_file(setup: Setup, file: str, remedy: str, severity: Severity | None) -> Problems:
    """Yield the problem of a file to which an editor added `.txt`."""
    if f"{file}.txt" not in {policy.file for policy in setup.policies}:
        where = shown_path(f"{file}.txt", setup.directory_named_by)
        yield Problem(
            f"{where} is not read; did you mean {within_config_dir(file)}?",
            remedy.format(where),
            f"file:{file}",
            severity,
        )


def _check_setting(setup: Setup) -> Problems:
    for name in setup.unknown_switches:
        from robodj_secretguard.startup.near_miss import PROTECTIVE  # noqa: PLC0415 - few starts have one

        protect, who_may = PROTECTIVE[name]
        yield Problem(
            f"{name} has an invalid value, so fallback files are off until it is corrected",
            f"{protect} ({who_may})",
            "environment",
        )
    for name in setup.event_faults:
        yield Problem(
            f"{name} has an invalid value, and is ignored",
            f"set {name} to {_EVENT_VALUES[name]}, or unset it",
            "environment",
            Severity.WARNING,
        )


_EVENT_VALUES: Final = {
    SERVICE: "the service's name, of letters, digits and ._:@/-",
    INSTANCE: "the instance's name, of letters, digits and ._:@/-",
    SECRET_EVENTS: "stderr, stdout or the absolute path of a file",
    SECRET_HEARTBEAT: "a number of seconds from 1 to 86400",
}


def _check_ephemeral(setup: Setup) -> Problems:
    remedy = f"leave out exec --ephemeral, unset {EPHEMERAL}, and set the keys from the secret manager"
    if setup.ephemeral:
        yield Problem(
            f"the keys are temporary ({EPHEMERAL} is set)"
            f"{', but the environment is protected' if setup.protected else ''}",
            remedy if setup.protected else f"to serve, {remedy}",
            "environment",
            Severity.ALERT if setup.protected else None,
        )


def internal(error_type: str) -> Problem:
    """Return that a check itself failed, with an error of this type."""
    if error_type == "ValidationError":  # only validators of the host raise it
        return Problem(
            f"a validator of the model failed ({error_type}), so nothing is verified",
            "correct the validators of the model; they run only on values that passed every check",
            "none",
        )
    if error_type in {"ImportError", "ModuleNotFoundError"}:
        return Problem(
            f"a module cannot be imported ({error_type}), so nothing is verified",
            "call guard() before chroot or a change of the user; otherwise allow more open files, or install again",
            "none",
        )
    return Problem(
        f"the check itself failed ({error_type}), so nothing is verified",
        "check the arguments of guard(), the kinds and the validators; if they are right, report a bug",
        "none",
    )


VALUE_RULES: Final = (
    (Check.MISSING, _check_missing),
    (Check.INTERNAL, _check_kind),
    (Check.PLACEHOLDER, partial(_check_fault, check=Check.PLACEHOLDER)),
    (Check.FORMAT, partial(_check_fault, check=Check.FORMAT)),
    (Check.WEAK, partial(_check_fault, check=Check.WEAK)),
    (Check.FILE_UNSAFE, _check_file_unsafe),
)
"""For each key that is missing or invalid: the current, the next and the previous one. The first finding counts.

They run only for a value that its kind does not accept.
"""
SECRET_RULES: Final = (
    (Check.FILE_PRESENT, partial(_check_unused_files, is_off=True)),
    (Check.NEAR_MISS, _check_misnamed_file),
    (Check.FILE_FALLBACK, _check_file_fallback),
    (Check.FILE_STALE, partial(_check_unused_files, is_off=False)),
    (Check.FILE_PERMISSIONS, _check_file_permissions),
)
"""For each secret, as its current key."""
SETUP_RULES: Final = (
    (Check.SETTING, _check_setting),
    (Check.NEAR_MISS, _check_near_miss),
    (Check.EPHEMERAL, _check_ephemeral),
)
"""For the set-up. `list_rules.py` has those of the revocation list, and of directories that cannot be used."""
