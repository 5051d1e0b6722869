"""Where a value comes from: the environment, else the fallback file (policy section 2). The only place that reads."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeAlias

from robodj_secretguard.fingerprint import is_fingerprint
from robodj_secretguard.near_miss import NearMiss, VariableRead, VariablesRead
from robodj_secretguard.policy import SecretPolicy
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.textfile import A_DIRECTORY_ABOVE, TextFile, foreign_owners, is_one_line, look

REVOKED_FILE: Final = "config/revoked.fingerprints"
REVOKED_FINGERPRINTS: Final = "ROBODJ_REVOKED_FINGERPRINTS"
"""The variable that adds to the file's entries, for a fleet: separated by commas or blanks."""
MAX_LIST_BYTES: Final = 1 << 18
"""Room for some thousand entries."""

PROTECTED_ENV: Final = "ROBODJ_PROTECTED_ENV"
ALLOW_FILE_SECRET_FALLBACK: Final = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"  # noqa: S105 - a name
CONFIG_DIR: Final = "ROBODJ_CONFIG_DIR"
EPHEMERAL: Final = "ROBODJ_SECRETS_EPHEMERAL"
"""Set with temporary keys, which are for an image build or a test."""
ANNOUNCED: Final = "announced"
"""Its value where `exec` has shown already that the keys are temporary: the guard does not repeat it."""
OPERATIONS_LOG: Final = "ROBODJ_OPERATIONS_LOG"
OPERATIONS_FILE: Final = "config/logs/secret_operations.jsonl"
SETTINGS: Final = (
    PROTECTED_ENV,
    ALLOW_FILE_SECRET_FALLBACK,
    CONFIG_DIR,
    EPHEMERAL,
    REVOKED_FINGERPRINTS,
    OPERATIONS_LOG,
)
DEFAULT_CONFIG_DIR: Final = "config"
MAX_FILE_BYTES: Final = 4096
"""How large a fallback file may be."""

_NOT_THERE: Final = "does not exist"


class Switch(Enum):
    """What a switch in the environment says; a value that is neither true nor false is taken as the stricter one."""

    UNSET = auto()
    TRUE = auto()
    FALSE = auto()
    UNKNOWN = auto()


_SWITCHES: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), Switch.TRUE),
    **dict.fromkeys(("0", "false", "no", "off"), Switch.FALSE),
}


class Environment:
    """Single variables of a mapping or of `os.environ`: never a copy, and a repr without content.

    Args:
        variables: the variables; `None` for `os.environ`.
    """

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = variables

    def names(self) -> Iterable[str]:
        """Return the names of all variables."""
        return iter(os.environ if self._variables is None else self._variables)

    def get(self, name: str) -> SealedStr | None:
        """Return the variable of exactly this name, sealed; `None` when it is not there."""
        variables = os.environ if self._variables is None else self._variables
        # Not by catching KeyError: its frame holds the whole environment.
        return SealedStr(variables[name]) if name in variables else None

    @property
    def distinguishes_case(self) -> bool:
        """Whether names that differ in case are different names: in `os.environ` on Windows they are not."""
        return self._variables is not None or os.name == "posix"

    def is_set(self, name: str) -> bool:
        """Whether the variable is there and not empty."""
        return bool(self.get(name))


class RevocationList(NamedTuple):
    """What the files and the variable that adds to them say.

    Attributes:
        files: the file in the config directory; also the one in the model's, where something else names another.
        sources: where there is a list.
        fingerprints: every revoked key's fingerprint.
        invalid_in_files: which entries of each file are not fingerprints, counted from 1.
        invalid_in_variable: which entries of the variable are not fingerprints, counted from 1.
    """

    files: tuple[TextFile, ...]
    sources: tuple[str, ...]
    fingerprints: frozenset[str]
    invalid_in_files: tuple[tuple[int, ...], ...]
    invalid_in_variable: tuple[int, ...]

    @property
    def absent(self) -> tuple[int, ...]:
        """Which files a model that requires a list finds absent: its own or the only one, and any that is empty.

        An empty file may be a checkout that is under way.
        """
        last = len(self.files) - 1
        return tuple(
            number for number, file in enumerate(self.files) if _is_empty(file) and (file.exists or number == last)
        )


NamedBy: TypeAlias = Literal["argument", "environment", "model"]
"""What named the config directory."""


class ModelSetup(NamedTuple):
    """The set-up that a settings model declares.

    Attributes:
        config_dir: the config directory; `None` for `config` under the working directory.
        file_fallback: whether fallback files may deliver keys.
        require_revocation_list: whether there must be a revocation list.
    """

    config_dir: str | None = None
    file_fallback: bool = True
    require_revocation_list: bool = False


NO_SETUP: Final = ModelSetup()
"""Of a model that declares none."""


class Setup(NamedTuple):
    """What holds for every declared secret.

    Attributes:
        now: the time of the check, in UTC.
        policies: every declared secret's policy, in declared order.
        protected: whether temporary keys are refused.
        files_off: whether fallback files are ignored.
        unknown_switches: switches whose value is neither true nor false.
        directory_named_by: what named the config directory; `None` for nothing.
        directory_fault: why the config directory cannot be used; empty where it can, or where there need be none.
        model_directory_fault: the same for the model's, where a variable or an argument names another.
        near_misses: set variables that are typos of one that is read.
        ephemeral: whether the keys are temporary.
        revocation: the keys that may not be used any more.
        list_required: whether there must be a revocation list.
    """

    now: datetime
    policies: tuple[SecretPolicy, ...]
    protected: bool
    files_off: bool
    unknown_switches: tuple[str, ...]
    directory_named_by: NamedBy | None
    directory_fault: str
    model_directory_fault: str
    near_misses: tuple[NearMiss, ...]
    ephemeral: bool
    revocation: RevocationList
    list_required: bool

    def place(self, file: str) -> str:
        """Say where a file below `config/` is looked for, without showing a path that somebody gave."""
        return place(file, self.directory_named_by)


class Reading(NamedTuple):
    """What was found for one declared secret.

    Attributes:
        policy: the secret.
        setup: what holds for all of them.
        variable: the environment variable; `None` when unset, empty text when set but empty.
        marker: the expiry marker; `None` when unset or empty.
        file: its fallback file.
        file_in_use: whether that is what delivers the secret.
        value: the one value that was found, if there is one.
        source: `environment`, `file:` and the declared path, or `none`.
    """

    policy: SecretPolicy
    setup: Setup
    variable: SealedStr | None
    marker: SealedStr | None
    file: TextFile
    file_in_use: bool
    value: SealedStr | None
    source: str

    @property
    def found(self) -> bool:
        """Whether there is a value, whatever its shape, from where it may come."""
        return bool(self.variable) or (self.file_in_use and not self.file.unsafe)


def read(
    policies: Sequence[SecretPolicy],
    variables_read: VariablesRead,
    *,
    environment: Environment,
    model_setup: ModelSetup = NO_SETUP,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    now: datetime,
) -> tuple[Reading, ...]:
    """Read every declared secret once.

    Args:
        policies: the declared secrets, at least one.
        variables_read: the variables that are read for them.
        environment: where variables are read.
        model_setup: the set-up that the model declares.
        config_dir: the config directory; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's, otherwise `config`.
        require_env_only: ignore fallback files whatever the switches say.
        now: the time of the check, in UTC.

    Returns:
        A reading for each secret, in declared order.
    """
    directory, named_by = config_directory(environment, config_dir, model_setup)
    fault = _directory_fault(directory)
    model_directory = model_setup.config_dir if named_by != "model" else None
    model_fault = "" if model_directory is None else _directory_fault(model_directory)

    def look_at(file: str, most: int) -> TextFile:
        return look(os.path.join(directory, within_config_dir(file)), most=most) if fault is None else TextFile()

    lists = [look_at(REVOKED_FILE, MAX_LIST_BYTES)]
    if fault is None and not lists[0].exists:
        lists[0] = lists[0]._replace(foreign=foreign_owners(directory))
    if model_directory and model_fault is None and not (fault is None and os.path.samefile(directory, model_directory)):
        # The variable and the argument add a list, and take none away.
        lists.append(look(os.path.join(model_directory, within_config_dir(REVOKED_FILE)), most=MAX_LIST_BYTES))
    protected = bool(require_env_only) or _is_protected(environment)
    setup = Setup(
        now=now,
        policies=tuple(policies),
        protected=protected,
        files_off=protected or are_files_off(environment, model_setup),
        unknown_switches=tuple(
            name for name in (PROTECTED_ENV, ALLOW_FILE_SECRET_FALLBACK) if _switch(environment, name) is Switch.UNKNOWN
        ),
        directory_named_by=named_by,
        directory_fault=_NOT_THERE if fault == "" and named_by else fault or "",
        model_directory_fault=model_fault or "",
        near_misses=variables_read.near_misses(
            environment.names(), is_set=environment.is_set, any_case=environment.distinguishes_case
        ),
        ephemeral=environment.is_set(EPHEMERAL),
        revocation=revocation_list(lists, environment.get(REVOKED_FINGERPRINTS) or None),
        list_required=model_setup.require_revocation_list,
    )
    return tuple(
        _reading(
            policy,
            setup,
            variable=environment.get(policy.variable),
            marker=environment.get(policy.expiry_variable) or None,
            file=look_at(policy.file, MAX_FILE_BYTES),
        )
        for policy in policies
    )


def _reading(
    policy: SecretPolicy, setup: Setup, *, variable: SealedStr | None, marker: SealedStr | None, file: TextFile
) -> Reading:
    """Decide what delivers a secret: its variable, else its fallback file, where that is allowed."""
    file_in_use, value, source = False, None, "none"
    if variable:
        value, source = variable, "environment"
    elif (file.lines or file.unreadable) and not setup.files_off:
        file_in_use, source = True, f"file:{policy.file}"
        if len(file.lines) == 1 and not file.unsafe:
            value = file.lines[0]
    return Reading(policy, setup, variable, marker, file, file_in_use, value, source)


def _directory_fault(path: str) -> str | None:
    """Say why a directory cannot be used: `None` where it can, empty where nothing is there."""
    try:
        return None if stat.S_ISDIR(os.stat(path).st_mode) else "is not a directory"
    except FileNotFoundError:
        return "is a link to nothing" if os.path.islink(path) else _working_directory_fault()
    except (OSError, ValueError):
        return "cannot be examined"


def _working_directory_fault() -> str:
    """Say whether the working directory was deleted: nothing is found under it, whatever was there."""
    try:
        os.getcwd()
    except OSError:
        return "cannot be found, since the working directory was deleted"
    return ""


def are_files_off(environment: Environment, model_setup: ModelSetup) -> bool:
    """Whether fallback files are ignored.

    Args:
        environment: where the switches are read.
        model_setup: the set-up that the model declares.
    """
    if _is_protected(environment):
        return True
    allowed = _switch(environment, ALLOW_FILE_SECRET_FALLBACK)
    return allowed in (Switch.FALSE, Switch.UNKNOWN) or (allowed is Switch.UNSET and not model_setup.file_fallback)


def _is_protected(environment: Environment) -> bool:
    return _switch(environment, PROTECTED_ENV) in (Switch.TRUE, Switch.UNKNOWN)


def config_directory(
    environment: Environment, config_dir: str | os.PathLike[str] | None, model_setup: ModelSetup
) -> tuple[str, NamedBy | None]:
    """Return the config directory, and what named it; `None` where nothing did.

    Args:
        environment: where `ROBODJ_CONFIG_DIR` is read.
        config_dir: the directory that was passed, if one was.
        model_setup: the set-up that the model declares.
    """
    if config_dir is not None:
        return os.fsdecode(config_dir), "argument"
    if variable := environment.get(CONFIG_DIR):
        return variable.get_secret_value(), "environment"
    if model_setup.config_dir is not None:
        return model_setup.config_dir, "model"
    return DEFAULT_CONFIG_DIR, None


def place(file: str, directory_named_by: str | None) -> str:
    """Say where a file that is declared below `config/` is looked for.

    Args:
        file: the file.
        directory_named_by: what named the config directory; `None` where nothing did.
    """
    return f"{within_config_dir(file)} in the configured directory" if directory_named_by else file


def chmod(file: TextFile, directory_named_by: str | None) -> str:
    """Return the command that takes the write permission of a file and of its directory from others.

    Args:
        file: the file.
        directory_named_by: what named its directory; `None` where nothing did.
    """
    named = {None: DEFAULT_CONFIG_DIR, "environment": f'"${CONFIG_DIR}"'}
    command = "chmod -R go-w " + named.get(directory_named_by, f"on the directory that the {directory_named_by} names")
    if any(each.startswith(A_DIRECTORY_ABOVE) for each in file.exposed):
        command += "; and chmod go-w for every directory above it that others may write"
    return command


def within_config_dir(file: str) -> str:
    """Return the path within the config directory of a file that is declared below `config/`."""
    return file.removeprefix(f"{DEFAULT_CONFIG_DIR}/")


def _switch(environment: Environment, name: str) -> Switch:
    value = environment.get(name)
    return _SWITCHES.get(value.get_secret_value().lower(), Switch.UNKNOWN) if value else Switch.UNSET


def variables_read(policies: Iterable[SecretPolicy]) -> VariablesRead:
    """Return the variables that are read for some secrets, and how each is mistaken.

    Args:
        policies: the declared secrets.
    """
    return VariablesRead(_each_read(policies))


def _each_read(policies: Iterable[SecretPolicy]) -> Iterator[VariableRead]:
    yield VariableRead(PROTECTED_ENV, loosens=True, beginning="ROBODJ_PROTECTED")
    yield VariableRead(ALLOW_FILE_SECRET_FALLBACK, loosens=True, beginning="ROBODJ_ALLOW_FILE")
    yield VariableRead(CONFIG_DIR)
    yield VariableRead(EPHEMERAL, loosens=True)
    yield VariableRead(REVOKED_FINGERPRINTS, loosens=True, mistaken=f"{REVOKED_FINGERPRINTS}_FILE")
    yield VariableRead(OPERATIONS_LOG)
    for policy in policies:
        yield VariableRead(policy.variable, policy, mistaken=f"{policy.variable}_FILE")
        yield VariableRead(policy.expiry_variable, policy, loosens=True, expires=policy.variable)


def revocation_list(files: Iterable[TextFile], variable: SealedStr | None = None) -> RevocationList:
    """Return what the revocation list says.

    Args:
        files: the files `config/revoked.fingerprints`; a comment may follow an entry.
        variable: the variable; `None` when unset or empty.
    """
    files = tuple(files)
    is_there = any(file.exists or file.dangling for file in files)
    found = {f"file:{REVOKED_FILE}": is_there, "environment": bool(variable)}
    in_files = [[_entry(line.get_secret_value()) for line in file.lines] for file in files]
    in_variable = [*filter(None, re.split(r"[\s,]+", variable.get_secret_value()))] if variable else []
    return RevocationList(
        files=files,
        sources=tuple(source for source, is_there in found.items() if is_there),
        fingerprints=frozenset(filter(is_fingerprint, chain(*in_files, in_variable))),
        invalid_in_files=tuple(map(_invalid, in_files)),
        invalid_in_variable=_invalid(in_variable),
    )


def _is_empty(file: TextFile) -> bool:
    return file.empty and not file.unreadable and not file.dangling  # what is unreadable has another alert


def _entry(line: str) -> str:
    """Return a line without the comment that may follow an entry: not where one could hide a further entry."""
    return line.partition("#")[0].rstrip() if is_one_line(line) else line


def _invalid(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(entries, start=1) if not is_fingerprint(entry))
