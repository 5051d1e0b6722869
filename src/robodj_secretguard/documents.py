"""The JSON document of a report: its fields, their types and what they mean. Only type checkers and tests import it.

`kinds.py` has the other kinds. `python tests/generated.py` writes docs/schemas from both; docs/json.md says which
changes get a new number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, GetPydanticSchema
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads no other

from robodj_secretguard.checks import Check, Severity, State
from robodj_secretguard.material import FINGERPRINT


def described_by(kind: Any) -> GetPydanticSchema:
    """Return what gives a plain type the schema of another one."""
    return GetPydanticSchema(lambda _, handler: handler(kind))


CheckId = Annotated[str, described_by(Check)]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Fingerprint = Annotated[str, Field(pattern=FINGERPRINT)]
Count = Annotated[int, Field(ge=0)]


class Model(TypedDict):
    """The settings model that the command used."""

    name: str
    """Its name, as `package.module:Class`."""
    source: Annotated[str, described_by(Literal["option", "pyproject.toml", "default"])]
    """What named it."""


class RevocationList(TypedDict):
    """The revocation list."""

    sources: list[str]
    """Where it was found: `file:` and its path, `environment`, both or neither."""
    entries: Count
    """How many fingerprints it has."""


class Secret(TypedDict):
    """A declared secret as it was found."""

    secret: str
    """Its name."""
    variable: str
    """The environment variable that delivers it."""
    source: str
    """`environment`, `file:` and the declared path, or `none`."""
    state: Annotated[str, described_by(State)]
    """Its presence and validity. A placeholder, a weak key and an unsafe file are `invalid-format` too."""
    usable: bool
    """Whether no alert concerns it. A revoked key is `present` and not usable."""
    expires_at: Instant | None
    """The instant of its expiry marker, if it has a valid one."""
    owner: str
    """Who rotates it."""
    backup_owner: str
    """Who rotates it when the owner cannot."""
    rotation_days: int
    """Its cadence, in days."""
    fingerprint: Fingerprint | None
    """Null for a key that did not pass the format and strength rules."""


class Finding(TypedDict):
    """One thing that is wrong."""

    check: CheckId
    """Which check found it."""
    severity: Annotated[str, described_by(Severity)]
    """An alert stops the service. A note is shown and not counted."""
    secret: str | None
    """The name of the secret. Null for a finding about the set-up."""
    source: str
    """`environment`, `file:` and the declared path, or `none`."""
    message: str
    """What is wrong, in words."""
    remedy: str
    """What to do, in words."""
    owner: str
    """Who is to do it."""


class Report(TypedDict):
    """What `check`, `exec` and `Report.as_dict()` return: the outcome of one check of every declared secret."""

    schema: Literal[1]
    """The version of this kind of document."""
    kind: Literal["report"]
    ok: bool
    """Whether there is no alert. With `--strict`: and no warning."""
    model: NotRequired[Model]
    """Not in the result of `Report.as_dict()`, nor in a report that is part of another document."""
    checked_at: Instant
    """When the check was made."""
    require_env_only: bool
    """Whether fallback files were off."""
    revocation_list: RevocationList | None
    """Null when the list was not looked for."""
    secrets: list[Secret]
    """Every declared secret, in declared order. It may be empty after the finding `internal`: nothing was verified."""
    findings: list[Finding]
    """All findings: about the set-up first, then by secret."""
