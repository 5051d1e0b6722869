"""Whose secrets these are: the environment of the process, and that of a set."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import NOW, good_keys

from robodj_secretguard import Check, Report, RuntimeSecrets, Severity
from robodj_secretguard.guarding import examine
from robodj_secretguard.startup.directory import delivery_of
from robodj_secretguard.startup.environments import process_environment, set_environment
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.readings import Environment, Setup, read

NAME = "ROBODJ_ENVIRONMENT"
POLICIES = tuple(RuntimeSecrets.secret_policies.values())
PROD, STAGING = {NAME: "prod"}, {NAME: "staging"}


def given(process: dict[str, str], sets: tuple[dict[str, str], ...]) -> dict[str, Any]:
    """Return the sources: the environment of the process, and a manager for each set."""
    managers = [delivery_of(name, keys, keys) for name, each in zip("ab", sets, strict=False) for keys in [each]]
    return {"environment": Environment(good_keys() | process), "managers": managers, "now": NOW}


def setup(process: dict[str, str], *sets: dict[str, str]) -> Setup:
    """Return the set-up of these sources."""
    return read(POLICIES, variables_read(POLICIES), **given(process, sets))[0].setup


def report_on(process: dict[str, str], *sets: dict[str, str]) -> Report:
    """Return the report on these sources."""
    return examine(RuntimeSecrets, config_dir=None, require_env_only=False, **given(process, sets)).report


@pytest.mark.parametrize(
    ("process", "sets", "names"),
    [
        ({}, (), ("", "")),
        (PROD, (), ("prod", "")),
        (PROD, ({},), ("prod", "")),
        ({}, (PROD,), ("", "prod")),
        (PROD, (PROD,), ("prod", "prod")),
        (PROD, (STAGING,), ("prod", "staging")),
        (PROD, (PROD, STAGING), ("prod", "staging")),
        (PROD, ({}, PROD), ("prod", "prod")),
        ({NAME: "Prod"}, ({NAME: "a b"},), ("", "")),
    ],
)
def test_names(process: dict[str, str], sets: tuple[dict[str, str], ...], names: tuple[str, str]) -> None:
    """An invalid name is unknown. Of several sources, one that differs from the process counts."""
    made = setup(process, *sets)
    assert (process_environment(made), set_environment(made)) == names


@pytest.mark.parametrize(
    ("process", "sets", "message", "fix"),
    [
        (
            PROD,
            (STAGING,),
            f"a has the secrets of staging, and {NAME} of this process is prod",
            f"deliver the secrets of prod there; if the process is one of staging, set {NAME}=staging",
        ),
        (
            {NAME: "Prod"},
            ({},),
            f"{NAME} of this process is not the name of an environment",
            f"correct {NAME} of this process: lower-case letters, digits, hyphen and underscore, such as prod",
        ),
        (
            PROD,
            ({NAME: "a b"},),
            f"{NAME} in a is not the name of an environment",
            f"correct {NAME} in a: lower-case letters, digits, hyphen and underscore, such as prod",
        ),
    ],
    ids=["two environments", "an invalid name of the process", "an invalid name of a set"],
)
def test_alert(process: dict[str, str], sets: tuple[dict[str, str], ...], message: str, fix: str) -> None:
    """Secrets of another environment refuse a start, and so does an invalid name. No invalid name is shown."""
    report = report_on(process, *sets)
    assert [(each.check, each.secret, each.message, each.remedy) for each in report.alerts] == [
        (Check.ENVIRONMENT, None, message, fix)
    ]


def test_a_directory_has_its_files_where_its_links_lead() -> None:
    """In a directory that is replaced by a link, a file outside its version would stop each later step."""
    sources = given(PROD, ()) | {"managers": [delivery_of("directory:keys", keys := good_keys(), keys)]}
    (found,) = examine(RuntimeSecrets, config_dir=None, require_env_only=False, **sources).report.findings
    assert found.remedy == f"store {NAME} there (in ..data, if it has that), with the value prod"


@pytest.mark.parametrize(
    ("process", "sets", "found"),
    [
        (PROD, ({},), [f"store {NAME} there, with the value prod"]),
        ({}, (PROD,), [f"set {NAME}=prod for the service"]),
        (PROD, (PROD,), []),
        (PROD, (), []),
        ({}, ({},), []),
        ({}, (), []),
    ],
    ids=["only the process", "only the set", "equal", "no source", "neither", "nothing at all"],
)
def test_note(process: dict[str, str], sets: tuple[dict[str, str], ...], found: list[str]) -> None:
    """Where only one of them is named, a note says how to name the other one. Equal names have no finding."""
    report = report_on(process, *sets)
    assert [(each.check, each.severity, each.remedy) for each in report.findings] == [
        (Check.ENVIRONMENT, Severity.NOTE, fix) for fix in found
    ]
    assert report.ok


def test_invalid_name_without_a_source() -> None:
    """Where no source may name another environment, an invalid name is a warning: nothing is compared with it."""
    report = report_on({NAME: "Prod"})
    assert [(each.check, each.severity) for each in report.findings] == [(Check.ENVIRONMENT, Severity.WARNING)]
