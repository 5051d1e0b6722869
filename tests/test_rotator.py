"""The steps of a rotation, taken in a store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import OTHER, fingerprint_of
from conftest import NOW, V1, V2, good_keys, marker, raising
from fleets import GONE
from rotations import (
    AGAIN,
    BACK,
    DATA,
    DAY,
    EXPIRES,
    HOUR,
    MINUTE,
    NEXT,
    OTHERS,
    OVERLAP,
    POLICY,
    PREVIOUS,
    SINGLE,
    UNTIL,
    VENDOR,
    Desk,
)

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.errors import FileError, ManagerError, UsageError
from robodj_secretguard.lifecycle.records import StepName
from robodj_secretguard.lifecycle.rotator import KEPT_AFTER_END, StepResult
from robodj_secretguard.managers.manager import CONFLICT
from robodj_secretguard.startup.inputs import ENVIRONMENT, REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An operator with a manager that has good keys, and no record."""
    return Desk(tmp_path / "log")


def refusal(result: StepResult) -> tuple[str, str]:
    """Return why a step was refused, and the remedy."""
    assert result.outcome == "refused"
    assert result.refusal is not None
    return result.refusal.message, result.refusal.remedy


RUN = "run robodj-secretguard rotate"
STAGE = f"{RUN} stage secret.key --to memory:robodj"
NO_NEXT = "secret.key has no next key"
WAIT = f"the next key of secret.key has its place since {iso_utc(NOW)}; every instance needs it first"
ALERTS = "the new version would have these alerts"


class TestTaken:
    """A step that is taken, and its record."""

    def test_a_rotation_writes_each_step_once(self, desk: Desk) -> None:
        """Each step is one write and one record. Fields that are nobody's business stay."""
        old = desk.store.fields[V1]
        results = [desk.take("stage"), desk.take("promote", NOW + HOUR), desk.take("retire", NOW + 15 * DAY)]
        assert [result.outcome for result in results] == ["done"] * 3
        assert [result.fields for result in results[::2]] == [[NEXT], [PREVIOUS, UNTIL]]
        assert desk.store.writes == 3
        assert [each.event for each in desk.log.records] == ["staged", "rotation-incomplete", "retired"]
        assert results[1].after.slots.previous == fingerprint_of(old)
        assert desk.store.fields.items() >= OTHERS.items()

    def test_the_step_that_is_due_is_taken(self, desk: Desk) -> None:
        """Without a step, the one that is due is taken; one that must wait is not refused."""
        assert (desk.take(None).step, desk.store.writes) == ("stage", 1)
        waiting = desk.take(None)
        assert (waiting.step, waiting.outcome, desk.store.writes) == ("promote", "nothing-to-do", 1)
        assert (waiting.refusal and waiting.refusal.remedy) == "run this command again after 2026-12-01T13:00:00Z"
        assert desk.take(None, NOW + HOUR).outcome == "done"
        nothing = desk.take(None, NOW + HOUR)
        assert (nothing.step, nothing.outcome) == (None, "nothing-to-do")

    def test_a_step_that_is_done_writes_nothing(self, desk: Desk) -> None:
        """A repeated step has nothing to do. With `is_now`, another next key is stored. No result shows a key."""
        result = desk.take("stage", dry_run=True)
        assert (result.outcome, result.fields, desk.store.writes) == ("would-be-done", [NEXT], 0)
        result, first = desk.take("stage"), desk.store.fields[NEXT]
        again = desk.take("stage")
        assert (again.outcome, again.step, desk.store.writes) == ("nothing-to-do", "stage", 1)
        assert desk.take("stage", is_now=True).outcome == "done"
        assert desk.store.fields[NEXT] != first
        shown = repr(vars(result)) + repr(result.as_dict())
        assert [key for key in (first, desk.store.fields[V1], desk.store.fields[V2]) if key in shown] == []
        assert result.now == NOW

    def test_an_emergency_shows_the_alerts_of_other_secrets(self, desk: Desk) -> None:
        """An emergency needs only its own fields, and does not wait for the right clock."""
        desk.store.fields |= {V2: 5}
        desk.store.clock = NOW + DAY
        result = desk.take("replace", recorded=False)
        assert (result.outcome, result.now, result.findings) == ("done", NOW + DAY, [])
        desk.store.fields |= {V2: "changeme"}
        result = desk.take("replace", recorded=False, is_now=True)
        assert [(each.secret, str(each.check)) for each in result.findings] == [(OTHER, "placeholder")]
        desk.store.fields |= {V2: (good := good_keys()[V2]), V1: good}
        result = desk.take("replace", recorded=False, is_now=True)
        assert [(each.secret, str(each.check)) for each in result.findings] == [(OTHER, "revoked")]

    def test_a_lost_record_is_recovered(self, desk: Desk) -> None:
        """A step that the manager has and the log does not is recorded by the next command, and once."""
        desk.take("stage", recorded=False)
        assert [each["event"] for each in desk.take("stage").as_dict()["records"]] == ["staged"]
        assert desk.take("stage").recovered == ()

    def test_without_a_log_the_next_step_waits(self, desk: Desk) -> None:
        """While an earlier step cannot be recorded, no further one is taken, except in an emergency."""
        desk.take("stage", NOW + DAY, recorded=False)
        result = desk.take("promote", NOW, is_now=True)
        assert (result.outcome, result.refusal, desk.store.writes) == ("refused", None, 1)
        why = "the clock (2026-12-01T12:00:00Z) is earlier than 2026-12-02T12:00:00Z; set the clock"
        assert result.unrecorded == [why]
        assert desk.take("replace").outcome == "done"


PLACES = pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])


class TestRefused:
    """A step that is not taken: nothing is written."""

    def test_a_step_that_must_wait_is_refused(self, desk: Desk) -> None:
        """A remedy is the whole command that stages another key."""
        remedy = f"{STAGE}, and run this command again an hour later"
        assert refusal(desk.take("promote")) == (NO_NEXT, remedy)
        desk.take("stage")
        assert refusal(desk.take("promote"))[0] == WAIT
        desk.store.fields[NEXT] = "changeme"
        assert refusal(desk.take("promote", is_now=True)) == (ALERTS, f"{STAGE} --now")

    def test_a_wrong_clock(self, desk: Desk) -> None:
        """A difference between the clocks would move the deadlines."""
        desk.store.clock = NOW + 2 * MINUTE
        assert desk.take("stage", dry_run=True).outcome == "would-be-done"
        desk.store.clock = NOW + 2 * MINUTE + timedelta(seconds=1)
        result = desk.take("stage")
        message, remedy = refusal(result)
        assert (result.step, message[:36], remedy) == (
            "stage",
            "this machine's clock is 2026-12-01T1",
            "set the clock that is wrong",
        )

    def test_another_environment(self, desk: Desk) -> None:
        """A step for another environment is a mistake in an option. `stage` with `is_now` corrects an earlier one."""
        desk.take("stage", environment="prd")
        message, remedy = refusal(desk.take("promote", NOW + HOUR))
        assert message == "secret.key in memory:robodj is of the environment prd"
        assert remedy.startswith("pass --environment prd, or correct --to")
        desk.note(desk.store.fields[V1], environment="dev")
        del desk.store.fields[ROTATION_RECORD]
        assert refusal(desk.take("stage"))[0].endswith("of the environment dev")
        assert desk.take("stage", is_now=True).outcome == "done"

    def test_an_older_version(self, desk: Desk) -> None:
        """A version that was restored is older than the log. The fix is the command that brings the key back."""
        desk.take("stage")
        staged = desk.store.fields
        desk.take("promote", NOW + HOUR)
        promoted = desk.store.fields
        desk.store.fields = staged
        for step in ("promote", "stage", None):
            message, remedy = refusal(desk.take(step, NOW + HOUR, is_now=step is not None))
            assert message.startswith("memory:robodj is at an older step than the operations log (rotation-incomplete")
            key = fingerprint_of(promoted[V1])
            assert remedy == f"{RUN} restore secret.key --fingerprint {key} --to memory:robodj"
        assert desk.restore(promoted[V1], NOW + HOUR).outcome == "done"

    def test_a_step_that_an_older_version_lacks_is_taken_again(self, desk: Desk) -> None:
        """A next key that was lost is stored again, and a previous one that came back is removed again."""
        before = desk.store.fields
        desk.take("stage")
        desk.take("promote", NOW + HOUR)
        promoted = desk.store.fields
        desk.take("retire", late := NOW + 15 * DAY)
        desk.store.fields = promoted
        assert refusal(desk.take("stage", late))[1] == f"{RUN} retire secret.key --to memory:robodj"
        assert desk.take("retire", late).outcome == "done"
        desk.take("stage", late)
        desk.store.fields = {**before, ROTATION_RECORD: promoted[ROTATION_RECORD], V1: promoted[V1]}
        assert refusal(desk.take("retire", late))[1] == f"{RUN} stage secret.key --to memory:robodj"
        assert desk.take("stage", late).outcome == "done"

    def test_a_withdrawn_key_is_promoted_again(self, desk: Desk) -> None:
        """After `back`, the withdrawn key may be promoted, unless it is used elsewhere."""
        for step in BACK:
            desk.take(step, is_now=True)
        assert desk.take("promote", NOW + 2 * HOUR, is_now=True, dry_run=True).outcome == "would-be-done"
        desk.note(desk.store.fields[NEXT], NOW + HOUR, environment="dev")
        message, _ = refusal(desk.take("promote", NOW + 2 * HOUR, is_now=True))
        assert message == "the environment dev has this key, and each environment needs its own"

    def test_an_old_key_is_not_promoted(self, desk: Desk) -> None:
        """A key that the log knows from an earlier rotation is old."""
        desk.note(key := good_keys()[V1], NOW - DAY)
        desk.take("stage")
        desk.store.fields[NEXT] = key
        assert refusal(desk.take("promote", is_now=True))[0].startswith("this is an old key, recorded at ")

    @PLACES
    def test_a_revoked_next_key(self, desk: Desk, where: str) -> None:
        """A next key that is revoked is not promoted, also with `is_now`. The remedy replaces it."""
        desk.take("stage")
        desk.revoke(NEXT, where)
        message, remedy = refusal(desk.take("promote", is_now=True))
        assert message.startswith("this key was revoked at " if where == "the log" else ALERTS)
        assert remedy == f"{STAGE} --now"

    @PLACES
    def test_a_revoked_previous_key(self, desk: Desk, where: str) -> None:
        """A previous key that is revoked is retired before its deadline, and does not delay a promotion."""
        for step in AGAIN:
            desk.take(step, is_now=True)
        desk.revoke(PREVIOUS, where)
        assert desk.take(None, dry_run=True).step == "retire"
        assert desk.take("promote", NOW + HOUR, dry_run=True).outcome == "would-be-done"
        assert desk.take("retire").outcome == "done"

    @PLACES
    def test_a_revoked_current_key_gets_no_place(self, desk: Desk, where: str) -> None:
        """A current key that is revoked is not kept as the previous key."""
        desk.take("stage")
        desk.revoke(V1, where)
        assert desk.take("promote", NOW + HOUR).outcome == "done"
        assert not {PREVIOUS, UNTIL} & {*desk.store.fields}


NO_STEPS = "{} has no such step, as {}; run robodj-secretguard rotate put {}"
OF_VENDOR = NO_STEPS.format(VENDOR.name, "others issue it", VENDOR.name)
OF_SINGLE = NO_STEPS.format(POLICY.name, "it has no overlap", POLICY.name)
USAGE: dict[str, tuple[StepName | None, dict[str, Any], str]] = {
    **{f"a vendor's secret: {step}": (step, {"policy": VENDOR}, OF_VENDOR) for step in ("stage", "promote")},
    "a vendor's secret: replace": ("replace", {"policy": VENDOR}, OF_VENDOR),
    **{f"no overlap: {step}": (step, {"policy": SINGLE}, OF_SINGLE) for step in ("stage", "promote", "retire", "back")},
    "haste excludes evidence": (
        "promote",
        {"is_now": True, "fleet": []},
        "pass --fleet or --now: --now does not wait for evidence",
    ),
    "haste needs a step": (
        None,
        {"is_now": True},
        "rotate run takes --now only with --emergency; the single steps have their own --now",
    ),
    "an emergency has a reason": ("replace", {"reason": None}, "--emergency needs NAME and --reason"),
    "a text that cannot be recorded is not shown": ("stage", {"reason": "two\nlines"}, "invalid reason; "),
}


class TestUsage:
    """A call that no result answers: it is an error, and nothing is written."""

    @pytest.mark.parametrize(("step", "how", "why"), USAGE.values(), ids=USAGE)
    def test_a_step_that_there_is_not(self, desk: Desk, step: StepName | None, how: dict[str, Any], why: str) -> None:
        """No step replaces a vendor's secret. Without an overlap, no service reads a next or a previous key."""
        with pytest.raises(UsageError) as caught:
            desk.take(step, **how)
        assert (str(caught.value)[: len(why)], desk.store.writes) == (why, 0)

    def test_a_secret_without_an_overlap_has_an_emergency(self, desk: Desk) -> None:
        """An emergency needs no overlap. Otherwise, no step is due."""
        assert desk.take(None, policy=SINGLE).outcome == "nothing-to-do"
        assert desk.take("replace", policy=SINGLE).outcome == "done"

    def test_a_log_that_is_later_than_the_clock_is_refused_before_the_write(self, desk: Desk) -> None:
        """The manager would have a step that cannot be recorded. An emergency and a dry run do not wait."""
        desk.note(good_keys()[V1], NOW + DAY)
        with pytest.raises(FileError) as caught:
            desk.take("stage")
        assert str(caught.value) == "its last record is later than this machine's clock; set the clock"
        assert desk.store.writes == 0
        assert desk.take("stage", dry_run=True).outcome == "would-be-done"
        assert desk.take("replace").outcome == "done"


class TestManager:
    """A manager that delivers nothing, or does not take the write."""

    def test_it_delivers_nothing(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The result has the alert about the source. So it has for a field that cannot be checked."""
        desk.store.fields[V2] = 5
        result = desk.take("stage")
        message = f"memory:robodj has {V2}, but it is not a string"
        assert (result.refusal, [finding.message for finding in result.findings]) == (None, [message])
        monkeypatch.setattr(desk.store, "current", raising(ManagerError("does not exist", "correct it")))
        result = desk.take("stage")
        assert (result.outcome, result.keys.filled, result.fields) == ("refused", frozenset(), [])
        found = [(finding.message, str(finding.check)) for finding in result.findings]
        assert found == [("memory:robodj does not exist", "source")]

    def test_only_a_first_value_goes_into_nothing(self, desk: Desk) -> None:
        """A store that is not there has no key to rotate."""
        desk.store.fields = {}
        assert [str(each.check) for each in desk.take("stage").findings] == ["source"]

    @pytest.mark.parametrize(
        ("error", "check"),
        [
            (ManagerError("did not answer in time", "wait", is_temporary=True), "unavailable"),
            (ManagerError(*CONFLICT), "source"),
        ],
        ids=["no answer", "conflict"],
    )
    def test_it_does_not_take_the_write(self, desk: Desk, error: ManagerError, check: str) -> None:
        """A write without an answer may have been done. After a conflict, nothing was written."""
        desk.store.error = error
        result = desk.take("stage")
        assert (result.outcome, result.fields) == ("refused", [NEXT])
        assert [str(finding.check) for finding in result.findings] == [check]


class TestEmergency:
    """A leaked key goes in one write, whichever it is."""

    def test_which_key_leaked_must_be_known(self, desk: Desk) -> None:
        """While two keys verify, an emergency without a fingerprint would replace the innocent one."""
        desk.take("stage")
        desk.take("promote", is_now=True)
        message, remedy = refusal(desk.take("replace"))
        assert message == "secret.key has two keys that verify, so it must be known which one leaked"
        current, previous = (fingerprint_of(desk.store.fields[name]) for name in (V1, PREVIOUS))
        assert remedy == f"add --fingerprint {current} (the current key) or --fingerprint {previous} (the previous)"

    @pytest.mark.parametrize("variable", [NEXT, PREVIOUS])
    def test_the_current_key_stays(self, desk: Desk, variable: str) -> None:
        """A leaked next key is replaced, a previous one removed. Both are revoked at once."""
        for number, step in enumerate(AGAIN):
            desk.take(step, NOW + number * HOUR, is_now=True)
        before = desk.store.fields
        leaked = fingerprint_of(before[variable])
        result = desk.take("replace", NOW + 3 * HOUR, leaked=leaked)
        after = desk.store.fields
        assert (result.outcome, after[V1], after.get(variable) == before[variable]) == ("done", before[V1], False)
        assert next(each.event for each in result.records) == "revoked"
        assert leaked in after[REVOKED_FINGERPRINTS].split(",")
        assert (NEXT in after, PREVIOUS in after) == (True, variable == NEXT)
        assert not desk.store.keeps(before[variable])

    def test_an_emergency_without_a_fingerprint_is_done_once_in_an_hour(self, desk: Desk) -> None:
        """A repetition does not replace the new key."""
        assert desk.take("replace").outcome == "done"
        assert desk.take("replace", NOW + MINUTE).outcome == "nothing-to-do"
        assert desk.store.writes == 1

    def test_an_emergency_with_a_fingerprint_is_done_once(self, desk: Desk) -> None:
        """However often and late it is repeated: the leaked key has no place any more."""
        leaked = fingerprint_of(desk.store.fields[V1])
        assert desk.take("replace", leaked=leaked).outcome == "done"
        assert desk.take("replace", NOW + 2 * HOUR, leaked=leaked).outcome == "nothing-to-do"
        assert desk.store.writes == 1

    def test_a_key_that_is_in_no_slot_is_revoked_alone(self, desk: Desk) -> None:
        """Nothing in the store needs a change. The next line revokes the key."""
        message, remedy = refusal(desk.take("replace", leaked=GONE))
        assert message == f"memory:robodj does not have the key {GONE}"
        revoke = f"robodj-secretguard revoke secret.key --fingerprint {GONE}"
        assert remedy == f"run {revoke} --reason leaked --unknown --yes"

    @pytest.mark.parametrize("keeps_versions", [True, False])
    def test_stored_data_keeps_its_key(self, desk: Desk, *, keeps_versions: bool) -> None:
        """The leaked key stays in an earlier version. Where there is none, it stays as a revoked previous key."""
        if not keeps_versions:
            desk.store.purges = False
            desk.store.versions = lambda: ()  # type: ignore[method-assign]
        old = desk.store.fields[V1]
        assert desk.take("replace", policy=DATA).outcome == "done"
        assert (desk.store.fields.get(PREVIOUS) == old) is not keeps_versions
        assert desk.store.keeps(old)

    def test_a_store_that_cannot_list_its_versions_keeps_the_key_too(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a version has is not known, so the key is not taken away."""
        monkeypatch.setattr(desk.store, "versions", raising(ManagerError("was not read", "log in")))
        desk.store.purges = False
        old = desk.store.fields[V1]
        assert desk.take("replace", policy=DATA).outcome == "done"
        assert desk.store.fields[PREVIOUS] == old

    def test_a_key_that_was_kept_for_its_data_is_not_taken_twice(self, desk: Desk) -> None:
        """The repeated command of an emergency writes nothing, and keeps the key for its data."""
        desk.store.purges = False
        desk.store.versions = lambda: ()  # type: ignore[method-assign]
        old = desk.store.fields[V1]
        leaked = fingerprint_of(old)
        assert desk.take("replace", policy=DATA, leaked=leaked).outcome == "done"
        assert desk.take("replace", NOW + MINUTE, policy=DATA, leaked=leaked).outcome == "nothing-to-do"
        assert (desk.store.writes, desk.store.fields[PREVIOUS]) == (1, old)

    def test_a_kept_previous_key_is_not_recorded_as_removed(self, desk: Desk) -> None:
        """It is revoked, and it stays for its data where no version keeps it."""
        desk.take("stage", policy=DATA)
        desk.take("promote", is_now=True, policy=DATA)
        desk.store.purges = False
        desk.store.versions = lambda: ()  # type: ignore[method-assign]
        previous = desk.store.fields[PREVIOUS]
        result = desk.take("replace", policy=DATA, leaked=fingerprint_of(previous))
        assert [each.event for each in result.records] == ["revoked"]
        assert (result.is_kept, desk.store.fields[PREVIOUS]) == (True, previous)

    @pytest.mark.parametrize("keeps_versions", [True, False])
    def test_the_data_of_the_previous_key_is_not_forgotten(self, desk: Desk, *, keeps_versions: bool) -> None:
        """The previous key goes too. It is named. Where no version keeps it, its data comes first."""
        desk.take("stage", policy=DATA)
        desk.take("promote", is_now=True, policy=DATA)
        if not keeps_versions:
            desk.store.purges = False
            desk.store.versions = lambda: ()  # type: ignore[method-assign]
        current, previous = (fingerprint_of(desk.store.fields[name]) for name in (V1, PREVIOUS))
        result = desk.take("replace", policy=DATA, leaked=current)
        if keeps_versions:
            assert (result.outcome, result.dropped) == ("done", previous)
        else:
            assert refusal(result)[0].startswith("stored data may need the previous key")
            assert desk.take("replace", policy=DATA, leaked=current, data_done=previous).dropped is None

    def test_an_emergency_does_not_wait_for_an_environment(self, desk: Desk) -> None:
        """The log that names it may be unreadable."""
        assert desk.take("replace", environment=None, recorded=False).outcome == "done"


class TestStoredData:
    """A key that has encrypted stored data goes only after that data is encrypted again."""

    @pytest.mark.parametrize("is_now", [True, False])
    def test_a_previous_key_waits_for_its_data(self, desk: Desk, *, is_now: bool) -> None:
        """`--now` does not replace the answer. A wrong key id is refused with the right one."""
        desk.take("stage", policy=DATA)
        desk.take("promote", is_now=True, policy=DATA)
        late = NOW + 15 * DAY
        kid = fingerprint_of(desk.store.fields[PREVIOUS]).removeprefix("sgfp1:")
        message, remedy = refusal(desk.take("retire", late, policy=DATA, is_now=is_now))
        assert message == f"stored data may need the previous key of secret.key (key id {kid})"
        assert remedy.endswith(f"run this command again with --data-done {kid}")
        waiting = desk.take(None, late, policy=DATA)
        assert (waiting.step, waiting.outcome) == ("retire", "nothing-to-do")
        assert refusal(desk.take("retire", late, policy=DATA, data_done="1" * 32))[1].endswith(f"--data-done {kid}")
        assert desk.take("retire", late, policy=DATA, data_done=kid).outcome == "done"

    @pytest.mark.parametrize("step", ["put", "stage"])
    def test_no_other_step_takes_a_key_with_data_away(self, desk: Desk, step: str) -> None:
        """`put` over an expired key would end the previous one, and `stage` after `back` the withdrawn one."""
        for name in ("stage", "promote"):
            desk.take(name, is_now=True, policy=DATA)
        if step == "stage":
            desk.take("back", policy=DATA)
            withdrawn = fingerprint_of(desk.store.fields[NEXT])
            assert refusal(desk.take("stage", is_now=True, policy=DATA))[0].startswith("stored data may need the next")
            assert desk.take("stage", is_now=True, policy=DATA, data_done=withdrawn).outcome == "done"
        else:
            desk.store.fields = {**desk.store.fields, EXPIRES: marker(-DAY)}
            assert refusal(desk.put(DATA))[0].startswith("stored data may need the previous key")

    def test_a_refused_step_takes_nothing_out_of_the_versions(self, desk: Desk) -> None:
        """A wrong key id does not delete another key."""
        old = desk.store.fields[V1]
        desk.take("replace", policy=DATA)
        desk.take("stage", NOW + HOUR, policy=DATA)
        desk.take("promote", NOW + HOUR, is_now=True, policy=DATA)
        refused = desk.take("retire", NOW + 16 * DAY, policy=DATA, data_done=fingerprint_of(old))
        assert (refused.outcome, desk.store.keeps(old)) == ("refused", True)

    def test_a_step_of_another_secret_takes_no_key_with_data(self, desk: Desk) -> None:
        """The operator's word is for the keys of one secret."""
        old = desk.store.fields[V1]
        desk.take("replace", policy=DATA)
        assert desk.take("stage", policy=RuntimeSecrets.secret_policies["secret_v2_key"]).outcome == "done"
        assert desk.store.keeps(old)

    def test_a_key_from_before_the_adoption_has_no_id(self, desk: Desk) -> None:
        """Its data is done with the word `none`."""
        desk.store.fields |= {PREVIOUS: good_keys()[V1][:30], UNTIL: iso_utc(NOW - DAY)}
        assert refusal(desk.take("retire", policy=DATA))[1].endswith("with --data-done none")
        assert desk.take("retire", policy=DATA, data_done="none").outcome == "done"

    def test_a_leaked_key_leaves_the_versions_when_its_data_is_done(self, desk: Desk) -> None:
        """Nothing is written for it; the earlier versions lose the key."""
        old = desk.store.fields[V1]
        desk.take("replace", policy=DATA)
        result = desk.take("retire", policy=DATA, data_done=fingerprint_of(old))
        assert (result.outcome, result.forgotten, desk.store.keeps(old)) == ("nothing-to-do", True, False)


class TestKeptVersions:
    """What the versions of a store keep beside the current one."""

    def test_an_ended_key_leaves_them_after_90_days(self, desk: Desk) -> None:
        """Until then, it can be restored or read by a job."""
        old = desk.store.fields[V1]
        desk.take("stage")
        desk.take("promote", is_now=True)
        desk.take("retire", end := NOW + OVERLAP)
        desk.store.fields = {**desk.store.fields, EXPIRES: ""}
        assert desk.take("stage", end + KEPT_AFTER_END - DAY).outcome == "done"
        assert desk.store.keeps(old)
        assert desk.take("stage", end + KEPT_AFTER_END, is_now=True).outcome == "done"
        assert not desk.store.keeps(old)

    def test_a_store_that_does_not_forget_says_so(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The step is done all the same. The same command takes the key away later."""
        old = desk.store.fields[V1]
        monkeypatch.setattr(desk.store, "purge", raising(ManagerError("is locked", "wait")))
        result = desk.take("replace")
        assert (result.outcome, len(result.unpurged)) == ("done", 1)
        monkeypatch.undo()
        assert desk.take("replace", NOW + MINUTE).forgotten
        assert not desk.store.keeps(old)


class TestRealState:
    """A step that would leave an alert is not taken."""

    def test_an_alert_about_another_secret_comes_first(self, desk: Desk) -> None:
        """Otherwise the step would say done, and no service would start. `is_now` goes on."""
        desk.store.fields |= {V2: "changeme"}
        message, remedy = refusal(desk.take("stage"))
        assert message == "memory:robodj has an alert that this step would not fix"
        check = "robodj-secretguard check --from memory:robodj"
        assert remedy == f"correct it ({check} says how), then run this command again"
        assert desk.take("stage", is_now=True).outcome == "done"

    def test_a_step_that_fixes_the_alert_is_taken(self, desk: Desk) -> None:
        """A new current key is the fix of an expired one."""
        desk.take("stage")
        desk.store.fields |= {EXPIRES: marker(-DAY)}
        assert desk.take("promote", NOW + HOUR).outcome == "done"


class TestEnvironment:
    """The environment of a step."""

    def test_the_keys_name_their_environment(self, desk: Desk) -> None:
        """Once a record or the store names it, the option can be left out. Before that, it is needed."""
        with pytest.raises(UsageError, match="--environment is missing"):
            desk.take("stage", environment=None)
        desk.take("stage")
        desk.take("promote", NOW + HOUR, environment=None)
        assert desk.log.records[-1].environment == "prod"

    def test_the_store_can_name_it(self, desk: Desk) -> None:
        """Its own field counts before each record."""
        desk.store.fields |= {ENVIRONMENT: "staging"}
        assert desk.take("stage", environment=None).records[0].environment == "staging"
        assert (
            refusal(desk.take("promote", is_now=True))[0] == "secret.key in memory:robodj is of the environment staging"
        )
