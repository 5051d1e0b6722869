"""Record a rotation from Python: what is recorded, and why nothing is recorded."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import NOW, V1, good_keys
from pydantic import SecretStr
from races import just_before

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy, SecretSettings, check
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import draft
from robodj_secretguard.lifecycle.standing import record_rotation

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from robodj_secretguard.lifecycle.standing import Recording


class Issued(SecretSettings):
    """A service whose only secret is a vendor's."""

    password: Annotated[
        SecretStr,
        SecretPolicy(
            name="password",
            variable="PASSWORD",
            material=Material.opaque(),
            issuer="https://vendor.example",
            owner="A",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=7),
        ),
    ]


BEFORE = NOW - timedelta(days=30)
UNTIL = "2026-12-15T12:00:00Z"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, and a directory for its log."""
    machine = machine_at(tmp_path)
    machine.log.parent.mkdir(mode=0o700)
    return machine


def record(machine: Machine, **options: Any) -> Recording:
    """Record a rotation in `prod`."""
    options = {"environment": "prod", "operator": "dana"} | options
    log, gate = OperationsLog(str(machine.log)), partial(check, require_env_only=True)
    return machine.within(lambda: record_rotation(RuntimeSecrets, log, gate, **options))


class TestRefused:
    """Nothing is recorded, and the result says why."""

    def refusals(self, machine: Machine, **options: Any) -> list[tuple[str | None, str]]:
        """Return the secrets and the messages of a refusal."""
        before = machine.log.exists() and machine.log.read_bytes()
        recording = record(machine, **options)
        assert not recording.records
        assert (machine.log.exists() and machine.log.read_bytes()) == before
        return [(secret, problem.message) for secret, problem in recording.refusals.items()]

    def test_previous_key_that_is_revoked(self, machine: Machine) -> None:
        """A start has only a warning of a revoked previous key, and its record fails the gate."""
        machine.environ.update({f"{V1}_PREVIOUS": (key := good_keys()[V1]), f"{V1}_PREVIOUS_UNTIL": UNTIL})
        machine.write("revoked.fingerprints", f"{fingerprint_of(key)}\n")
        recording = record(machine)
        assert (recording.report.alerts[0].check, [*recording.refusals], recording.records) == ("revoked", [None], ())

    def test_key_that_is_revoked_meanwhile(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The check runs again when the log is locked."""
        key = machine.fingerprint()
        just_before(monkeypatch, OperationsLog, "locked", lambda: machine.write("revoked.fingerprints", key))
        assert record(machine).refusals.keys() == {None}

    def test_revocation_that_is_not_listed(self, machine: Machine) -> None:
        """A recorded revocation that is not on the list is an alert, so nothing is recorded."""
        gone = fingerprint_of(good_keys()[V1])
        machine.record(replace(draft("revoked", reason="leaked", fingerprint=gone), recorded_at=BEFORE))
        assert self.refusals(machine) == [(None, "the check failed")]

    def test_no_secret_can_be_seen_as_new(self, machine: Machine) -> None:
        """Where no declared secret can be seen to be new, the names are required."""
        machine.environ["PASSWORD"] = secrets.token_hex(16)
        log = OperationsLog(str(machine.log))
        with pytest.raises(UsageError, match=r"\ANAME is missing: no secret has a fingerprint"):
            machine.within(
                lambda: record_rotation(Issued, log, partial(check, Issued), environment="prod", operator="dana")
            )
        assert not machine.log.exists()

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            *(
                ("names", each, "unknown secret (choose from secret.key, secret_v2.key)")
                for each in (["own.key"], ["secret.key", "secret.kye"], "secret.key")
            ),
            *(
                ("attested", each, "unknown step in attested (choose from startup, functions)")
                for each in (["start"], ["startup", "log"], "startup")
            ),
        ],
    )
    def test_a_misspelled_name_is_refused(self, machine: Machine, name: str, value: Collection[str], why: str) -> None:
        """No secret and no step of the validation is left out. The name is not shown, as it could be a key."""
        with pytest.raises(UsageError) as caught:
            record(machine, **{name: value})
        assert (str(caught.value), machine.log.exists()) == (why, False)
