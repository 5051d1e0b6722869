"""A scan with real kinds of issued secrets: every form in files and in git's history is found, and none is shown."""

from __future__ import annotations

import base64
import json
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import pytest
from command_line import Machine, machine_at
from conftest import posix_only
from detector import leaks
from pydantic import SecretStr
from repositories import commit, git, made
from values import block

from robodj_secretguard import Material, SecretPolicy, SecretSettings
from robodj_secretguard.scan.search import parts_of
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = timedelta(days=1)
KINDS = {
    "DATABASE_URL": Material.url("postgresql"),
    "STRIPE_API_KEY": Material.opaque(prefix="sk_live_"),
    "SMTP_PASSWORD": Material.opaque(),
    "SIGNING_KEY": Material.pem(),
    "CLOUD_CREDENTIALS": Material.json("private_key", "client_secret"),
}
FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "url": lambda text: quote(text, safe="").encode(),
    "json": lambda text: json.dumps({"a": text}).encode(),
    "json in json": lambda text: json.dumps(json.dumps({"a": text})).encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 in lines": lambda text: base64.encodebytes(f"user:{text}".encode()),
    "base64 in base64": lambda text: base64.b64encode(base64.b64encode(text.encode())),
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "YAML block": lambda text: "".join(f"    {line}\n" for line in text.splitlines()).encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
}


def policy(variable: str, material: Material) -> SecretPolicy:
    """Return the policy of an issued secret."""
    name, issuer = variable.lower(), "https://vendor.example"
    return SecretPolicy(
        name=name, variable=variable, owner="A", cadence=90 * DAY, warn_before=DAY, material=material, issuer=issuer
    )


class Service(SecretSettings):
    """A service with a secret of each kind."""

    database: Annotated[SecretStr, policy("DATABASE_URL", KINDS["DATABASE_URL"])]
    stripe: Annotated[SecretStr, policy("STRIPE_API_KEY", KINDS["STRIPE_API_KEY"])]
    smtp: Annotated[SecretStr, policy("SMTP_PASSWORD", KINDS["SMTP_PASSWORD"])]
    signing: Annotated[SecretStr, policy("SIGNING_KEY", KINDS["SIGNING_KEY"])]
    cloud: Annotated[SecretStr, policy("CLOUD_CREDENTIALS", KINDS["CLOUD_CREDENTIALS"])]


def pem() -> str:
    """Return a private key as PEM. Its bytes are random, but for the length of the DER."""
    return block("PRIVATE KEY", b"\x30\x82\x02\x58\x02\x01\x00" + secrets.token_bytes(597))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a good value of each secret."""
    machine_at(tmp_path)
    private_key, client_secret = pem(), secrets.token_urlsafe(18)
    return Machine(
        tmp_path,
        {
            "DATABASE_URL": f"postgresql://orders:{secrets.token_urlsafe(9)}%24%2F.x{secrets.token_hex(5)}@db/orders",
            "STRIPE_API_KEY": f"sk_live_{secrets.token_hex(12)}",
            "SMTP_PASSWORD": f"a b${secrets.token_urlsafe(18)}/:",
            "SIGNING_KEY": pem(),
            "CLOUD_CREDENTIALS": json.dumps({"private_key": private_key, "client_secret": client_secret, "id": 7}),
        },
    )


@posix_only
def test_every_form_is_found_and_not_shown(machine: Machine) -> None:
    """The parts of each kind are found in every form, in files and in the history. No output has six characters."""
    planted: dict[str, str] = {}
    hidden: list[str] = []
    for variable, kind in KINDS.items():
        value = SealedStr(machine.environ[variable])
        parts = [*parts_of(value, kind)]
        hidden += [part.get_secret_value() for part, _ in parts]
        for part in {part.get_secret_value() for part, is_searched in parts if is_searched}:
            for form, write in FORMS.items():
                name = f"planted-{len(planted)}"
                (machine.root / name).write_bytes(b"x: " + write(part) + b"\n")
                planted[name] = f"{variable} {form}"
    git(made(machine.root), "add", "--force", ".")
    commit(machine.root)
    words = ("scan", ".", "--git-history", "--model", "test_issued_scan:Service")
    ran = machine.call(*words, "--format", "json")
    text = machine.call(*words)
    found: dict[str, set[str]] = {"file": set(), "history": set()}
    for finding in json.loads(ran.out)["findings"]:
        paths = [finding["path"]] if finding["path"] else [carrier["path"] for carrier in finding["carriers"]]
        found.get(finding["where"], set()).update(paths)
    missing = [(where, planted[name]) for where, paths in found.items() for name in planted if name not in paths]
    assert missing == []
    # By chance, an id of git may have six characters of a hexadecimal key.
    shown = re.sub(r"\b[0-9a-f]{40}\b", "", ran.out + ran.err + text.out + text.err)
    assert leaks(shown, hidden) == []
    assert "For smtp_password, issue a new one at https://vendor.example" in text.out
    assert "revoke" not in text.out
