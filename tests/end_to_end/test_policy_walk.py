"""The policy, section by section, with the installed program. The pages describe the same commands."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import V1, V2, Ran, clean_environment
from detector import leaks
from processes import needs_fork
from walks import SERVICE, WHO, Walk

from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.lifecycle.revocation import HEADER

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = ROOT / "examples" / "robodj_service"
WHY = ("--reason", "seen in a ticket", "--operator", "dana")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """All steps of the policy, in order."""
    root = tmp_path_factory.mktemp("service")
    shutil.copytree(REPOSITORY / "config", root / "config", ignore=shutil.ignore_patterns("__pycache__", "*.key"))
    (root / "config").chmod(0o755)
    (root / "service.py").write_text(SERVICE, encoding="utf-8")
    operator = Walk(root, clean_environment() | {"ROBODJ_PROTECTED_ENV": "true"})
    gate = ("config/check_runtime_secrets.py", "--require-env-only")

    operator.run("gate without keys", *gate)
    operator.environ["CI"] = "true"
    operator.call("generate in CI", "generate", "secret.key")
    operator.environ["CI"] = ""
    operator.old, operator.v2 = operator.deliver(V1), operator.deliver(V2)
    operator.call("break-glass", "generate", "--write")
    operator.run("gate", *gate)

    operator.call("plan", "rotate", "plan", "secret.key", *WHO)
    operator.start("start")
    operator.call("record", "rotate", "record", *WHO, "--service-log", "service.log")
    operator.call("complete", "rotate", "record", *WHO, "--attest", "functions")
    operator.call("status", "status", "--strict")

    leaked = root / "NOTES.md"
    leaked.write_text(f"# Setup\n\nThe key is {operator.environ[V1]}.\n", encoding="utf-8")
    (root / "scan.json").write_text(operator.call("scan", "scan", "--format", "json").out, encoding="utf-8")
    operator.call("scan by fingerprint", "scan", "--fingerprints")
    leaked.unlink()
    operator.call("scan again", "scan")

    operator.call("revoke", "revoke", "secret.key", *WHY, "--yes")
    operator.start("refused start")
    operator.call("refused exec", "exec", "--", sys.executable, "service.py")
    operator.run("refused gate", *gate)
    operator.new = operator.deliver(V1)
    operator.run("gate again", *gate)
    operator.start("start again")
    done = ("--service-log", "service.log", "--attest", "functions")
    operator.call("record the new", "rotate", "record", "secret.key", *WHO, *done)
    operator.call("revoke again", "revoke", "--fingerprint", operator.old, *WHY, "--yes")

    operator.call("incident", "incident", "report", "--since", "2026-11-01", "--scan", "scan.json")
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
        """The environment delivers the keys. A protected environment neither reads nor writes key files."""
        assert walk["break-glass"].status == 2
        assert walk["break-glass"].err.startswith("robodj-secretguard: nothing was written: fallback files are off")
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
        """A rotation is planned, then recorded with four steps: two from the log of the service, two attested."""
        assert [walk[step].status for step in ("plan", "record", "complete", "status")] == [0, 0, 0, 0]
        for step, what in (("record", "incomplete rotation"), ("complete", "rotation")):
            first = walk.lines(step)[0]
            assert (first.startswith(f"Recorded the {what} of secret.key in prod at "), walk.old in first) == (
                True,
                True,
            )
        assert walk.lines("complete")[1].endswith("gate verified, startup verified, functions attested, log verified")
        assert f"  fingerprint  {walk.old}" in walk.lines("status")

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
        timeline = [line.split(" | ")[1:5] for line in walk.lines("incident") if line.startswith("| 20")]
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
            assert [each["fingerprint"] for each in json.loads(event)["secrets"]] == [key, walk.v2]
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
            before = "The records before it are unchanged."
            assert f"Found the expected record: number {number}. {before}" in walk.lines(step)

    def test_no_key_is_left(self, walk: Walk) -> None:
        """No file of the repository has a part of a key."""
        paths = [path for path in walk.root.rglob("*") if path.is_file()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.suffix != ".pyc")
        assert leaks(text, walk.keys) == []
        assert (walk.root / "config" / "revoked.fingerprints").read_text(encoding="utf-8").count("sgfp1:") == 1


PAGES = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("rotation.md", "incident.md")]


class TestPages:
    """The pages for operators describe what the program does."""

    def test_documented_messages_are_those_of_the_program(self) -> None:
        """The messages in the tables are messages of the program."""
        texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py"))]
        said = re.sub(r'"\n\s*f?"', "", "\n".join(texts)) + os.strerror(errno.ENOSPC)
        tables = re.findall(r"^\| it says \|.*\n\|[-|]+\n((?:\|.*\n)+)", "\n".join(PAGES), re.MULTILINE)
        looked_up = [
            text
            for table in tables
            for row in table.splitlines()
            for text in re.findall("`([^`]+)`", row.split("|")[1])
        ]
        assert len(tables) == 2
        assert [text for text in looked_up if text not in said] == []

    def test_list_of_the_example_begins_like_a_new_one(self) -> None:
        """The list of the example service begins like a list that `revoke` makes."""
        assert (REPOSITORY / "config" / "revoked.fingerprints").read_text(encoding="utf-8") == HEADER
