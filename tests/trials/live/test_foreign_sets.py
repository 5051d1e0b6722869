"""Sets that are another's, or old: what a running service and a start do with each one, as a table."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import pytest
from conftest import V1, posix_only
from live_model import address
from publications import Files, Set, first, promoted, retired, staged
from pydantic import ValidationError
from running_service import Service

from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

ENVIRONMENT: Final = "ROBODJ_ENVIRONMENT"
History = tuple[Files, Files, Files]
"""An old set of a service, the one before the last promotion, and the one in use."""


class Issued(SecretSettings):
    """Secrets without slots: no overlap tells a rotation from another set."""

    database_url: Annotated[Secret, SecretPolicy(material=Material.url("postgresql"))]
    api_key: Annotated[Secret, SecretPolicy(material=Material.opaque(minimum=16))]


def with_slots() -> History:
    """Make the sets of a service whose keys are rotated with an overlap."""
    old = first()
    before = staged(retired(promoted(staged(old))))
    return old, before, promoted(before)


def without_slots() -> History:
    """Make the sets of a service whose secrets others issue."""

    def issued() -> Set:
        return {"DATABASE_URL": address(), "API_KEY": secrets.token_urlsafe(24)}

    return issued(), issued(), issued()


MODELS: Final[dict[str, tuple[type[SecretSettings], Callable[[], History]]]] = {
    "with slots": (RuntimeSecrets, with_slots),
    "without slots": (Issued, without_slots),
}
SETS: Final[dict[str, tuple[int | None, str]]] = {
    "staging's": (None, "staging"),
    "another service's": (None, "prod"),
    "an old one": (0, "prod"),
    "before the promotion": (1, "prod"),
}
"""By name: which set of our own it is, if it is one, and its environment."""
KNOWN: Final = {
    "nobody": (False, False, False),
    "process": (True, False, False),
    "sets": (False, True, True),
    "all": (True, True, True),
    "all but the new set": (True, True, False),
}
"""Who names the environment: the process, the set in use, and the new one."""


def named(files: Files, environment: str, *, is_named: bool) -> Set:
    """Let a set name its environment."""
    return {**files, ENVIRONMENT: environment} if is_named else {**files}


def what_happens(
    model: str, which: str, known: str, directory: Path, capture: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Return what a running service does with a set, and what a start does."""
    declared, make = MODELS[model]
    number, environment = SETS[which]
    process, in_ours, in_theirs = KNOWN[known]
    ours = make()
    theirs = make()[2] if number is None else ours[number]
    environ = {ENVIRONMENT: "prod"} if process else {}
    service = Service(directory, capture, named(ours[2], "prod", is_named=in_ours), declared, environ)
    name = V1 if declared is RuntimeSecrets else "DATABASE_URL"
    secret = next(iter(service.secrets.secret_policies.values())).name
    report = service.read(named(theirs, environment, is_named=in_theirs))
    is_taken = service.value(secret) == theirs[name]
    assert is_taken != (service.value(secret) == ours[2][name])
    running = ", ".join([str(each.check) for each in report.findings if each.severity in {"alert", "warning"}])
    try:
        service.started()
        start = "starts"
    except ValidationError as error:
        start = f"refused: {', '.join(sorted({each['type'] for each in error.errors()}))}"
    return f"{'taken' if is_taken else 'refused'}{f': {running}' if running else ''}", start


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Staging's set is never taken where the environments are known, and none without the key in use with slots."""
    table = {
        (model, which, known): what_happens(model, which, known, tmp_path / str(number), capsys)
        for number, (model, which, known) in enumerate(itertools.product(MODELS, SETS, KNOWN))
    }
    with capsys.disabled():
        print(f"\n{'model':<15}{'set':<22}{'environment of':<22}{'a running service':<54}a start")  # noqa: T201
        for (model, which, known), (running, start) in table.items():
            print(f"{model:<15}{which:<22}{known:<22}{running:<54}{start}")  # noqa: T201
    for (model, which, known), (running, start) in table.items():
        if which == "staging's" and known == "all":
            assert running.startswith("refused")
            assert start.startswith("refused")
        if model == "with slots" and which != "before the promotion":
            assert running.startswith("refused")
