"""A read of a secret manager over a bad network: late, slow, and cut at every place; and what a read costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import test_aws
import test_vault
from conftest import NO_FAILURE, TIMEOUT
from detector import leaks
from managed import COMMAND, PROGRAM, UNAVAILABLE
from openbao import until
from processes import GOOD, SECRET
from proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moto_server import Moto

bao, service = test_vault.bao, test_vault.service
canned, moto = test_aws.canned, test_aws.moto
LOGIN = test_vault.LOGINS["AppRole, file"]
pytestmark = pytest.mark.full
PACKET = 200
"""More bytes than the last records of a connection have, which come after the answer."""


def through(proxy: Proxy) -> dict[str, str]:
    """Return the address of a proxy, for Vault."""
    return {"VAULT_ADDR": f"https://127.0.0.1:{proxy.port}"}


def connected(moto: Moto, port: int) -> dict[str, str]:
    """Return the variables of a service that reaches the server of AWS at another port."""
    return {**moto.environ, "AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}"}


@pytest.mark.timed
def test_what_a_read_costs(service: test_vault.Service) -> None:
    """The fastest of some starts with `--from` takes at most 400 ms more than the fastest without."""

    def fastest(variables: Mapping[str, str], *options: str) -> float:
        command, env = [sys.executable, *PROGRAM, "exec", *options, "--", *COMMAND], service.environ(variables)
        took = []
        for _ in range(7):
            began = time.monotonic()
            subprocess.run(command, env=env, cwd=service.cwd, check=True, stderr=subprocess.DEVNULL)
            took.append(time.monotonic() - began)
        return min(took)

    assert fastest(LOGIN(service), "--from", test_vault.SOURCE) - fastest(GOOD) < 0.4


def test_a_cut_anywhere_never_starts_the_command(service: test_vault.Service) -> None:
    """Whatever part of the login and of the answer arrived: it is status 75, or the whole set of keys."""
    login = LOGIN(service)
    with Proxy(service.bao.port).running() as proxy:
        assert service.start(login | through(proxy)).status == 0
    total = sum(proxy.passed)
    for cut in range(0, total, 97):
        with Proxy(service.bao.port, cut=cut).running() as proxy:
            ran = service.start(login | through(proxy))
        if service.started:
            assert service.started.items() >= GOOD.items()
            assert cut > total - PACKET
        else:
            service.assert_not_started(ran, UNAVAILABLE, "")


def test_a_cut_of_an_answer_of_aws(canned: test_aws.Canned, tmp_path: Path) -> None:
    """Whatever part of an answer comes, it is temporary, and nothing is delivered."""
    canned.answers = [(200, test_aws.whole(json.dumps(GOOD)))]
    with Proxy(canned.port).running() as good:
        variables = {**canned.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{good.port}"}
        assert test_aws.load(variables, tmp_path) == NO_FAILURE
    for cut in range(0, good.passed[0], 7):
        with Proxy(canned.port, cut=cut).running() as bad:
            failure = test_aws.load({**variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bad.port}"}, tmp_path)
        assert failure.is_temporary, cut


HANDSHAKE, ANSWER = 600, 4500
"""A number of bytes in the middle of the TLS handshake, and one in the middle of the answer."""
VAULT: dict[str, tuple[dict[str, Any], int, str]] = {
    "delayed": ({"delay": TIMEOUT}, 1, "Timeout|in time"),
    "dribbling": ({"dribble": ANSWER}, 1, "Timeout|in time|reached"),
    "cut in the answer": ({"cut": ANSWER}, 0, ""),
    "cut in the handshake": ({"cut": HANDSHAKE}, 0, ""),
    "cut at once": ({"cut": 0}, 0, ""),
    "dribbling handshake": ({"dribble": 0}, 1, ""),
}


@pytest.mark.parametrize("case", VAULT)
def test_vault_that_does_not_answer_is_unavailable(service: test_vault.Service, case: str) -> None:
    """One alert says what did not answer, soon after the waiting time: a busy machine starts Python slowly."""
    fault, wait, what = VAULT[case]
    with Proxy(service.bao.port, **fault).running() as proxy:
        began = time.monotonic()
        ran = service.start(LOGIN(service) | through(proxy), wait=wait)
        took = time.monotonic() - began
    service.assert_not_started(ran, UNAVAILABLE, what)
    assert took < wait + 10


def test_server_that_is_unsealed_in_time(service: test_vault.Service) -> None:
    """The command starts, after a line that says what is waited for."""
    arguments = [sys.executable, *PROGRAM, "exec", "--from", test_vault.SOURCE, "--wait", "30", "--", *COMMAND]
    with Proxy(service.bao.port).running() as proxy:
        env = service.environ(LOGIN(service) | through(proxy))
        with service.bao.sealed():
            process = subprocess.Popen(arguments, env=env, cwd=service.cwd, stderr=subprocess.PIPE, text=True)
            until(lambda: bool(proxy.passed) or process.poll() is not None)
        with process:
            _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert service.started.items() >= GOOD.items()
    assert f"{test_vault.SOURCE} is sealed" in err
    assert "ALERT" not in err
    assert leaks(err, [*SECRET, *service.bao.secrets]) == []


@pytest.mark.parametrize(
    "fault", [{"delay": 30}, {"dribble": 0}, {"dribble": 2500}], ids=["late", "slow", "slow later"]
)
def test_aws_that_does_not_answer_is_unavailable(moto: Moto, tmp_path: Path, fault: dict[str, Any]) -> None:
    """An answer that is late or slow is one alert, within the time."""
    started, begin = test_aws.Service(tmp_path, test_aws.SOURCE), time.monotonic()
    with Proxy(moto.port, **fault).running() as bad:
        ran = started.start(connected(moto, bad.port), wait=1)
    started.assert_not_started(ran, UNAVAILABLE, "did not answer in time")
    assert time.monotonic() - begin < 25


def test_cut_answer_of_aws_is_one_alert(moto: Moto, tmp_path: Path) -> None:
    """An answer without its end is one alert."""
    started = test_aws.Service(tmp_path, test_aws.SOURCE)
    with Proxy(moto.port).running() as good:
        assert started.start(connected(moto, good.port)).status == 0
    with Proxy(moto.port, cut=good.passed[0] - 100).running() as bad:
        ran = started.start(connected(moto, bad.port))
    (alert,) = ran.alerts
    assert (ran.status, started.started) == (UNAVAILABLE, {})
    what = r"(?:sent no whole answer|cannot be reached \(\w+\))"
    assert re.fullmatch(rf"ALERT: unavailable: {test_aws.SOURCE} {what}", alert)


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_cut_handshake_of_aws_is_temporary(moto: Moto, tmp_path: Path, cut: int) -> None:
    """A connection that ends before the answer is temporary."""
    with Proxy(moto.port, cut=cut).running() as bad:
        failure = test_aws.load(connected(moto, bad.port), tmp_path)
    assert re.match(r"cannot be reached \(\w+Error\)", failure.what)
    assert failure.is_temporary
