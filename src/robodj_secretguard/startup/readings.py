"""Read values from the environment or the fallback files (policy section 2). No other module reads them."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import canonical, fingerprint, is_fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import (
    ALLOW_FILE_SECRET_FALLBACK,
    CANNOT_BE_READ,
    CONFIG_DIR,
    ENVIRONMENT,
    EPHEMERAL,
    EVENT_SETTINGS,
    MAX_CHARACTERS,
    NO_TEXT,
    NOT_ALLOWED,
    PROTECTED_ENV,
    REVOKED_FINGERPRINTS,
    SECRETS_DIR,
    TextFile,
    VariablesRead,
    is_one_line,
    parse_marker,
)

StrPath: TypeAlias = str | os.PathLike[str]
NamedBy: TypeAlias = Literal["argument", "environment", "model"]
"""What named the config directory."""
Slot: TypeAlias = Literal["current", "next", "previous"]
"""The role of a key: current signs and verifies, next and previous only verify."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from robodj_secretguard.secret.material import Kind
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.near_miss import NearMiss

    class Source(Protocol):
        """A place where values come from: the environment, key files, a secret manager."""

        def offer(self, policy: SecretPolicy) -> Offer:
            """Return the offer for a secret, and never raise. `read` calls it once for each secret, inside `contain()`.

            An offer with a line delivers that line. An offer with faults refuses the value, and no later source is
            asked. Any other offer has no value, and the next source is asked.
            """

    class Variables(Protocol):
        """Variables by their names: those of the environment, or those that a secret manager delivers."""

        def get(self, name: str) -> SealedStr | None:
            """Return a variable, sealed; `None` where there is none."""

    class ManagedSource(Source, Variables, Protocol):
        """A secret manager, which delivers every variable of a secret or none."""

        @property
        def name(self) -> str:
            """The source in messages."""

        def near_misses(self, variables_read: VariablesRead) -> Iterable[NearMiss]:
            """Return the misspelled variables."""


REVOKED_FILE: Final = "config/revoked.fingerprints"
MAX_LIST_BYTES: Final = 1 << 18
"""Room for some thousand entries."""
PIPED: Final = "json:-"
"""The source that a pipe delivers."""
OPERATIONS_FILE: Final = "config/logs/secret_operations.jsonl"
ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""The instant of an entry of the revocation list that has none."""
DEFAULT_CONFIG_DIR: Final = "config"
MAX_FILE_BYTES: Final = 4096
"""The largest size of a key's fallback file."""

NO_SUCH_DIRECTORY: Final = "does not exist"
WORKING_DIRECTORY_DELETED: Final = "cannot be found: the working directory was deleted"

_INVALID: Final = "invalid"
"""The value of a switch that is neither true nor false. It counts as the one that protects more."""
_SWITCHES: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Offer(Frozen):
    """The answer of one source for one secret.

    Attributes:
        source: the source in findings: `environment`, or `file:` and the declared path.
        location: where the value is: the variable, or the path that operators know.
        lines: the value. A file may have several lines, of which none is used.
        faults: why the value may not be used.
        absent: a part of the message of `missing`. The parts of all sources make one sentence.
        is_empty: whether the value is there and empty. An optional secret is not switched off by that.
        file: the fallback file. It is for emergencies: its use is a warning, and a key that stays in it is reported.
        is_off: whether the source may not deliver a value here.
        manager: the secret manager; empty for the environment and files.
        variables: the variables of the manager, if it has any of the secret. Then it delivers all of them.
    """

    source: str
    location: str
    lines: tuple[SealedStr, ...] = ()
    faults: tuple[str, ...] = ()
    absent: str = ""
    is_empty: bool = False
    file: TextFile | None = None
    is_off: bool = False
    manager: str = ""
    variables: Variables | None = None

    @property
    def is_trace(self) -> bool:
        """Whether there is something of the secret, but no value: it is empty, or a file with another name."""
        return self.is_empty or self.variables is not None or (self.file is not None and self.file.misnamed)


NOTHING: Final = Offer("none", "")
"""The offer where no source has a value."""


class Environment:
    """Read single variables of a mapping or of `os.environ`. There is no copy, and the repr has no content."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = variables

    def names(self) -> Iterable[str]:
        """Return the names of all variables."""
        return iter(os.environ if self._variables is None else self._variables)

    def get(self, name: str) -> SealedStr | None:
        """Return the variable with exactly this name, sealed; `None` when it does not exist."""
        variables = os.environ if self._variables is None else self._variables
        # Do not catch KeyError: its frame has the whole environment.
        return SealedStr(variables[name]) if name in variables else None

    @property
    def is_process(self) -> bool:
        """Whether the variables are those of the process, and not those of a mapping."""
        return self._variables is None

    def is_set(self, name: str) -> bool:
        """Check whether the variable exists and is not empty."""
        return bool(self.get(name))

    def offer(self, policy: SecretPolicy) -> Offer:
        """Return the variable of a secret as an offer."""
        value = self.get(policy.variable)
        if value:
            return Offer("environment", policy.variable, (value,))
        return Offer(
            "environment",
            policy.variable,
            absent=f"{policy.variable} is {'not set' if value is None else 'empty'}",
            is_empty=value is not None,
        )


class KeyFiles(Frozen):
    """The fallback files of a config directory.

    Attributes:
        directory: the path of the directory; `None` where it cannot be used.
        named_by: what named the directory; `None` for nothing.
        off: why fallback files are off; empty where they are not.
    """

    directory: str | None
    named_by: NamedBy | None
    off: str

    def read(self, policy: SecretPolicy) -> TextFile:
        """Return the content of a secret's fallback file. Only that of a generated key may have comments."""
        if self.directory is None:
            return NO_TEXT
        is_whole = policy.material.is_taken_whole
        most = MAX_CHARACTERS if is_whole else MAX_FILE_BYTES
        return _read_config_file(f"{self.directory}/{within_config_dir(policy.file)}", most, is_whole=is_whole)

    def offer(self, policy: SecretPolicy) -> Offer:
        """Return the fallback file of a secret as an offer."""
        file, where = self.read(policy), shown_path(policy.file, self.named_by)
        if self.off:
            absent = f" ({self.off})"
        elif file.dangling:
            absent = f", and {where} is a broken link"
        elif file.exists:
            absent = f", and {where} has no value"
        else:
            absent = f", and there is no {where}{'' if self.named_by else ' in the working directory'}"
        # A file that others could write and that has no key refuses nothing.
        faults = file.unsafe if file.lines or file.unreadable else ()
        return Offer(
            f"file:{policy.file}",
            where,
            file.lines,
            faults,
            absent,
            is_empty=file.exists and not self.off,
            file=file,
            is_off=bool(self.off),
        )


def set_current(policy: SecretPolicy) -> str:
    """Return the fix that is right where the secret manager has the value."""
    return f"set {policy.variable} from the secret manager"


class RevocationStatus(Frozen):
    """The revocation list (policy section 4).

    Attributes:
        sources: where the list was found: `file:` and the path, `environment`, sources of `--from`, or nowhere.
        begins: every fingerprint on the list, and the earliest instant from which it is revoked: the earliest possible
            one for an entry without an instant.
    """

    sources: tuple[str, ...]
    begins: tuple[tuple[str, datetime], ...]

    @property
    def fingerprints(self) -> frozenset[str]:
        """Every fingerprint that is revoked without an instant."""
        return frozenset([fingerprint for fingerprint, instant in self.begins if instant == ALWAYS])

    def joined(self, other: RevocationStatus | None) -> RevocationStatus:
        """Return this list with the entries of another one."""
        return RevocationStatus(self.sources, _earliest((*self.begins, *(other.begins if other else ()))))

    def begin(self, fingerprint: str) -> datetime | None:
        """Return the instant from which a key is revoked; `None` for a key that is not on the list.

        Args:
            fingerprint: `sgfp1:` and 32 hexadecimal digits.
        """
        return dict(self.begins).get(fingerprint)


def _earliest(entries: Iterable[tuple[str, datetime]]) -> tuple[tuple[str, datetime], ...]:
    """Return the earliest entry of each fingerprint."""
    begins = dict[str, datetime]()
    for revoked, instant in entries:
        begins[revoked] = min(instant, begins.get(revoked, instant))
    return tuple(begins.items())


class ModelSetup(Frozen):
    """The set-up that a settings model declares.

    Attributes:
        config_dir: the config directory; `None` for `config` under the working directory.
        file_fallback: whether fallback files may deliver keys.
        require_revocation_list: whether a revocation list must exist.
        secrets_dir: the directory whose files deliver the keys; `None` for none.
        refresh: after how many seconds that directory is read again; `None` for never.
        model: the module and the name of the class.
    """

    config_dir: str | None = None
    file_fallback: bool = True
    require_revocation_list: bool = False
    secrets_dir: str | None = None
    refresh: int | None = None
    model: str = ""


NO_SETUP: Final = ModelSetup()


class Setup(Frozen):
    """The set-up, which is the same for every declared secret.

    Attributes:
        now: the time of the check, in UTC.
        policies: the policies of all declared secrets, in declared order.
        protected: whether temporary keys are refused.
        files_off: whether fallback files are ignored.
        unknown_switches: switches whose value is neither true nor false.
        event_faults: the settings of the events whose value is invalid.
        directory_named_by: what named the config directory; `None` for nothing.
        directory_fault: why the config directory cannot be used; empty where it can, or where none is needed.
        model_directory_fault: the same for the model's directory, where a variable or an argument names another one.
        directories: the paths of both directories.
        near_misses: the misspelled variables.
        ephemeral: whether the keys are temporary.
        lists: the revocation list of the config directory. Also that of the model's directory, where a variable or an
            argument names another one.
        added: the variables that add entries to the lists, by their sources.
        revocation: the revoked keys.
        list_required: whether a revocation list must exist.
        environments: the names of the environment, by their sources: that of the process, and that of each manager.
        managers: the names of the sources that are asked before the environment.
        model: the module and the name of the class that declares the secrets.
    """

    now: datetime
    policies: tuple[SecretPolicy, ...]
    protected: bool
    files_off: bool
    unknown_switches: tuple[str, ...]
    event_faults: tuple[str, ...]
    directory_named_by: NamedBy | None
    directory_fault: str
    model_directory_fault: str
    directories: tuple[str, str]
    near_misses: tuple[NearMiss, ...]
    ephemeral: bool
    lists: tuple[TextFile, ...]
    added: tuple[tuple[str, SealedStr], ...]
    revocation: RevocationStatus
    list_required: bool
    environments: tuple[tuple[str, SealedStr], ...]
    managers: tuple[str, ...]
    model: str


class Reading(Frozen):
    """The values that were read for one declared secret, or for its next or previous key.

    Attributes:
        policy: the policy of the secret.
        setup: the set-up, which is the same for all secrets.
        variable: the environment variable of the key.
        marker: the expiry marker, or the deadline of a previous key; `None` when unset or empty.
        expires_at: the instant of the marker, in UTC; `None` when there is no valid one.
        offers: the offer of each source, in the order in which the sources are asked.
        used: the first offer that delivers or refuses a value; `NOTHING` where there is none.
        value: the value, if there is exactly one that may be used.
        key: the value if it may be a key: well-formed, and neither a placeholder nor weak. No rule about the value
            finds anything then.
        slot: the role of the key.
        variables: the variables of the source that delivers the secret.
        slots: of a current key: the next and the previous key, where they or the deadline are set.
        is_legacy: whether the key is a previous one that the policy would not accept: what signed before the adoption.
    """

    policy: SecretPolicy
    setup: Setup
    variable: str
    marker: SealedStr | None
    expires_at: datetime | None
    offers: tuple[Offer, ...]
    used: Offer
    value: SealedStr | None
    key: SealedStr | None
    variables: Variables
    slot: Slot = "current"
    slots: tuple[Reading, ...] = ()
    is_legacy: bool = False

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key; empty for none, and where the value could be guessed from one."""
        return self.listed_as if self.has_fingerprint else ""

    @property
    def listed_as(self) -> str:
        """The fingerprint by which the key is revoked; empty for none. It may be an old key with padding, too."""
        kind = self.policy.material
        return (
            fingerprint(self.key)
            if self.key is not None
            and kind.has_fingerprint
            and (not self.is_legacy or kind.accepts(canonical(self.key.get_secret_value())))
            else ""
        )

    @property
    def has_fingerprint(self) -> bool:
        """Whether nobody could guess a valid value from its fingerprint."""
        return self.policy.material.has_fingerprint and not self.is_legacy

    @property
    def is_off(self) -> bool:
        """Whether an optional secret is not used: nothing of it is set, also not misspelled or (in service) empty."""
        if self.policy.required or self.used is not NOTHING or self.marker is not None or self.slots:
            return False
        is_misspelled = any(miss.meant.policy is self.policy for miss in self.setup.near_misses)
        return not is_misspelled and (self.setup.ephemeral or not any(offer.is_trace for offer in self.offers))

    @property
    def found(self) -> bool:
        """Whether an allowed source delivers a value, valid or not."""
        return bool(self.used.lines) and not self.used.faults

    @property
    def manager(self) -> str:
        """The secret manager that delivers the key, or should deliver it; empty for none."""
        absent = next((each for each in self.offers if each.variables), self.offers[0])
        return (absent if self.used is NOTHING else self.used).manager

    @property
    def is_past(self) -> bool:
        """Whether the deadline of a previous key has passed. Then only `previous-past` is reported of the key."""
        return self.slot == "previous" and self.expires_at is not None and self.expires_at <= self.setup.now


def read(
    policies: Sequence[SecretPolicy],
    variables_read: VariablesRead,
    *,
    environment: Environment,
    model_setup: ModelSetup = NO_SETUP,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    managers: Sequence[ManagedSource] = (),
    learn: Callable[[RevocationStatus], RevocationStatus] | None = None,
    now: datetime,
) -> tuple[Reading, ...]:
    """Read every declared secret once. Return one reading for each, in declared order.

    Ask `managers` first, then the environment, then the fallback files. `learn` gets the revocations before any value
    is judged, and returns all that hold.
    """
    named, named_by = config_directory(environment, config_dir, model_setup)
    named_by_model = None if named_by == "model" else model_setup.config_dir
    fault, model_fault = directory_fault(named), directory_fault(named_by_model)
    directory = None if fault else named
    switches = switches_of(environment)
    protected = bool(require_env_only) or is_protected(switches)
    files_off = protected or are_files_off(switches, model_setup)
    why_off = "protected environment: fallback files are not read" if protected else "fallback files are not read"
    key_files = KeyFiles(directory, named_by, off=why_off if files_off else "")
    lists = _read_lists(directory, None if model_fault else named_by_model)
    variables: dict[str, Variables] = {"environment": environment, **{each.name: each for each in managers}}
    added = _delivered(variables, REVOKED_FINGERPRINTS)
    revocation = revocation_list(lists, added)
    if learn is not None:
        revocation = learn(revocation)
    names = frozenset(environment.names())
    near_misses = find_near_misses(variables_read, names, is_set=environment.is_set)
    setup = Setup(
        now=now,
        policies=tuple(policies),
        protected=protected,
        files_off=files_off,
        unknown_switches=tuple([name for name, value in switches.items() if value == _INVALID]),
        event_faults=() if names.isdisjoint(EVENT_SETTINGS) else _event_faults(environment),
        directory_named_by=named_by,
        directory_fault="" if fault == NO_SUCH_DIRECTORY and named_by is None else fault,
        model_directory_fault="" if model_fault == NO_SUCH_DIRECTORY else model_fault,
        directories=(named, str(named_by_model)),
        near_misses=tuple(chain(near_misses, *[manager.near_misses(variables_read) for manager in managers])),
        ephemeral=environment.is_set(EPHEMERAL),
        lists=lists,
        added=added,
        revocation=revocation,
        list_required=model_setup.require_revocation_list,
        environments=_delivered(variables, ENVIRONMENT),
        managers=tuple([each.name for each in managers]),
        model=model_setup.model,
    )
    asked: tuple[Source, ...] = (*managers, environment, key_files)
    return tuple([_reading(policy, setup, environment, asked, names) for policy in policies])


def _delivered(sources: Mapping[str, Variables], name: str) -> tuple[tuple[str, SealedStr], ...]:
    """Return a variable of each source that has it, by the names of the sources."""
    found = [(source, variables.get(name)) for source, variables in sources.items()]
    return tuple([(source, value) for source, value in found if value])


def has_directory(environment: Environment, model_setup: ModelSetup) -> bool:
    """Check whether a secrets directory is declared. Temporary keys, and those of a job, are in the environment."""
    named = environment.get(SECRETS_DIR) or model_setup.secrets_dir
    return (
        bool(named) and named != SealedStr(os.devnull) and environment.is_process and not environment.is_set(EPHEMERAL)
    )


def _reading(
    policy: SecretPolicy, setup: Setup, environment: Environment, sources: Iterable[Source], names: frozenset[str]
) -> Reading:
    offers = tuple([source.offer(policy) for source in sources])
    first = next(
        (each for each in offers if not each.is_off and (each.lines or each.faults or each.variables)), NOTHING
    )
    used = first if first.lines or first.faults else NOTHING
    variables = first.variables or environment
    marker = variables.get(policy.expiry_variable) or None
    may_have_slots = first.variables is not None or not names.isdisjoint(policy.slot_variables)
    slots = tuple(_slots(policy, setup, variables, first.manager)) if policy.overlap and may_have_slots else ()
    value = used.lines[0] if len(used.lines) == 1 and not used.faults else None
    key, expires_at = _key_in(value, policy.material, policy.variable), parse_marker(marker)
    return Reading(
        policy, setup, policy.variable, marker, expires_at, offers, used, value, key, variables, "current", slots
    )


def _key_in(value: SealedStr | None, kind: Kind, variable: str) -> SealedStr | None:
    if value is None or not accepts(kind, value, variable):
        return None
    text = value.get_secret_value()
    return value if (usable := kind.usable(text)) == text else SealedStr(usable)


def accepts(kind: Kind, value: SealedStr, variable: str) -> bool | None:
    """Return whether a kind accepts a value; `None` for one that raises, which the rules report for its secret."""
    try:
        return kind.accepts(value.get_secret_value(), variable) and kind.usable(value.get_secret_value()) is not None
    except (Exception, SystemExit):  # noqa: BLE001 - of a service's own kind
        return None


def _slots(policy: SecretPolicy, setup: Setup, variables: Variables, manager: str) -> Iterator[Reading]:
    """Yield the reading of the next and of the previous key, where they or the deadline are set."""
    next_key, previous_key, until = policy.slot_variables
    marker = variables.get(until) or None
    slots: Sequence[tuple[str, Slot, SealedStr | None]] = (
        (next_key, "next", None),
        (previous_key, "previous", marker),
    )
    for variable, slot, deadline in slots:
        value = variables.get(variable) or None
        if value or deadline:
            offer = Offer(manager or "environment", variable, (value,) if value else (), manager=manager)
            used, instant = offer if value else NOTHING, parse_marker(deadline)
            key, is_legacy = _key_in(value, policy.material, variable), False
            if slot == "previous" and value and key is None:
                from robodj_secretguard.secret.key import LEGACY  # noqa: PLC0415 - few keys are that old

                # A key of the policy in quotes or blanks is a format error. What a kind has not judged is no old key.
                bare = SealedStr(value.get_secret_value().strip(" \t\"'"))
                is_wrapped = any(accepts(policy.material, each, variable) is not False for each in (value, bare))
                key = None if is_wrapped else _key_in(value, LEGACY, variable)
                is_legacy = key is not None
            yield Reading(
                policy, setup, variable, deadline, instant, (offer,), used, value, key, variables, slot, (), is_legacy
            )


def find_near_misses(
    variables_read: VariablesRead, names: Iterable[str], *, is_set: Callable[[str], bool]
) -> tuple[NearMiss, ...]:
    """Return which variables are set, are not read, and are a typo of one that is read."""
    similar = variables_read.similar(names)
    if not similar:
        return ()
    from robodj_secretguard.startup.near_miss import near_misses  # noqa: PLC0415 - few starts have such a name

    return near_misses(similar, variables_read.targets.values(), is_set=is_set)


def _read_lists(directory: str | None, model_directory: str | None) -> tuple[TextFile, ...]:
    """Read the revocation list of the config directory, and that of the model's directory, which always counts."""
    name, first = within_config_dir(REVOKED_FILE), NO_TEXT
    if directory is not None:
        first = _read_config_file(f"{directory}/{name}", MAX_LIST_BYTES, is_absence_judged=True)
    if model_directory is None or (directory is not None and os.path.samefile(directory, model_directory)):
        return (first,)
    return first, _read_config_file(f"{model_directory}/{name}", MAX_LIST_BYTES)


def _read_config_file(path: str, most: int, *, is_absence_judged: bool = False, is_whole: bool = False) -> TextFile:
    """Read a file in a config directory. A start without such a directory does not import what reads it."""
    try:
        from robodj_secretguard.startup.file_reader import read_text_file  # noqa: PLC0415
    except OSError:  # no descriptor is left
        return TextFile(exists=True, unreadable=(CANNOT_BE_READ,))
    return read_text_file(path, most=most, is_absence_judged=is_absence_judged, is_whole=is_whole)


def directory_fault(path: str | None) -> str:
    """Return why a directory cannot be used; empty where it can, or where there is no path."""
    if path is None:
        return ""
    try:
        os.stat(path and f"{path}/.")  # fails where this user may not enter it
    except NotADirectoryError:
        return "is not a directory"
    except PermissionError:
        return NOT_ALLOWED
    except FileNotFoundError:
        return "is a broken link" if os.path.islink(path) else _why_absent()
    except (OSError, ValueError):
        return CANNOT_BE_READ
    return ""


def _why_absent() -> str:
    try:
        os.getcwd()
    except OSError:
        return WORKING_DIRECTORY_DELETED
    return NO_SUCH_DIRECTORY


def are_files_off(switches: Mapping[str, bool | str | None], model_setup: ModelSetup) -> bool:
    """Check whether fallback files are ignored."""
    if is_protected(switches):
        return True
    allowed = switches[ALLOW_FILE_SECRET_FALLBACK]
    return not model_setup.file_fallback if allowed is None else allowed is not True


def is_protected(switches: Mapping[str, bool | str | None]) -> bool:
    """Check whether the environment is protected: staging, production."""
    return switches[PROTECTED_ENV] in (True, _INVALID)


def switches_of(environment: Environment) -> dict[str, bool | str | None]:
    """Return the value of each switch; `None` where it is unset."""
    return {
        name: _SWITCHES.get(value.get_secret_value().lower(), _INVALID) if (value := environment.get(name)) else None
        for name in (PROTECTED_ENV, ALLOW_FILE_SECRET_FALLBACK)
    }


def _event_faults(environment: Environment) -> tuple[str, ...]:
    return tuple([name for name in EVENT_SETTINGS if environment.is_set(name) and not event_setting(environment, name)])


def event_setting(environment: Environment, name: str) -> str:
    """Return a setting of the events; empty where it is not set or invalid."""
    from robodj_secretguard.startup.event_settings import valid_event_setting  # noqa: PLC0415 - few starts have one

    return valid_event_setting(name, environment.get(name) or SealedStr(""))


def config_directory(
    environment: Environment, config_dir: StrPath | None, model_setup: ModelSetup
) -> tuple[str, NamedBy | None]:
    """Return the config directory and what named it; `None` where nothing did."""
    if config_dir is not None:
        return os.fsdecode(config_dir), "argument"
    if variable := environment.get(CONFIG_DIR):
        return variable.get_secret_value(), "environment"
    return (DEFAULT_CONFIG_DIR, None) if model_setup.config_dir is None else (model_setup.config_dir, "model")


SHOWN_DIRECTORIES: Final[dict[NamedBy | None, str]] = {
    None: DEFAULT_CONFIG_DIR,
    "environment": f"${CONFIG_DIR}",
    "argument": "config_dir",
    "model": "the model's config_dir",
}
"""By what named it: the config directory for messages."""


def shown_path(file: str, named_by: NamedBy | None) -> str:
    """Return the path of a file that is declared below `config/`, for messages."""
    directory, name = SHOWN_DIRECTORIES[named_by], within_config_dir(file)
    return f"{directory}/{name}" if named_by in {None, "environment"} else f"{name} in {directory}"


def within_config_dir(file: str) -> str:
    """Return the path, relative to the config directory, of a file that is declared below `config/`."""
    return file.removeprefix(f"{DEFAULT_CONFIG_DIR}/")


def revocation_list(files: Sequence[TextFile], added: Sequence[tuple[str, SealedStr]] = ()) -> RevocationStatus:
    """Return the revocation list of some files, and of variables by their sources."""
    sources = tuple([source for source, _ in added])
    if any(file.exists or file.dangling for file in files):
        sources = (f"file:{REVOKED_FILE}", *sources)
    entries = chain(*map(entries_of, files), *[entries_in(each) for _, each in added])
    return RevocationStatus(sources, _earliest(filter(None, map(parsed_entry, entries))))


def parsed_entry(entry: str) -> tuple[str, datetime] | None:
    """Return the fingerprint of an entry and the instant from which it is revoked; `None` for an invalid entry."""
    fingerprint, at, instant = entry.partition("@")
    begin = parse_marker(SealedStr(instant)) if at else ALWAYS
    return (fingerprint, begin) if begin is not None and is_fingerprint(fingerprint) else None


def entries_of(file: TextFile) -> list[str]:
    """Return the entries of a file without their comments. Keep a comment that could hide another entry."""
    lines = (line.get_secret_value() for line in file.lines)
    return [line.partition("#")[0].rstrip() if is_one_line(line) else line for line in lines]


def entries_in(variable: SealedStr) -> list[str]:
    """Return the entries of a variable."""
    return [*filter(None, re.split(r"[\s,]+", variable.get_secret_value()))]
