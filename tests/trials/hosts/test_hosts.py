"""What hosts do when a service is refused, and when it starts."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING

import pytest
from detector import leaks
from matrix import HOSTS, End, Host
from packaging.requirements import Requirement
from running import GOOD, refused, started

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = "SECRETGUARD_HOSTS_REQUIRED"
"""If this variable is set, a host that is not installed is a failure."""
IN_PRODUCTION = ("gunicorn, sync: at import", "uvicorn: at import")
"""The hosts of the fast run."""


def is_installed(requirement: Requirement) -> bool:
    """Check whether a package is installed, and is not too old."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


@pytest.fixture(autouse=True)
def require_packages(host: Host) -> None:
    """Skip a host whose packages are missing, unless each host is required."""
    required = [Requirement(text) for text in host.requires]
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate():
            pytest.skip(f"not available on this platform: {requirement}")
    missing = [requirement.name for requirement in required if not is_installed(requirement)]
    if missing:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed, or too old: {', '.join(missing)}")


@pytest.mark.skipif(sys.platform == "win32", reason="most hosts, and process groups, need POSIX")
@pytest.mark.parametrize(
    "host",
    [pytest.param(each, marks=[] if str(each) in IN_PRODUCTION else pytest.mark.full) for each in HOSTS],
    ids=str,
)
class TestHosts:
    """A service in a real host."""

    def test_refused_by_the_guard_alone(self, tmp_path: Path, host: Host) -> None:
        """A refused service is visible in the output and never serves, and its host ends as the row says."""
        seen, output = refused(host, tmp_path, gate=False)
        assert leaks(output, tuple(GOOD.values())) == []
        assert not seen.worked, output
        assert (seen.answers, seen.alert) == ((), True), output
        assert seen.end is host.end, output
        assert seen.status in (host.statuses if host.end is End.ENDS else (None,)), output
        assert seen.boots > 0, output
        assert (seen.boots > host.workers) is (host.end is End.STARTS_AGAIN), output
        assert not seen.port_open or seen.end is not End.ENDS, output

    def test_refused_service_does_not_boot_behind_exec(self, tmp_path: Path, host: Host) -> None:
        """Behind `exec` a service does not even boot, nothing starts it again, and the status is 3."""
        seen, output = refused(host, tmp_path, gate=True)
        assert leaks(output, tuple(GOOD.values())) == []
        assert not seen.worked, output
        assert (seen.answers, seen.alert, seen.port_open) == ((), True, False), output
        assert (seen.boots, seen.refusals) == (0, 1), output
        assert (seen.end, seen.status) == ((End.GOES_ON, None) if host.gate_inside else (End.ENDS, 3)), output

    def test_service_with_good_keys_serves_without_a_finding(self, tmp_path: Path, host: Host) -> None:
        """With good keys, behind `exec` and with the guard, the service serves or works, and no finding is written."""
        seen, output = started(host, tmp_path)
        assert leaks(output, tuple(GOOD.values())) == []
        assert seen.worked, output
        assert [word for word in ("ALERT", "WARNING: secret") if word in output] == []
