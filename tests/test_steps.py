"""Taking the steps of a rotation: what is written, recorded and returned, with a manager in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import clock, fingerprint_of, rotated
from conftest import NOW, V1, V2, good_keys, put

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy
from robodj_secretguard.errors import FileError, ManagerError, UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.steps import MAX_SKEW, Rotator, StepResult
from robodj_secretguard.managers.manager import CONFLICT, Store, Stored, sealed
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from robodj_secretguard.lifecycle.records import Record, StepName
    from robodj_secretguard.secret.sealed import SealedStr

POLICY = RuntimeSecrets.secret_policies["secret_key"]
SINGLE = POLICY._replace(overlap=timedelta(0))
VENDOR = SecretPolicy(
    name="vendor.password",
    variable="VENDOR_PASSWORD",
    material=Material.opaque(),
    issuer="https://vendor.example",
    owner="A",
    cadence=timedelta(days=90),
    warn_before=timedelta(days=7),
    overlap=timedelta(days=7),
)
NEXT, PREVIOUS, UNTIL = POLICY.slot_variables
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OTHERS = {"OTHER": "text", "NUMBER": 5, "NESTED": {"A": [1.5, None]}}
LOST = ManagerError("did not answer in time", "wait", is_temporary=True)


class Memory(Store):
    """A manager that has one version.

    Attributes:
        fields: the fields of the current version.
        clock: its time; `None` where it tells none.
        error: what a write raises, before it changes anything.
        writes: how many versions were written.
    """

    def __init__(self) -> None:
        super().__init__("memory:robodj")
        self.fields: dict[str, Any] = {**good_keys(), **OTHERS}
        self.clock: datetime | None = None
        self.error: ManagerError | None = None
        self.writes = 0

    def current(self, seconds: float) -> Stored:
        del seconds
        return Stored(sealed(self.fields), str(self.writes), read_at=self.clock)

    def write(self, fields: SealedStr, current: Stored, seconds: float) -> None:
        del seconds
        if self.error:
            raise self.error
        assert current.version == str(self.writes)
        self.fields, self.writes = Stored(fields, "").opened(), self.writes + 1


class ReadOnlyLog(OperationsLog):
    """A log that has some records, and gets no further one."""

    is_locked = True

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__("nowhere")
        self.records = tuple(records)

    def append(self, records: Sequence[Record]) -> tuple[Record, ...]:
        del records
        return ()


class Desk:
    """An operator with a manager and an operations log."""

    def __init__(self, log: Path) -> None:
        self.store, self._log, self.config = Memory(), OperationsLog(str(log)), log.parent

    def take(
        self,
        step: StepName | None,
        now: datetime = NOW,
        *,
        environment: str = "prod",
        policy: SecretPolicy = POLICY,
        reason: str | None = "leaked",
        recorded: bool = True,
        known: Sequence[Record] = (),
        **how: Any,
    ) -> StepResult:
        """Take a step at a time, and record it or not."""
        options = ("--to", self.store.name, "--environment", environment)
        rotator = Rotator(
            RuntimeSecrets,
            self.store,
            environment=environment,
            operator="Ada",
            reason=reason,
            config_dir=str(self.config),
            options=options,
        )
        with clock(now):
            if not recorded:
                return rotator.take(policy, step, log=ReadOnlyLog(known), **how)
            with self._log.locked():
                return rotator.take(policy, step, log=self._log, **how)

    def revoke(self, variable: str, where: str) -> dict[str, Any]:
        """Revoke a key of the manager. Return arguments for `take`."""
        key = fingerprint_of(self.store.fields[variable])
        if where == "the manager":
            entries = self.store.fields.get(REVOKED_FINGERPRINTS, "")
            self.store.fields |= {REVOKED_FINGERPRINTS: f"{entries},{key}"}
        if where == "this machine":
            put(self.config / "revoked.fingerprints", key, 0o644)
        return {"known": [rotated(NOW, key, event="revoked")]} if where == "the log" else {}

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the log."""
        self._log.read()
        return self._log.records


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An operator with a manager that has good keys, and no record."""
    return Desk(tmp_path / "log")


def refusal(result: StepResult) -> tuple[str, str]:
    """Return why a step was refused, and the remedy."""
    assert (result.outcome, result.refusal is None) == ("refused", False)
    assert result.refusal is not None
    return result.refusal.message, result.refusal.remedy


class TestDone:
    """A step that is taken."""

    def test_a_rotation_writes_each_step_once(self, desk: Desk) -> None:
        """Each step is one write and one record. Fields that are nobody's business stay."""
        old = desk.store.fields[V1]
        results = [desk.take("stage"), desk.take("promote", NOW + HOUR), desk.take("retire", NOW + 15 * DAY)]
        assert [result.outcome for result in results] == ["done"] * 3
        assert [result.fields for result in results[::2]] == [[NEXT], [PREVIOUS, UNTIL]]
        assert desk.store.writes == 3
        assert [record.event for record in desk.records] == [
            "staged",
            "rotation-incomplete",
            "retired",
        ]
        assert results[1].rotated is not None
        assert results[1].rotated.replaced == fingerprint_of(old)
        assert desk.store.fields.items() >= OTHERS.items()

    def test_the_step_that_is_due_is_taken(self, desk: Desk) -> None:
        """Without a step, the one that is due is taken; one that must wait is not refused."""
        assert (desk.take(None).step, desk.store.writes) == ("stage", 1)
        waiting = desk.take(None)
        assert (waiting.step, waiting.outcome, desk.store.writes) == ("promote", "nothing-to-do", 1)
        assert waiting.refusal is not None
        assert waiting.refusal.remedy == "run this command again after 2026-12-01T13:00:00Z"
        assert desk.take(None, NOW + HOUR).outcome == "done"
        nothing = desk.take(None, NOW + HOUR)
        assert (nothing.step, nothing.outcome) == (None, "nothing-to-do")

    def test_a_step_that_is_done_writes_nothing(self, desk: Desk) -> None:
        """A repeated step has nothing to do. With `is_now`, another next key is stored."""
        desk.take("stage")
        first = desk.store.fields[NEXT]
        again = desk.take("stage")
        assert (again.outcome, again.step, desk.store.writes) == ("nothing-to-do", "stage", 1)
        assert desk.take("stage", is_now=True).outcome == "done"
        assert desk.store.fields[NEXT] != first

    def test_a_dry_run_writes_nothing(self, desk: Desk) -> None:
        """A dry run returns the fields that would change."""
        result = desk.take("stage", recorded=False, dry_run=True)
        assert (result.outcome, result.fields, desk.store.writes) == ("would-be-done", [NEXT], 0)

    def test_an_emergency_shows_the_alerts_of_other_secrets(self, desk: Desk) -> None:
        """An emergency needs only its own fields, and does not wait for the right clock."""
        desk.store.fields |= {V2: 5}
        desk.store.clock = NOW + DAY
        result = desk.take("replace", recorded=False)
        assert (result.outcome, result.step, result.now) == ("done", "replace", NOW + DAY)
        assert [finding.secret for finding in result.findings] == []
        desk.store.fields |= {V2: "changeme"}
        result = desk.take("replace", recorded=False, is_now=True)
        assert [(finding.secret, str(finding.check)) for finding in result.findings] == [
            ("secret_v2.key", "placeholder")
        ]

    def test_an_emergency_of_a_key_that_two_secrets_have(self, desk: Desk) -> None:
        """The key is replaced and revoked, although the other secret has a revoked key from then on."""
        desk.store.fields |= {V1: desk.store.fields[V2]}
        result = desk.take("replace", recorded=False)
        assert (result.outcome, [(each.secret, str(each.check)) for each in result.findings]) == (
            "done",
            [("secret_v2.key", "revoked")],
        )


class TestRecords:
    """The operations log gets every step, sooner or later."""

    def test_a_lost_record_is_recovered(self, desk: Desk) -> None:
        """A step that the manager has and the log does not is recorded by the next command, and once."""
        desk.take("stage", recorded=False)
        result = desk.take("stage")
        assert [record.event for record in result.recovered] == ["staged"]
        assert desk.take("stage").recovered == ()
        assert [each["event"] for each in result.as_dict()["records"]] == ["staged"]

    def test_without_a_log_the_next_step_waits(self, desk: Desk) -> None:
        """While an earlier step cannot be recorded, no further one is taken, except in an emergency."""
        desk.take("stage", NOW + DAY, recorded=False)
        result = desk.take("promote", NOW, is_now=True)
        assert (result.outcome, result.refusal, desk.store.writes) == ("refused", None, 1)
        assert result.unrecorded == [
            "the clock (2026-12-01T12:00:00Z) is earlier than 2026-12-02T12:00:00Z; set the clock"
        ]
        assert desk.take("replace").outcome == "done"


class TestRefused:
    """A step that is not taken: nothing is written."""

    def test_too_early(self, desk: Desk) -> None:
        """A step that the operator named is refused where it must wait."""
        desk.take("stage")
        message, _ = refusal(desk.take("promote"))
        assert message.startswith("the next key of secret.key has its place since ")

    def test_a_wrong_clock(self, desk: Desk) -> None:
        """A difference between the clocks would move the deadlines."""
        desk.store.clock = NOW + MAX_SKEW
        assert desk.take("stage", dry_run=True).outcome == "would-be-done"
        desk.store.clock = NOW + MAX_SKEW + timedelta(seconds=1)
        message, remedy = refusal(desk.take("stage"))
        assert (message[:36], remedy) == ("this machine's clock is 2026-12-01T1", "set the clock that is wrong")

    def test_another_environment(self, desk: Desk) -> None:
        """A step for another environment is a mistake in an option. `stage` with `is_now` corrects an earlier one."""
        desk.take("stage", environment="prd")
        message, remedy = refusal(desk.take("promote", NOW + HOUR))
        assert message == "secret.key in memory:robodj is of the environment prd"
        assert remedy.startswith("pass --environment prd, or correct --to")
        known = [rotated(NOW, fingerprint_of(desk.store.fields[V1]), environment="dev")]
        del desk.store.fields[ROTATION_RECORD]
        assert refusal(desk.take("stage", recorded=False, known=known))[0].endswith("of the environment dev")
        assert desk.take("stage", recorded=False, known=known, is_now=True).outcome == "done"

    def test_an_older_version(self, desk: Desk) -> None:
        """A version that was restored is older than the log."""
        desk.take("stage")
        staged = desk.store.fields
        desk.take("promote", NOW + HOUR)
        desk.store.fields = staged
        for step in ("promote", "stage", None):
            message, _ = refusal(desk.take(step, NOW + HOUR, is_now=step is not None))
            assert message.startswith("memory:robodj is at an older step than the operations log (rotation-incomplete")

    def test_a_promotion_without_a_next_key(self, desk: Desk) -> None:
        """The remedy is the whole command that stages one."""
        stage = "run robodj-secretguard rotate stage secret.key --to memory:robodj --environment prod"
        remedy = f"{stage}, and run this command again an hour later"
        assert refusal(desk.take("promote")) == ("secret.key has no next key", remedy)

    @pytest.mark.parametrize("bad", ["changeme", "short"])
    def test_a_next_key_that_no_service_accepts(self, desk: Desk, bad: str) -> None:
        """Such a key is not promoted. The remedy replaces it."""
        desk.store.fields[NEXT] = bad
        message, remedy = refusal(desk.take("promote", is_now=True))
        assert message == "the new version would have these alerts"
        command = "robodj-secretguard rotate stage secret.key --to memory:robodj --environment prod --now"
        assert remedy == f"run {command}"

    def test_an_old_key(self, desk: Desk) -> None:
        """A key that the log knows as another one is not promoted. After `back`, only the withdrawn one is."""
        desk.take("stage")
        desk.take("promote", NOW + HOUR)
        desk.take("back", NOW + HOUR)
        known = desk.records
        assert (
            desk.take("promote", NOW + 2 * HOUR, recorded=False, known=known, is_now=True, dry_run=True).outcome
            != "refused"
        )
        old = rotated(NOW - DAY, fingerprint_of(desk.store.fields[NEXT]), environment="dev")
        message, _ = refusal(desk.take("promote", NOW + 2 * HOUR, recorded=False, known=[old, *known], is_now=True))
        assert message == "the environment dev has this key, and each environment needs its own"
        desk.store.fields[NEXT] = good_keys()[V1]
        old = rotated(NOW - DAY, fingerprint_of(desk.store.fields[NEXT]))
        message, _ = refusal(desk.take("promote", NOW + 2 * HOUR, recorded=False, known=[old, *known], is_now=True))
        assert message.startswith("this is an old key, recorded at ")

    @pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])
    def test_a_revoked_next_key(self, desk: Desk, where: str) -> None:
        """A next key that is revoked is not promoted, also with `is_now`. The remedy replaces it."""
        desk.take("stage", recorded=False)
        how = desk.revoke(NEXT, where)
        message, remedy = refusal(desk.take("promote", is_now=True, recorded=False, **how))
        why = "this key was revoked at " if how else "the new version would have these alerts"
        assert message.startswith(why)
        assert remedy.startswith("run robodj-secretguard rotate stage secret.key --to memory:robodj")

    @pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])
    def test_a_revoked_previous_key(self, desk: Desk, where: str) -> None:
        """A previous key that is revoked is retired before its deadline, and does not delay a promotion."""
        for step in ("stage", "promote", "stage"):
            desk.take(step, is_now=True, recorded=False)
        how = desk.revoke(PREVIOUS, where)
        assert desk.take(None, dry_run=True, recorded=False, **how).step == "retire"
        assert desk.take("promote", NOW + HOUR, dry_run=True, recorded=False, **how).outcome == "would-be-done"
        assert desk.take("retire", recorded=False, **how).outcome == "done"

    @pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])
    def test_a_revoked_current_key_gets_no_place(self, desk: Desk, where: str) -> None:
        """A current key that is revoked is not kept as the previous key."""
        desk.take("stage", recorded=False)
        how = desk.revoke(V1, where)
        assert desk.take("promote", NOW + HOUR, recorded=False, **how).outcome == "done"
        assert not {PREVIOUS, UNTIL} & {*desk.store.fields}


class TestUsage:
    """A call that no result answers: it is an error, and nothing is written."""

    @pytest.mark.parametrize("step", ["replace", "stage", "promote", "retire", "back", None])
    def test_the_secret_of_a_vendor_has_no_steps(self, desk: Desk, step: StepName | None) -> None:
        """No text that this library generates replaces a vendor's secret, and no fingerprint of it is listed."""
        before = dict(desk.store.fields)
        with pytest.raises(UsageError) as caught:
            desk.take(step, policy=VENDOR, recorded=False)
        emergency = " --emergency" if step == "replace" else ""
        assert str(caught.value) == (
            "vendor.password has no such steps: a vendor issues it; run robodj-secretguard rotate plan vendor.password"
            f"{emergency}"
        )
        assert (desk.store.fields, desk.store.writes) == (before, 0)

    @pytest.mark.parametrize("step", ["stage", "promote", "retire", "back"])
    def test_a_secret_without_an_overlap_has_no_single_steps(self, desk: Desk, step: StepName) -> None:
        """Without an overlap, no service reads a next or a previous key."""
        with pytest.raises(UsageError, match=r"\Asecret\.key has no such steps: it has no overlap; run "):
            desk.take(step, policy=SINGLE, recorded=False)
        assert desk.store.writes == 0

    @pytest.mark.parametrize(("step", "writes"), [("replace", 1), (None, 0)])
    def test_a_secret_without_an_overlap_has_an_emergency(self, desk: Desk, step: StepName | None, writes: int) -> None:
        """An emergency needs no overlap. Otherwise, no step is due."""
        assert desk.take(step, policy=SINGLE, recorded=False).outcome == ("done" if writes else "nothing-to-do")
        assert desk.store.writes == writes

    def test_a_log_that_is_not_locked_is_refused_before_the_write(self, desk: Desk, tmp_path: Path) -> None:
        """Without the lock nothing could be recorded, so nothing is written."""
        with pytest.raises(UsageError, match="the operations log is not locked"):
            Rotator(RuntimeSecrets, desk.store, environment="prod", operator="Ada").take(
                POLICY, "stage", log=OperationsLog(str(tmp_path / "log"))
            )

    def test_a_log_that_is_later_than_the_clock_is_refused_before_the_write(self, desk: Desk) -> None:
        """The manager would have a step that cannot be recorded. An emergency and a dry run do not wait."""
        ahead = [rotated(NOW + DAY, f"sgfp1:{'0' * 32}")]
        with pytest.raises(FileError) as caught:
            desk.take("stage", recorded=False, known=ahead)
        assert str(caught.value) == "its last record is later than this machine's clock; set the clock"
        assert desk.store.writes == 0
        assert desk.take("stage", recorded=False, known=ahead, dry_run=True).outcome == "would-be-done"
        assert desk.take("replace", recorded=False, known=ahead).outcome == "done"

    @pytest.mark.parametrize(
        ("step", "fleet", "why"),
        [
            ("promote", [], "pass --fleet or --now: --now does not wait for evidence"),
            (None, None, "rotate run takes --now only with --emergency; the single steps have their own --now"),
        ],
    )
    def test_haste_excludes_evidence_and_needs_a_step(
        self, desk: Desk, step: StepName | None, fleet: list[Any] | None, why: str
    ) -> None:
        """Evidence would be ignored, and a step that is due could be a promotion within the hour of its next key."""
        desk.take("stage")
        with pytest.raises(UsageError, match=rf"\A{why}\Z"):
            desk.take(step, is_now=True, fleet=fleet)
        assert desk.store.writes == 1

    def test_a_text_that_cannot_be_recorded(self, desk: Desk) -> None:
        """An invalid text of the operator is refused, and is not shown."""
        with pytest.raises(UsageError) as caught:
            desk.take("stage", reason=(text := "two\nlines"))
        assert str(caught.value).startswith("invalid reason; ")
        assert text not in str(caught.value)


class TestManager:
    """A manager that delivers nothing, or does not take the write."""

    def test_it_delivers_nothing(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The result has the alert about the source."""

        def deny(_: float) -> None:
            message, remedy = "does not exist", "correct it"
            raise ManagerError(message, remedy)

        monkeypatch.setattr(desk.store, "current", deny)
        result = desk.take("stage")
        assert (result.outcome, result.keys.filled, result.fields) == ("refused", frozenset(), [])
        assert [(finding.message, str(finding.check)) for finding in result.findings] == [
            ("memory:robodj does not exist", "source")
        ]

    @pytest.mark.parametrize(("error", "is_lost"), [(LOST, True), (ManagerError(*CONFLICT), False)])
    def test_it_does_not_take_the_write(self, desk: Desk, error: ManagerError, *, is_lost: bool) -> None:
        """A write without an answer may have been done. After a conflict, nothing was written."""
        desk.store.error = error
        result = desk.take("stage")
        assert (result.outcome, result.fields) == ("refused", [NEXT])
        assert [str(finding.check) for finding in result.findings] == ["unavailable" if is_lost else "source"]

    def test_a_field_that_cannot_be_checked(self, desk: Desk) -> None:
        """A key that is not a text is an alert about the source, and not a refusal."""
        desk.store.fields[V2] = 5
        result = desk.take("stage")
        assert (result.refusal, [finding.message for finding in result.findings]) == (
            None,
            [f"memory:robodj has {V2}, but it is not a string"],
        )


def test_a_result_shows_no_key(desk: Desk) -> None:
    """Neither the attributes of a result nor its document have a key."""
    result = desk.take("stage")
    keys = [value for name, value in desk.store.fields.items() if name in {V1, V2, NEXT}]
    shown = repr(vars(result)) + repr(result.as_dict())
    assert [key for key in keys if key in shown] == []
    assert result.now <= datetime.now(UTC) or result.now == NOW
