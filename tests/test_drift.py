"""The keys of a store against the operations log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from command_line import fingerprint_of, rotated
from conftest import NOW, V1, good_keys
from rotations import (
    BACK,
    DAY,
    MICROSECOND,
    OVERLAP,
    POLICY,
    PREVIOUS,
    PROMOTED,
    RETIRED,
    SOURCE,
    STAGED,
    Edit,
    Fields,
    Names,
    records_of,
    rotation,
    take,
    unedited,
)

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.lifecycle.drift import drift as drift_of
from robodj_secretguard.lifecycle.drift import find_drift
from robodj_secretguard.lifecycle.records import Record, draft
from robodj_secretguard.lifecycle.steps import stored_keys
from robodj_secretguard.startup.directory import delivery_of
from robodj_secretguard.startup.inputs import ROTATION_RECORD, iso_utc


def drift(
    names: Names, edit: Edit = unedited, logged: Callable[[Fields], Sequence[Record]] | None = None, now: datetime = NOW
) -> tuple[str, str]:
    """Return what differs from the log, and the remedy, if anything does. By default, the log has the last step."""
    fields = rotation(names, edit)
    records = logged(fields) if logged else records_of(fields)
    problem = drift_of(POLICY, stored_keys(POLICY, fields), records, SOURCE, now=now)
    return (problem.message, problem.remedy) if problem else ("", "")


def current(key: str, *more: Record) -> list[Record]:
    """Return the record of a current key, and others."""
    return [rotated(NOW, fingerprint_of(key)), *more]


PROGRAM = "run robodj-secretguard"
RECORD = (
    f"{PROGRAM} rotate record secret.key --from {SOURCE} --environment prod if this was meant; otherwise run it"
    " with plan in place of record"
)
PLAN = f"{PROGRAM} rotate plan secret.key --from {SOURCE} and follow its steps"
AT = f"at {iso_utc(NOW)}"
CHANGED = f"{V1} is not the recorded key"
OLDER = f"{SOURCE} is at an older step (staged {AT}) than the log (staged at {iso_utc(NOW + 2 * DAY)})"
BY_HAND: Edit = lambda old: {V1: good_keys()[V1], PREVIOUS: old[V1]}  # noqa: E731


class TestDrift:
    """What the manager has, against what is recorded."""

    @pytest.mark.parametrize("names", [STAGED, PROMOTED, RETIRED, BACK, (*PROMOTED, "replace")])
    def test_a_step_that_the_log_lacks_is_recorded_by_its_command(self, names: Names) -> None:
        """The fix is the command of that step, which only records it. Then there is no drift."""
        assert drift(names) == ("", "")
        message, remedy = drift(names, logged=lambda _: [])
        assert message.startswith(f"{SOURCE} has a step that the operations log does not have: ")
        command = "run" if names[-1] == "replace" else names[-1]
        where = f"--to {SOURCE} --environment prod"
        assert remedy == f"{PROGRAM} rotate {command} secret.key {where}: it records the step"

    @pytest.mark.parametrize("names", [PROMOTED, BACK, ("replace",)])
    def test_a_key_that_was_changed_by_hand_is_drift(self, names: Names) -> None:
        """A key that is not that of the last step was changed by somebody. `rotate record` accepts it."""
        found = drift(names, lambda _: {V1: good_keys()[V1]})
        assert found == (CHANGED, RECORD)

    def test_a_current_key_that_is_not_the_last_recorded_one_is_drift(self) -> None:
        """It is drift whatever the last step was, until it is recorded."""
        before, key = rotation(PROMOTED), good_keys()[V1]
        fields = {**take("retire", before), V1: key}
        records, keys = [*records_of(before), *records_of(fields)], stored_keys(POLICY, fields)
        problem = drift_of(POLICY, keys, records, SOURCE, now=NOW)
        assert (problem and problem.message) == CHANGED
        assert drift_of(POLICY, keys, [*records, *current(key)], SOURCE, now=NOW) is None

    def test_a_restored_version_is_drift(self) -> None:
        """A version that was restored is older than the log, which has later steps. So is one that is not there yet."""
        staged = rotation(STAGED)
        promoted = take("promote", staged, NOW + DAY)
        again = take("stage", promoted, NOW + 2 * DAY)
        later = [record for fields in (staged, promoted, again) for record in records_of(fields)]
        keys, end = stored_keys(POLICY, staged), NOW + 2 * DAY + OVERLAP
        assert drift_of(POLICY, keys, later, SOURCE, now=end) is None
        problem = drift_of(POLICY, keys, later, SOURCE, now=end + MICROSECOND)
        assert (problem and problem.message) == OLDER

    def test_a_promotion_by_hand_is_recorded_next(self) -> None:
        """A new current key whose previous one is the recorded one is in the middle of a rotation."""
        assert drift((), BY_HAND, lambda fields: current(fields[PREVIOUS])) == ("", "")
        logged = lambda fields: current(fields[PREVIOUS], *records_of(fields))  # noqa: E731
        assert drift(STAGED, BY_HAND, logged) == ("", "")

    def test_no_key_is_restored(self) -> None:
        """After a revocation a new key is on its way, and an old one is replaced."""

        def logged(fields: Fields) -> list[Record]:
            (record,) = records_of(fields)
            return [record, replace(draft("revoked", fingerprint=record.fingerprint, reason="leaked"), recorded_at=NOW)]

        assert drift(PROMOTED, lambda _: {V1: good_keys()[V1]}, logged) == ("", "")
        assert drift(PROMOTED, lambda old: {V1: old[PREVIOUS]}, logged)[1] == PLAN

    def test_without_a_step_the_current_key_must_be_recorded(self) -> None:
        """Without a step in the manager, its current key is one of the log, if the log has any."""
        assert drift((), logged=lambda _: []) == ("", "")
        assert drift((), logged=lambda fields: current(fields[V1], *current(good_keys()[V1]))) == ("", "")
        assert drift((), logged=lambda _: current(good_keys()[V1])) == (CHANGED, RECORD)

    def test_drift_is_found_in_what_the_managers_have_delivered(self) -> None:
        """A secret that no manager delivers has no drift."""
        fields = rotation(STAGED)
        delivery = delivery_of(SOURCE, {name: fields[name] for name in (V1, ROTATION_RECORD)}, [V1, ROTATION_RECORD])
        policies = RuntimeSecrets.secret_policies.values()
        assert [*find_drift([delivery], policies, records_of(fields))] == []
        (found,) = find_drift([delivery], policies, [])
        assert (found.secret, str(found.check), found.source) == (POLICY.name, "drift", SOURCE)
