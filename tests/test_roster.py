"""The roster of a fleet."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.errors import UsageError
from robodj_secretguard.fleet.verdict import Service, parse_roster


def test_services() -> None:
    """A table has the instances of a service, as a number or as names, and what differs from the command."""
    text = """
        [api]
        instances = 40
        ["prod/worker"]
        instances = ["w-1", "w-2:8000"]
        secrets = ["secret.key"]
        from = ["vault:secret/worker", "directory:/run/worker"]
        environment = "prod-eu"
    """
    sources = ("vault:secret/worker", "directory:/run/worker")
    assert parse_roster(text) == (
        Service("api", 40),
        Service("prod/worker", ("w-1", "w-2:8000"), ("secret.key",), sources, "prod-eu"),
    )


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "instances = 0",
        "instances = true",
        "instances = 1.0",
        "instances = '1'",
        "instances = []",
        "instances = ['a', 'b', 'a']",
        "instances = ['a', 'b c']",
        "instances = 1\nname = 'worker'",
        "instances = 1\nsources = ['json:-']",
        "instances = 1\nsecrets = []",
        "instances = 1\nsecrets = 'secret.key'",
        "instances = 1\nfrom = []",
        "instances = 1\nenvironment = 'Prod'",
        "instances = 1\n[api.more]\ninstances = 1",
    ],
)
def test_invalid_service(fields: str) -> None:
    """What is missing, unknown or twice in a table is refused with the number of the service."""
    with pytest.raises(UsageError, match=r"\A--roster: service 2 is invalid; "):
        parse_roster(f"[first]\ninstances = 1\n[api]\n{fields}\n")


@pytest.mark.parametrize("text", ["", "# [api]", "api web-1", "api = 3", "[[api]]\ninstances = 1"])
def test_no_service(text: str) -> None:
    """A file without a service is refused."""
    with pytest.raises(UsageError, match=r"\A--roster: the file is invalid; "):
        parse_roster(text)


def test_a_service_twice() -> None:
    """The second table of a service could be a typo of another service, so it is refused."""
    with pytest.raises(UsageError):
        parse_roster("[api]\ninstances = 1\n[api]\ninstances = 2\n")


@given(st.text() | st.text(alphabet="[]\"'=\n 1aei{}.").map(lambda text: f"[api]\ninstances = {text}"))
def test_any_text(text: str) -> None:
    """Any text is a roster or a usage error."""
    with contextlib.suppress(UsageError):
        assert parse_roster(text)
