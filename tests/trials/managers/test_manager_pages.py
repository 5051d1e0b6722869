"""The pages about secret managers: their blocks run in order, with a real OpenBao server and with moto for AWS.

The pages are vault.md, aws.md and other-managers.md, and the rotation of monitoring.md.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, free_port, posix_only
from detector import leaks
from openbao import require, until
from pages import ROOT, Block, Workspace, is_output, masked, parsed
from repositories import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

HERE = "tests/trials/managers/test_manager_pages.py"
SOURCES = ROOT / "src" / "robodj_secretguard"
SERVER = "bao server -dev"


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page that this module runs."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [block for block in parsed(text).blocks if block.markers.get("tested") == HERE]


def walk(page: str, workspace: Workspace, words: Mapping[str, str]) -> str:
    """Run the blocks of a page in order, and assert each status and output. Return all outputs.

    Args:
        page: the name of the page.
        workspace: where the blocks run.
        words: texts of the page, and what replaces them on this machine.
    """
    outputs = [""]
    for block in blocks_of(page):
        text = block.text
        for word, here in words.items():
            text = text.replace(word, here)
        where = f"{page}:{block.line}"
        if block.language != "sh":
            assert is_output(text, outputs[-1]), f"{where}: the output is different:\n{outputs[-1]}"
            continue
        status, output = workspace.run(block._replace(text=text))
        assert status == int(block.markers.get("status", 0)), f"{where}: the status is {status}:\n{output}"
        outputs.append(output)
    return "".join(outputs)


def run(workspace: Workspace, script: str) -> str:
    """Run a script that must succeed, and return its output."""
    status, output = workspace.run(Block(0, "sh", script, {}))
    assert status == 0, output
    return output


def keys_in(workspace: Workspace, *commands: str) -> list[str]:
    """Return the keys that commands print as JSON."""
    keys = re.findall(r"[A-Za-z0-9_-]{43,}", "".join(run(workspace, command) for command in commands))
    assert len(keys) > 1
    return keys


@contextlib.contextmanager
def serving(command: list[str], port: int, environ: Mapping[str, str]) -> Iterator[None]:
    """Run a server while it is used."""
    with subprocess.Popen(
        command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: answers(port) or process.poll() is not None)
            assert process.poll() is None, "the server has ended"
            yield
        finally:
            process.kill()


def answers(port: int) -> bool:
    """Return whether a server is ready: OpenBao's health, which is a page that is not there elsewhere."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        try:
            connection.request("GET", "/v1/sys/health")
            return connection.getresponse().status in {200, 404}
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without keys, whose home is empty."""
    made = Workspace(tmp_path)
    (tmp_path / "home").mkdir()
    clean = "".join(f"unset {name}\n" for name in os.environ if name.startswith(("VAULT_", "BAO_", "AWS_")))
    run(made, f'unset ROBODJ_SECRET_KEY ROBODJ_SECRET_V2_KEY\nexport HOME="{tmp_path}/home"\n{clean}')
    return made


RESTARTED = """rm -f events.jsonl
printf '[robodj]\\ninstances = ["web-1", "web-2"]\\n' >roster.toml
for host in web-1 web-2; do
    ROBODJ_SERVICE=robodj ROBODJ_INSTANCE=$host ROBODJ_SECRET_EVENTS="$PWD/events.jsonl" \\
        ROBODJ_SECRET_HEARTBEAT=300 \\
        robodj-secretguard exec --from SOURCE -- python -c "import os
from robodj_secretguard import guard
guard()
os._exit(0)"
done
robodj-secretguard fleet"""
"""Restart two instances, which do not say that they end, and then begin the command."""
RECORDED = "$(robodj-secretguard log show --secret secret.key | grep -om1 'sgfp1:[0-9a-f]*')"
"""The fingerprint of the first key."""
SERVICE_WRITES = """
unset VAULT_TOKEN
role=$(bao read -field=role_id auth/approle/role/robodj/role-id)
login=$(bao write -field=token auth/approle/login role_id="$role" secret_id=@"$HOME/robodj-secret-id")
! VAULT_TOKEN="$login" bao kv patch -mount=secret robodj ROBODJ_SECRET_KEY=changeme
"""
"""Try to write with the login of the service."""


def test_vault(workspace: Workspace, tmp_path: Path) -> None:
    """A newcomer gets from `bao server -dev` to a service with its own AppRole login."""
    require("hvac", programs=["bao"])
    requests = pytest.importorskip("requests")
    port = free_port()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    command = [*SERVER.split(), f"-dev-listen-address=127.0.0.1:{port}"]
    with serving(command, port, environ):
        cluster = "kubernetes_host=https://kubernetes.default.svc"
        outside = f"{cluster} disable_local_ca_jwt=true kubernetes_ca_cert=@{requests.certs.where()}"
        here = {SERVER: "true", "127.0.0.1:8200": f"127.0.0.1:{port}", cluster: outside, "FINGERPRINT": RECORDED}
        shown = walk("vault.md", workspace, here)
        early = "! robodj-secretguard rotate retire"  # before the deadline
        here = {"SOURCE": "vault:secret/robodj", "--environment prod": "--environment dev"}
        here = {"robodj-secretguard fleet": RESTARTED, "robodj-secretguard rotate retire": early, **here}
        shown += walk("monitoring.md", workspace, here)
        version = "bao kv get -mount=secret -format=json -version={} robodj"
        keys = keys_in(workspace, *map(version.format, (2, 4, 0)))
        assert leaks(masked(shown, kept="HASH"), keys) == []
        denied = run(workspace, SERVICE_WRITES)
        assert "permission denied" in denied


def enforce_policies(port: int) -> None:
    """Let moto check the policies of each request from now on."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        connection.request("POST", "/moto-api/reset-auth", b"0")
        assert connection.getresponse().status == http.HTTPStatus.OK


SERVICE_LOGIN = """
account=arn:aws:iam::123456789012
aws iam create-user --user-name service
aws iam attach-user-policy --user-name service --policy-arn $account:policy/robodj-service
login=$(aws iam create-access-key --user-name service --query AccessKey.[AccessKeyId,SecretAccessKey] --output text)
set -- $login
export AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2
"""
"""Log in as a user with the policy of the page."""


def test_aws(workspace: Workspace) -> None:
    """An operator stores and changes keys, and a service reads them with the policy of the page."""
    require("boto3", "moto", programs=["aws", "jq"])
    port = free_port()
    with serving([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, os.environ):
        outside = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}
        run(workspace, "".join(f"export AWS_{name}={value}\n" for name, value in outside.items()))
        shown = walk("aws.md", workspace, {'"$arn"': '"*"'})  # moto compares actions, and no single resources
        read = "aws secretsmanager get-secret-value --secret-id robodj/prod --version-stage {} --query SecretString"
        stages = (read.format(each) for each in ("AWSCURRENT", "AWSPREVIOUS"))
        assert leaks(masked(shown, kept="HASH"), keys_in(workspace, *stages)) == []
        run(workspace, SERVICE_LOGIN)
        enforce_policies(port)
        run(workspace, "robodj-secretguard exec --from aws:robodj/prod -- true")
        denied = run(workspace, "! aws secretsmanager put-secret-value --secret-id robodj/prod --secret-string x")
        assert "not authorized to perform: secretsmanager:PutSecretValue" in denied


CLIENT = """
cd "$MANAGER/.."
echo "$0 $*" >>arguments
case "$0 $*" in
*create* | *"secret set"*) tee -a every >stored ;;
*) cat stored ;;
esac
"""
"""A stand-in for each client: it stores what it reads, and prints it in the format that the client documents."""


def test_other_managers(workspace: Workspace, tmp_path: Path) -> None:
    """The output of each client is one JSON object with the keys that were stored. No argument has a part of a key."""
    require(programs=["jq"])
    for client in ("az", "op"):
        program(tmp_path / "bin" / client, CLIENT)
    shown = walk("other-managers.md", workspace, {"uvicorn app.main:app": "true"})
    shown += (tmp_path / "arguments").read_text(encoding="utf-8")
    assert leaks(masked(shown, kept="HASH"), keys_in(workspace, 'cat "$MANAGER/../every"')) == []


FAULT = re.compile(r"^\| (`.+?) \|", re.MULTILINE)


@pytest.mark.parametrize("page", ["vault.md", "aws.md", "secret-files.md", "other-managers.md"])
def test_messages(page: str) -> None:
    """Each message in the last table of a page is a text of the program."""
    table = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("## What goes wrong")[2]
    messages = [text for row in FAULT.findall(table) for text in re.findall("`(.+?)`", row)]
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    assert messages
    assert [each for each in messages if re.sub(r" \(\w+\)$", "", each) not in source] == []
