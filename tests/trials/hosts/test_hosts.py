"""What hosts do when a service is refused, and when it starts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import TYPE_CHECKING

import pytest
import table
from detector import leaks
from matrix import HOSTS, End, Host
from packaging.requirements import Requirement
from running import GOOD, Seen, refused, started

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = "SECRETGUARD_HOSTS_REQUIRED"
"""If this variable is set, a host that is not installed is a failure."""
IN_PRODUCTION = ("gunicorn, sync: at import", "uvicorn: at import")
"""The hosts of the fast run."""
RESULTS = "SECRETGUARD_HOSTS_RESULTS"
"""This variable names the file of results for `table.py`."""


def installed(requirement: Requirement) -> str | None:
    """Return the version of an installed package, or `None` where it is missing or too old."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return version if requirement.specifier.contains(version, prereleases=True) else None


@pytest.fixture
def versions(host: Host) -> dict[str, str]:
    """The versions of the packages that a host requires."""
    required = [Requirement(text) for text in host.requires]
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate():
            pytest.skip(f"not available on this platform: {requirement}")
    found = {requirement.name: installed(requirement) for requirement in required}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed, or too old: {', '.join(missing)}")
    return {name: version for name, version in found.items() if version is not None}


def keep(host: Host, run: table.Run, seen: Seen, versions: dict[str, str]) -> None:
    """Add the observation to the file of results, if one is named."""
    if path := os.environ.get(RESULTS):
        table.add(path, host, run, seen, versions | {"CPython": platform.python_version()})


@pytest.mark.skipif(sys.platform == "win32", reason="most hosts, and process groups, need POSIX")
@pytest.mark.parametrize(
    "host",
    [pytest.param(each, marks=[] if str(each) in IN_PRODUCTION else pytest.mark.full) for each in HOSTS],
    ids=str,
)
class TestHosts:
    """A service in a real host."""

    def test_refused_by_the_guard_alone(self, tmp_path: Path, host: Host, versions: dict[str, str]) -> None:
        """A refused service is visible in the output and never serves, and its host ends as the row says."""
        seen, output = refused(host, tmp_path, gate=False)
        keep(host, table.Run.ALONE, seen, versions)
        assert leaks(output, tuple(GOOD.values())) == []
        assert not seen.worked, output
        assert (seen.answers, seen.alert) == ((), True), output
        assert seen.end is host.end, output
        assert seen.status in (host.statuses if host.end is End.ENDS else (None,)), output
        assert seen.boots > 0, output
        assert (seen.boots > host.workers) is (host.end is End.STARTS_AGAIN), output
        assert not seen.port_open or seen.end is not End.ENDS, output

    def test_refused_service_does_not_boot_behind_exec(
        self, tmp_path: Path, host: Host, versions: dict[str, str]
    ) -> None:
        """Behind `exec` a service does not even boot, nothing starts it again, and the status is 3."""
        seen, output = refused(host, tmp_path, gate=True)
        keep(host, table.Run.EXEC, seen, versions)
        assert leaks(output, tuple(GOOD.values())) == []
        assert not seen.worked, output
        assert (seen.answers, seen.alert, seen.port_open) == ((), True, False), output
        assert (seen.boots, seen.refusals) == (0, 1), output
        assert (seen.end, seen.status) == ((End.GOES_ON, None) if host.gate_inside else (End.ENDS, 3)), output

    def test_service_with_good_keys_serves_without_a_finding(
        self, tmp_path: Path, host: Host, versions: dict[str, str]
    ) -> None:
        """With good keys, behind `exec` and with the guard, the service serves or works, and no finding is written."""
        seen, output = started(host, tmp_path)
        keep(host, table.Run.GOOD, seen, versions)
        assert leaks(output, tuple(GOOD.values())) == []
        assert seen.worked, output
        assert [word for word in ("ALERT", "WARNING: secret") if word in output] == []


def test_the_table_shows_every_host_and_no_other() -> None:
    """The page has each host once."""
    assert sorted(table.shown()) == sorted(map(table.label, HOSTS))


def test_the_table_is_made_of_complete_runs(tmp_path: Path) -> None:
    """The table needs the results of all three runs of each host, and shows what it did in one row."""
    path = tmp_path / "results"
    ended = Seen(End.ENDS, 3, 1, 1, alert=True, port_open=False, answers=(), worked=False)
    for host in HOSTS:
        for run in table.Run:
            with pytest.raises(LookupError, match="run"):
                table.render(table.read(path))
            table.add(str(path), host, run, ended, {"CPython": "3"})
    _, *rows = [line for line in table.render(table.read(path)).splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| ends, 3; behind `exec` ends, 3, boots: 1; **good keys fail**"]
    assert all(table.label(host) in rows[0] for host in HOSTS)
