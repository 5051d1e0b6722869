"""A rotation with an overlap, with the installed program, until its deadline has passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from conftest import V1, V2, clean_environment
from processes import needs_fork
from walks import SERVICE, WHO, Walk

from robodj_secretguard.cli.output import PASSED

STARTED = {"generate", "rotate", "check", "status", "log", "service.py"}
OVERLAP, PATIENCE = timedelta(seconds=8), timedelta(seconds=30)


class Overlap(NamedTuple):
    """A rotation in three stages, with a deadline that passes.

    Attributes:
        walk: the operator.
        old: the fingerprint of the first key.
        new: that of the second key.
        until: the deadline of the first key.
    """

    walk: Walk
    old: str
    new: str
    until: str


@pytest.fixture(scope="module")
def overlap(tmp_path_factory: pytest.TempPathFactory) -> Overlap:
    """A rotation: next, promote, a rollback before and after the deadline, and retire."""
    root = tmp_path_factory.mktemp("overlap")
    (root / "config").mkdir(mode=0o700)
    (root / "service.py").write_text(SERVICE, encoding="utf-8")
    operator = Walk(root, clean_environment() | {"CI": ""}, started=STARTED)
    done = ("--attest", "startup", "--attest", "functions")
    old, _ = operator.deliver(V1), operator.deliver(V2)
    operator.call("record", "rotate", "record", *WHO, *done)

    operator.call("plan next", "rotate", "plan", "secret.key", "--format", "json")
    new = operator.deliver(f"{V1}_NEXT")
    operator.call("check next", "check", "--require-env-only")
    operator.call("plan promote", "rotate", "plan", "secret.key", "--format", "json")

    before = dict(operator.environ)
    until = (datetime.now(UTC) + OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")
    for line in next(
        each["command"] for each in operator["plan promote"].document["steps"] if "write" in each["text"]
    ).split("\n"):
        name, _, value = line.removeprefix("export ").partition("=")
        if value.startswith('"$'):
            operator.environ[name] = before[value.strip('"$')]
        elif value:
            operator.environ[name] = until if name.endswith("UNTIL") else value
        else:
            del operator.environ[name.removeprefix("unset ")]
    promoted = dict(operator.environ)
    operator.call("record promotion", "rotate", "record", "secret.key", *WHO, *done)
    operator.environ = before
    operator.call("rollback", "check")
    operator.start("start after rollback")
    # The deadline passes while this operator watches.
    while (
        operator.call("late rollback", "check").status == 0
        and datetime.now(UTC) < datetime.fromisoformat(until) + PATIENCE
    ):
        pass
    operator.start("refused start")

    operator.environ = promoted
    operator.start("start after the deadline")
    operator.call("check past", "check", "--strict")
    operator.call("plan retire", "rotate", "plan", "secret.key", "--format", "json")
    operator.call("status past", "status", "--strict", "--format", "json")
    for name in ("PREVIOUS", "PREVIOUS_UNTIL"):
        del operator.environ[f"{V1}_{name}"]
    operator.call("check retired", "check", "--strict")
    operator.call("status retired", "status", "--strict")
    operator.call("verify", "log", "verify")
    return Overlap(operator, old, new, until)


@needs_fork
class TestOverlap:
    """A rotation with an overlap, by the output of its commands."""

    def test_plan_knows_the_stage_from_the_keys(self, overlap: Overlap) -> None:
        """The plan knows the stage, from the keys that are set."""
        walk = overlap.walk
        stages = [walk[step].document["stage"] for step in ("plan next", "plan promote", "plan retire")]
        assert stages == ["next", "promote", "retire"]
        steps = [walk[step].document["steps"] for step in ("plan next", "plan promote", "plan retire")]
        assert [len(each) for each in steps] == [14, 12, 8]

    def test_promotion_lists_the_old_key_from_its_deadline_on(self, overlap: Overlap) -> None:
        """The record has both keys, and the list revokes the old one from its deadline on."""
        walk, entry = overlap.walk, f"{overlap.old}@{overlap.until}"
        assert [walk[step].status for step in ("record", "check next", "record promotion")] == [0, 0, 0]
        assert f"  replaced: {overlap.old}, which verifies until {overlap.until}" in walk.lines("record promotion")
        assert (walk.root / "config" / "revoked.fingerprints").read_text(encoding="utf-8").splitlines()[-1] == entry

    def test_rollback_starts_only_before_the_deadline(self, overlap: Overlap) -> None:
        """Before the deadline a rollback starts, with a note. After it, nothing starts on the old key."""
        walk = overlap.walk
        assert [walk[step].status for step in ("rollback", "start after rollback")] == [0, 0]
        (note,) = (line for line in walk.lines("rollback") if line.startswith("NOTE: "))
        assert note.startswith("NOTE: secret.key: superseded: ")
        assert [walk[step].status for step in ("late rollback", "refused start")] == [1, 3]
        for step in ("late rollback", "refused start"):
            assert [line.split()[:3] for line in walk[step].alerts] == [["ALERT:", "secret.key:", "revoked:"]]

    def test_previous_key_is_due_after_the_deadline(self, overlap: Overlap) -> None:
        """After the deadline the new key starts. The previous key is due for its removal."""
        walk = overlap.walk
        assert [walk[step].status for step in ("start after the deadline", "check past", "status past")] == [0, 1, 1]
        (status, _) = walk["status past"].document["secrets"]
        assert (status["due"], status["fingerprint"], status["previous_fingerprint"]) == (
            *("retire", overlap.new, overlap.old),
        )
        assert [walk[step].status for step in ("check retired", "status retired", "verify")] == [0, 0, 0]
        assert walk.lines("check retired")[-1] == PASSED
