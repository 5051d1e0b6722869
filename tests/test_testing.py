"""The bad secrets for tests: exactly one check finds each of them."""

from __future__ import annotations

import functools
import os
import stat
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import pytest
from conftest import NOW, found, good_keys, listed, process_environment
from pydantic import SecretStr

from robodj_secretguard import Material, Report, RuntimeSecrets, SecretPolicy, SecretSettings, check
from robodj_secretguard.startup.inputs import MAX_CHARACTERS
from robodj_secretguard.testing import KINDS, OF_GENERATED, bad_secret, set_clock

POLICIES = {policy.name: policy for policy in RuntimeSecrets.secret_policies.values()}
K1, K2 = POLICIES
DAY = timedelta(days=1)
declared = functools.partial(SecretPolicy, owner="A", cadence=90 * DAY, warn_before=14 * DAY, overlap=7 * DAY)
KEY = declared(name="a.key", variable="A_KEY")
MATERIALS = {
    "opaque": Material.opaque(),
    "short": Material.opaque(4),
    "long": Material.opaque(100),
    "prefix": Material.opaque(prefix="sk_live_"),
    "url": Material.url("postgresql"),
    "pem": Material.pem(),
    "json": Material.json("private_key", "client_id"),
}


def others(**fields: Any) -> list[SecretPolicy]:
    """Declare a key, and two more secrets with these fields."""
    return [KEY, *(declared(name=f"{letter}.key", variable=f"{letter.upper()}_KEY", **fields) for letter in "bc")]


CASES = {
    K1: (0, [*POLICIES.values()]),
    K2: (1, [*POLICIES.values()]),
    "optional": (1, others(required=False)),
    **{name: (1, others(material=material)) for name, material in MATERIALS.items()},
}
"""All secrets of a model, and the number of the one that becomes bad: shipped, optional, and of each issued kind."""


@functools.cache
def model_of(case: str) -> type[SecretSettings]:
    """Return the model of a case."""
    fields = {
        each.variable: Annotated[SecretStr if each.required else SecretStr | None, each] for each in CASES[case][1]
    }
    return type("Own", (SecretSettings,), {"__annotations__": fields})


def make_bad(environ: dict[str, str], directory: Path, kind: str, secret: str) -> Report:
    """Make a secret of an environment bad, and check it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for name, value in bad_secret(kind, POLICIES[secret], tuple(POLICIES.values()), str(directory)).items():
        environ.pop(name, None)
        environ |= {} if value is None else {name: value}
    return check(environ=environ)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (case, kind)
        for case, kind in product(CASES, KINDS)
        if (case not in MATERIALS or kind not in OF_GENERATED) and (kind != "file-permissions" or os.name == "posix")
    ],
)
def test_each_kind_of_bad_secret_is_found(tmp_path: Path, kind: str, case: str) -> None:
    """The check has a finding, about that secret if possible. At most a fallback file is found as well.

    A few checks find only a generated key. No optional secret is set, except for the bad one.
    """
    number, policies = CASES[case]
    policy = policies[number]
    variables = bad_secret(kind, policy, policies, str(tmp_path))
    environ = {name: value for name, value in variables.items() if value is not None}
    findings = dict(found(check(model_of(case), environ=environ)))
    assert findings.pop(kind) in {None, policy.name, policies[-1].name if kind == "shared" else policy.name}
    assert findings.keys() <= {"file-fallback"}
    assert [
        each.name for each in policies if not each.required and each is not policy and each.variable in environ
    ] == []


def test_bad_values_are_far_from_their_limits(tmp_path: Path) -> None:
    """A bad value is far enough from its limit that a new key or a slow test does not change the finding."""
    marker = POLICIES[K1].expiry_variable

    def value(kind: str, name: str = marker) -> str:
        return str(bad_secret(kind, POLICIES[K1], tuple(POLICIES.values()), str(tmp_path))[name])

    for kind, days in (("expired", 0), ("expiring", 7), ("cadence", 180)):
        ahead = datetime.fromisoformat(value(kind)) - datetime.now(UTC)
        assert abs(ahead - timedelta(days=days)) < timedelta(minutes=1)
    assert "T" in value("near-miss", marker[:-1])
    value("file-unsafe")
    assert (tmp_path / "secret.key").stat().st_size == MAX_CHARACTERS + 1


@pytest.mark.skipif(os.name != "posix", reason="modes are judged on POSIX only")
def test_key_files_are_private(tmp_path: Path) -> None:
    """A key's file and its directory are private, unless that is the fault. Anybody may read a list."""
    below = POLICIES[K1]._replace(file="config/keys/more/secret.key")
    for kind, path, mode in (
        ("file-fallback", "keys/more/secret.key", 0o600),
        ("file-fallback", "keys/more", 0o700),
        ("file-permissions", "keys/more/secret.key", 0o644),
        ("revocation-list", "revoked.fingerprints", 0o644),
    ):
        bad_secret(kind, below, (below,), str(tmp_path))
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == mode


@pytest.mark.parametrize("secret", POLICIES)
def test_revoked_key_is_alone_on_the_list(tmp_path: Path, secret: str) -> None:
    """The list is in the environment, and only has that key."""
    report = make_bad({}, tmp_path, "revoked", secret)
    assert (found(report), listed(report)) == (
        [("revoked", secret)],
        (("file:config/revoked.fingerprints", "environment"), 1),
    )


def test_only_the_last_fault_remains(tmp_path: Path) -> None:
    """After a secret was made bad in several ways, only the last fault remains."""
    environ = {"ROBODJ_REVOKED_FINGERPRINTS": "wrong"}
    for number, kind in enumerate(KINDS):
        make_bad(environ, tmp_path / str(number), kind, K1)
    assert found(make_bad(environ, tmp_path / "last", "expired", K1)) == [("expired", K1)]


def test_required_list_has_no_entry(tmp_path: Path) -> None:
    """The list for a model that requires one has no entry."""
    assert listed(make_bad({}, tmp_path, "missing", K1)) == (("file:config/revoked.fingerprints",), 0)


def test_clock_has_a_timezone() -> None:
    """A clock without a timezone is an error. `None` is the clock of the system again."""
    with process_environment(good_keys()):
        made = RuntimeSecrets()
    with pytest.raises(ValueError, match="the clock must return a time with a timezone"):
        set_clock(made, lambda: NOW.replace(tzinfo=None))
    set_clock(made, None)
    assert made.secret_key.accepted()
