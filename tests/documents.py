"""The JSON document of a report: its fields, their types and their meaning.

`kinds.py` has the other kinds. `python tests/generated.py` writes docs/schemas from both modules. docs/json.md explains
which changes need a new version.
"""

# The classes are made of tables.
# mypy: disable-error-code="valid-type"

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, GetPydanticSchema
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads no other

from robodj_secretguard.secret.material import FINGERPRINT
from robodj_secretguard.startup.rules import Check, Severity, State


def described_by(kind: Any) -> GetPydanticSchema:
    """Return the metadata that gives a plain type the schema of another type."""
    return GetPydanticSchema(lambda _, handler: handler(kind))


TEXTS: Final[dict[str, dict[str, str]]] = {}
"""What each field of a document or of a part of one means, by the name of its class."""


def document(title: str, text: str, /, base: Any = None, **fields: tuple[Any, str]) -> Any:
    """Return the class of a document or of a part of one, from the type and the meaning of each field.

    It has the fields of another one first. A field whose type says all has no text.
    """
    inherited = base.__annotations__ if base else {}
    shape: Any = TypedDict(title, {**inherited, **{name: kind for name, (kind, _) in fields.items()}})  # type: ignore[misc]
    shape.__doc__ = text
    TEXTS[title] = TEXTS.get(getattr(base, "__name__", ""), {}) | {
        name: text for name, (_, text) in fields.items() if text
    }
    return shape


CheckId = Annotated[str, described_by(Check)]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Fingerprint = Annotated[str, Field(pattern=FINGERPRINT)]
Count = Annotated[int, Field(ge=0)]


Model = document(
    "Model",
    "The settings model that the command used.",
    name=(str, "Its name: `package.module:Class`."),
    source=(Annotated[str, described_by(Literal["option", "pyproject.toml", "default"])], "What selected it."),
)


RevocationList = document(
    "RevocationList",
    "The revocation list.",
    sources=(list[str], "Where it was found: `file:` and its path, `environment`, sources of `--from`, or nowhere."),
    entries=(Count, "How many fingerprints it has."),
)


Secret = document(
    "Secret",
    "The status of a declared secret.",
    secret=(str, "Its name."),
    variable=(str, "The environment variable that delivers it."),
    source=(str, "`environment`, `file:` and the declared path, a source of `--from`, or `none`."),
    state=(
        Annotated[str, described_by(State)],
        "Its presence and validity. A placeholder, a weak key and an unsafe file are `invalid-format` too.",
    ),
    usable=(bool, "Whether no alert concerns it. A revoked key is `present` and not usable."),
    required=(bool, "Whether a service refuses to start without it."),
    expires_at=(Instant | None, "The instant of its expiry marker, if it has a valid one."),
    owner=(str, "Who rotates it. Empty for nobody in particular."),
    backup_owner=(str, "Who rotates it when the owner cannot. Empty for nobody."),
    rotation_days=(int, "Its cadence, in days."),
    fingerprint=(
        Fingerprint | None,
        "Null for a key that did not pass the format and strength rules, and for a secret that a vendor issues.",
    ),
    next_fingerprint=(Fingerprint | None, "The same for its next key."),
    previous_fingerprint=(Fingerprint | None, "The same for its previous key."),
    previous_until=(Instant | None, "The deadline of its previous key, if that has a valid one."),
)


Finding = document(
    "Finding",
    "One thing that is wrong.",
    check=(CheckId, "Which check found it."),
    severity=(Annotated[str, described_by(Severity)], "An alert stops the service. A note is shown and not counted."),
    secret=(str | None, "The name of the secret. Null for a finding about the set-up."),
    slot=(
        Annotated[str, described_by(Literal["current", "next", "previous"])] | None,
        "Which key of the secret. Null for a finding about the set-up.",
    ),
    source=(str, "`environment`, `file:` and the declared path, a source of `--from`, or `none`."),
    message=(str, "What is wrong, in words."),
    remedy=(str, "What to do, in words."),
    owner=(str, "Who does it."),
)


Report = document(
    "Report",
    "The result of one check of every declared secret: `check`, `exec` and `Report.as_dict()` return it.",
    schema=(Literal[1], "The version of this kind of document."),
    kind=(Literal["report"], ""),
    ok=(bool, "Whether there is no alert. With `--strict`: and no warning."),
    model=(
        NotRequired[Model],
        "Absent in the result of `Report.as_dict()`, and in a report that is part of another document.",
    ),
    checked_at=(Instant, "The time of the check."),
    require_env_only=(bool, "Whether fallback files were off."),
    revocation_list=(RevocationList | None, "Null when the check failed before it read the list."),
    secrets=(
        list[Secret],
        (
            "Every declared secret, in declared order. It can be empty with the finding"
            " `internal`: nothing was verified."
        ),
    ),
    findings=(list[Finding], "All findings: first those about the set-up, then by secret."),
)
