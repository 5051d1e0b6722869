"""What a read of a secret manager costs, and a cut of its answer at every place."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import test_aws
import test_vault
from conftest import NO_FAILURE
from managed import COMMAND, PROGRAM, UNAVAILABLE
from processes import GOOD
from proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

bao, canned, service = test_vault.bao, test_aws.canned, test_vault.service
LOGIN = test_vault.LOGINS["AppRole, file"]
PACKET = 200
"""More bytes than the last records of a connection have, which come after the answer."""


@pytest.mark.full
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


@pytest.mark.full
def test_a_cut_anywhere_never_starts_the_command(service: test_vault.Service) -> None:
    """Whatever part of the login and of the answer arrived: it is status 75, or the whole set of keys."""
    login = LOGIN(service)
    with Proxy(service.bao.port).running() as proxy:
        assert service.start(login | test_vault.through(proxy)).status == 0
    total = sum(proxy.passed)
    for cut in range(0, total, 97):
        (service.cwd / "started.json").unlink(missing_ok=True)
        with Proxy(service.bao.port, cut=cut).running() as proxy:
            ran = service.start(login | test_vault.through(proxy))
        if service.started:
            assert service.started.items() >= GOOD.items()
            assert cut > total - PACKET
        else:
            service.assert_not_started(ran, UNAVAILABLE, "")


@pytest.mark.full
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
