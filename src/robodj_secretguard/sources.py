"""Where a value comes from: the environment, else the fallback file (policy section 2). The only place that reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Literal

from robodj_secretguard.fallback import FallbackFile, look
from robodj_secretguard.near_miss import NearMiss, ReadName, near_misses
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard.policy import SecretPolicy

PROTECTED_ENV: Final = "ROBODJ_PROTECTED_ENV"
ALLOW_FILE_SECRET_FALLBACK: Final = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"  # noqa: S105 - a name
CONFIG_DIR: Final = "ROBODJ_CONFIG_DIR"
EPHEMERAL: Final = "ROBODJ_SECRETS_EPHEMERAL"
"""Set beside throw-away keys, which are for an image build or a test."""
SETTINGS: Final = (PROTECTED_ENV, ALLOW_FILE_SECRET_FALLBACK, CONFIG_DIR, EPHEMERAL)
DEFAULT_CONFIG_DIR: Final = "config"


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


@dataclass(frozen=True, slots=True)
class Setup:
    """What holds for every declared secret.

    Attributes:
        now: the time of the check, in UTC.
        policies: every declared secret's policy, in declared order.
        environment_only: whether key files are ruled out.
        unknown_switches: switches whose value is neither true nor false.
        directory_named_by: what named the config directory; `None` for nothing.
        directory_exists: whether that directory does.
        near_misses: set variables that are typos of one that is read.
        ephemeral: whether the keys are throw-away ones.
    """

    now: datetime
    policies: tuple[SecretPolicy, ...]
    environment_only: bool
    unknown_switches: tuple[str, ...]
    directory_named_by: Literal["environment", "argument"] | None
    directory_exists: bool
    near_misses: tuple[NearMiss, ...]
    ephemeral: bool

    def place(self, policy: SecretPolicy) -> str:
        """Say where a secret's fallback file is looked for, without showing a path that somebody gave."""
        if self.directory_named_by is None:
            return policy.file
        return f"{policy.file_in_config_dir} in the configured directory"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found for one declared secret.

    Attributes:
        policy: the secret.
        setup: what holds for all of them.
        variable: the environment variable; `None` when unset, empty text when set but empty.
        marker: the expiry marker; `None` when unset or empty.
        file: its fallback file.
    """

    policy: SecretPolicy
    setup: Setup
    variable: SealedStr | None
    marker: SealedStr | None
    file: FallbackFile

    @property
    def file_in_use(self) -> bool:
        """Whether the fallback file is what delivers the secret."""
        holds = bool(self.file.lines or self.file.unreadable)
        return holds and not self.variable and not self.setup.environment_only

    @property
    def found(self) -> bool:
        """Whether there is a value, whatever its shape, from where it may come."""
        return bool(self.variable) or (self.file_in_use and not self.file.unsafe)

    @property
    def value(self) -> SealedStr | None:
        """The one value that was found, if there is one."""
        if self.variable:
            return self.variable
        return self.file.lines[0] if self.found and len(self.file.lines) == 1 else None

    @property
    def source(self) -> str:
        """`environment`, `file:` and the declared path, or `none`."""
        if self.variable:
            return "environment"
        return f"file:{self.policy.file}" if self.file_in_use else "none"


def read(
    policies: Sequence[SecretPolicy],
    *,
    environment: Environment,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    now: datetime,
) -> tuple[Reading, ...]:
    """Read every declared secret once.

    Args:
        policies: the declared secrets, at least one.
        environment: where variables are read.
        config_dir: the config directory; `None` for `ROBODJ_CONFIG_DIR`, else `config`.
        require_env_only: rule key files out whatever the switches say.
        now: the time of the check, in UTC.

    Returns:
        A reading for each secret, in declared order.
    """
    protected = _switch(environment, PROTECTED_ENV)
    files_allowed = _switch(environment, ALLOW_FILE_SECRET_FALLBACK)
    directory = DEFAULT_CONFIG_DIR
    directory_named_by: Literal["environment", "argument"] | None = None
    if config_dir is not None:
        directory, directory_named_by = os.fsdecode(config_dir), "argument"
    elif variable := environment.get(CONFIG_DIR):
        directory, directory_named_by = variable.get_secret_value(), "environment"
    setup = Setup(
        now=now,
        policies=tuple(policies),
        environment_only=bool(require_env_only)
        or protected in {Switch.TRUE, Switch.UNKNOWN}
        or files_allowed in {Switch.FALSE, Switch.UNKNOWN},
        unknown_switches=tuple(
            name
            for name, switch in ((PROTECTED_ENV, protected), (ALLOW_FILE_SECRET_FALLBACK, files_allowed))
            if switch is Switch.UNKNOWN
        ),
        directory_named_by=directory_named_by,
        directory_exists=os.path.isdir(directory),
        near_misses=near_misses(
            environment.names(),
            _names_read(policies),
            is_set=environment.is_set,
            any_case=environment.distinguishes_case,
        ),
        ephemeral=environment.is_set(EPHEMERAL),
    )
    return tuple(
        Reading(
            policy=policy,
            setup=setup,
            variable=environment.get(policy.variable),
            marker=environment.get(policy.expiry_variable) or None,
            file=look(directory, policy) if setup.directory_exists else FallbackFile(),
        )
        for policy in policies
    )


def _switch(environment: Environment, name: str) -> Switch:
    value = environment.get(name)
    return _SWITCHES.get(value.get_secret_value().lower(), Switch.UNKNOWN) if value else Switch.UNSET


def _names_read(policies: Iterable[SecretPolicy]) -> Iterable[ReadName]:
    yield ReadName(PROTECTED_ENV, loosens=True)
    yield ReadName(ALLOW_FILE_SECRET_FALLBACK, loosens=True)
    yield ReadName(CONFIG_DIR)
    yield ReadName(EPHEMERAL, loosens=True)
    for policy in policies:
        yield ReadName(policy.variable, policy, mistaken=f"{policy.variable}_FILE")
        yield ReadName(policy.expiry_variable, policy, loosens=True, beginning=f"{policy.variable}_EXP")
