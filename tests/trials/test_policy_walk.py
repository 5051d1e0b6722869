"""The policy, section by section, with the installed program. The pages describe the same commands."""

from __future__ import annotations

import json
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from command_line import name_model
from conftest import V1, V2, Ran, clean_environment, run
from detector import leaks
from processes import needs_fork, run_copy

from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = ROOT / "examples" / "robodj_service"
WHY = ("--reason", "seen in a ticket", "--operator", "dana")
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "robodj-secretguard")
NAMES = {V1: "secret.key", f"{V1}_NEXT": "secret.key", V2: "secret_v2.key"}
WHO = ("--environment", "prod", "--operator", "dana", "--ticket", "OPS-17")
SERVICE = """\
import structlog

from robodj_secretguard import guard

structlog.configure(processors=[structlog.processors.JSONRenderer()])
guard()
print("served")
"""
STARTED = {"generate", "rotate", "check", "status", "log", "service.py"}
OVERLAP, CADENCE, PATIENCE = timedelta(seconds=8), timedelta(days=90), timedelta(seconds=30)


@dataclass
class Walk:
    """An operator who follows the policy, in a RoboDJ repository of a protected environment.

    Attributes:
        root: the repository.
        environ: the environment variables.
        keys: every key that was made, which no other output may show.
        steps: the process of each step.
        started: commands and scripts that have run as a new process. Later runs are forked from this process.
        old: the fingerprint of the key that is revoked.
        v2: the fingerprint of the other secret's key.
        new: the fingerprint of the replacement.
    """

    root: Path
    environ: dict[str, str] = field(repr=False)
    keys: list[str] = field(default_factory=list, repr=False)
    steps: dict[str, Ran] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    old: str = ""
    v2: str = ""
    new: str = ""

    def _run(self, step: str, name: str, command: Sequence[str], script: str) -> Ran:
        if name in self.started:
            again = f"import runpy, sys\nsys.argv = {[*command]!r}\n{script}\n"
            ran = run_copy(again, self.environ, self.root, secret=self.keys)
        else:
            ran = run(command, env=self.environ, cwd=self.root, keys=self.keys, python=False)
        self.started.add(name)
        self.steps[step] = ran
        return ran

    def call(self, step: str, *argv: str) -> Ran:
        """Run the program."""
        return self._run(step, argv[0], [PROGRAM, *argv], f"runpy.run_path({PROGRAM!r}, run_name='__main__')")

    def run(self, step: str, *argv: str) -> Ran:
        """Run a script of the repository."""
        again = f"del sys.argv[0]\nrunpy.run_path({argv[0]!r}, run_name='__main__')"
        return self._run(step, argv[0], [sys.executable, *argv], again)

    def start(self, step: str) -> None:
        """Start the service."""
        self.run(step, "service.py")

    def deliver(self, variable: str) -> str:
        """Make a new key, deliver it, and return its fingerprint."""
        key = self.call(f"generate {len(self.keys)}", "generate", NAMES[variable]).out
        self.keys.append(key)
        self.environ[variable] = key
        return fingerprint(SealedStr(key))

    def lines(self, step: str) -> list[str]:
        """Return the lines that a step printed."""
        return self.steps[step].out.splitlines()

    def __getitem__(self, step: str) -> Ran:
        return self.steps[step]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """All steps of the policy, in order."""
    root = tmp_path_factory.mktemp("service")
    shutil.copytree(REPOSITORY / "config", root / "config", ignore=shutil.ignore_patterns("__pycache__", "*.key"))
    (root / "config").chmod(0o755)
    name_model(root)
    (root / "service.py").write_text(SERVICE, encoding="utf-8")
    operator = Walk(root, clean_environment() | {"ROBODJ_PROTECTED_ENV": "true"})
    gate = ("config/check_runtime_secrets.py", "--require-env-only")

    operator.run("gate without keys", *gate)
    operator.environ["CI"] = "true"
    operator.call("generate in CI", "generate", "secret.key")
    operator.environ["CI"] = ""
    operator.old, operator.v2 = operator.deliver(V1), operator.deliver(V2)
    operator.run("gate", *gate)

    operator.call("plan", "rotate", "plan", "secret.key", *WHO)
    operator.start("start")
    operator.call("record", "rotate", "record", *WHO, "--attest", "startup")
    operator.call("complete", "rotate", "record", *WHO, "--attest", "startup", "--attest", "functions")
    operator.call("status", "status", "--strict")

    leaked = root / "NOTES.md"
    leaked.write_text(f"# Setup\n\nThe key is {operator.environ[V1]}.\n", encoding="utf-8")
    operator.call("scan", "scan", "--format", "json")
    operator.call("scan by fingerprint", "scan", "--fingerprints")
    leaked.unlink()
    operator.call("scan again", "scan")

    operator.call("revoke", "revoke", "secret.key", *WHY, "--yes", "--without-replacement")
    operator.start("refused start")
    operator.call("refused exec", "exec", "--", sys.executable, "service.py")
    operator.run("refused gate", *gate)
    operator.new = operator.deliver(V1)
    operator.run("gate again", *gate)
    operator.start("start again")
    done = ("--attest", "startup", "--attest", "functions")
    operator.call("record the new", "rotate", "record", "secret.key", *WHO, *done)
    operator.call("revoke again", "revoke", "--fingerprint", operator.old, *WHY, "--yes")

    operator.call("incident", "incident", "--since", "2026-11-01")
    operator.call("show", "log", "show")
    (first, *_), (last,) = (recorded(operator.steps[step]) for step in ("record", "record the new"))
    operator.call("verify first", "log", "verify", "--expect", first[1])
    operator.call("verify last", "log", "verify", "--expect", last[1])
    return operator


def recorded(ran: Ran) -> list[tuple[str, str]]:
    """Return the number and the hash of each record that a command printed."""
    return re.findall(r"^Recorded .*: record (\d+), .*hash (sha256:[0-9a-f]+)\.$", ran.out, re.MULTILINE)


@needs_fork
class TestPolicy:
    """Each section of the policy, by the output of its commands."""

    def test_1_generated_keys_are_made_by_the_approved_generator(self, walk: Walk) -> None:
        """Each key is made by its approved generator, without an end of line. Where output is kept, none is printed."""
        assert [len(key) for key in walk.keys] == [43, 128, 43]
        made = [walk[f"generate {number}"] for number in range(3)]
        assert [(ran.status, ran.out, ran.err) for ran in made] == [(0, key, "") for key in walk.keys]
        assert len(set(walk.keys)) == 3
        assert (walk["generate in CI"].status, walk["generate in CI"].out) == (2, "")

    def test_2_storage_and_distribution(self, walk: Walk) -> None:
        """The environment delivers the keys. No key file is there."""
        assert sorted(path.name for path in (walk.root / "config").iterdir() if path.suffix == ".key") == []
        assert [line.split()[:4] for line in walk.lines("gate")[1:3]] == [
            ["ok", "secret.key", "present", "env"],
            ["ok", "secret_v2.key", "present", "env"],
        ]

    def test_2_never_in_documents(self, walk: Walk) -> None:
        """A key in a document is found, by the key and by its fingerprint. After its removal, nothing is found."""
        assert [walk[step].status for step in ("scan", "scan by fingerprint", "scan again")] == [1, 1, 0]
        (found,) = walk["scan"].document["findings"]
        assert (found["path"], found["line"], found["column"]) == ("NOTES.md", 3, 12)
        (alert,) = walk["scan by fingerprint"].alerts
        assert alert.startswith("ALERT: secret.key (prod): known-key: NOTES.md:3:12: ")

    def test_3_rotation_is_planned_and_recorded(self, walk: Walk) -> None:
        """A plan asks for the store. A rotation is recorded with four steps, two of them attested."""
        assert [walk[step].status for step in ("plan", "record", "complete", "status")] == [2, 0, 0, 0]
        for step, what in (("record", "incomplete rotation"), ("complete", "rotation")):
            first = walk.lines(step)[0]
            assert (first.startswith(f"Recorded the {what} of secret.key in prod at "), walk.old in first) == (
                True,
                True,
            )
        assert walk.lines("complete")[1].endswith("gate verified, startup attested, functions attested, log verified")
        assert walk.lines("status")[1].endswith(f"  {walk.old}")

    def test_4_nothing_starts_on_a_revoked_key(self, walk: Walk) -> None:
        """Nothing starts on a revoked key, by any command, and the replacement is recorded."""
        assert (walk["revoke"].status, walk.lines("revoke")[0].split()[:2]) == (0, ["Revoked:", walk.old])
        for step, status in (("refused start", 3), ("refused exec", 3), ("refused gate", 1)):
            assert walk[step].status == status
            assert [line.split()[:3] for line in walk[step].alerts] == [["ALERT:", "secret.key:", "revoked:"]]
            assert "served" not in walk.lines(step)
        assert (walk["gate again"].status, walk.lines("gate again")[-1]) == (0, PASSED)
        assert f", fingerprint {walk.new}, " in walk.lines("record the new")[0]
        assert walk.lines("revoke again")[0].startswith(f"Already revoked: {walk.old} ")

    def test_5_incident_report_has_the_five_steps(self, walk: Walk) -> None:
        """The report has the policy's five steps, and a timeline of the records."""
        assert (walk["incident"].status, walk["incident"].err) == (0, "")
        steps = ["1. Detect", "2. Contain", "3. Rotate/Revoke", "4. Recover", "5. Post-incident"]
        assert re.findall(r"^## (\d.*)$", walk["incident"].out, re.MULTILINE) == steps
        rows = [line.split() for line in walk.lines("incident") if re.match(r" *[0-9]+ +20", line)]
        timeline = [[*row[2:5], next(word for word in row if word.startswith("sgfp1:"))] for row in rows]
        assert timeline == [
            ["rotation-incomplete", "secret.key", "prod", walk.old],
            ["rotation-incomplete", "secret_v2.key", "prod", walk.v2],
            ["rotated", "secret.key", "prod", walk.old],
            ["rotated", "secret_v2.key", "prod", walk.v2],
            ["revoked", "secret.key", "prod", walk.old],
            ["rotated", "secret.key", "prod", walk.new],
        ]

    def test_6_service_fails_closed_on_a_bad_key(self, walk: Walk) -> None:
        """A service starts on good keys, logs their fingerprints, and fails closed on a bad key."""
        for step, key in (("start", walk.old), ("start again", walk.new)):
            event, last = walk.lines(step)
            assert (walk[step].status, last) == (0, "served")
            assert json.loads(event)["event"] == "secret integrity check passed"
            assert [each["current"] for each in json.loads(event)["secrets"].values()] == [key, walk.v2]
        assert walk["refused start"].status == 3

    def test_7_gate_fails_without_keys(self, walk: Walk) -> None:
        """The quickstart fails without keys. With keys, its last line is the documented one."""
        assert (walk["gate without keys"].status, len(walk["gate without keys"].alerts)) == (1, 2)
        assert (walk["gate"].status, walk["gate"].err, walk.lines("gate")[-1]) == (0, "", PASSED)

    def test_log_has_every_printed_record(self, walk: Walk) -> None:
        """The log verifies, and has every record that a command printed."""
        steps = ("record", "complete", "revoke", "record the new")
        assert [number for step in steps for number, _ in recorded(walk[step])] == [*"123456"]
        assert walk["show"].status == 0
        assert [line.split()[0] for line in walk.lines("show")] == ["#", "1", "2", "3", "4", "5", "6"]
        for step, number in (("verify first", 1), ("verify last", 6)):
            assert (walk[step].status, walk.lines(step)[-1]) == (0, "The operations log verifies.")
            before = "The records before it in this file are unchanged."
            assert f"Found the expected record: number {number}. {before}" in walk.lines(step)

    def test_no_key_is_left(self, walk: Walk) -> None:
        """No file of the repository has a part of a key."""
        paths = [path for path in walk.root.rglob("*") if path.is_file()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.suffix != ".pyc")
        assert leaks(text, walk.keys) == []
        assert (walk.root / "config" / "revoked.fingerprints").read_text(encoding="utf-8").count("sgfp1:") == 1


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
    name_model(root)
    (root / "service.py").write_text(SERVICE, encoding="utf-8")
    operator = Walk(root, clean_environment() | {"CI": ""}, started=STARTED)
    done = ("--attest", "startup", "--attest", "functions")
    old, _ = operator.deliver(V1), operator.deliver(V2)
    operator.call("record", "rotate", "record", *WHO, *done)

    new = operator.deliver(f"{V1}_NEXT")
    operator.call("check next", "check", "--require-env-only")

    before = dict(operator.environ)
    until = (datetime.now(UTC) + OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")
    expires = (datetime.now(UTC) + CADENCE).strftime("%Y-%m-%dT%H:%M:%SZ")
    operator.environ |= {f"{V1}_PREVIOUS": before[V1], f"{V1}_PREVIOUS_UNTIL": until, f"{V1}_EXPIRES_AT": expires}
    operator.environ[V1] = operator.environ.pop(f"{V1}_NEXT")
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
