"""The commands of the steps of a rotation, with keys in a directory."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from command_line import Terminal, fingerprint_of, machine_at, name_model
from conftest import NOW, Ran, good_keys, put, raising
from detector import leaks

from robodj_secretguard.errors import FileError, ManagerError
from robodj_secretguard.managers.folder import Directory

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEYS = "directory:keys"
MODEL = """
from datetime import timedelta
from typing import Annotated
from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings

OVERLAP = timedelta(days=14)


class Shop(SecretSettings, refresh=timedelta(seconds=30), secrets_dir="/nowhere/shop"):
    session: Annotated[Secret, SecretPolicy(overlap=OVERLAP)]
    data: Annotated[Secret, SecretPolicy(overlap=OVERLAP, stores_data=True)]
    api: Annotated[Secret, SecretPolicy()]
    user: Annotated[Secret, SecretPolicy(material=Material.opaque(4), group="db")]
    password: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db", issuer="the database")]
    mail: Annotated[Secret, SecretPolicy(material=Material.opaque(), issuer="the mail server")]
"""


class Shop:
    """A shop whose keys are in a directory, and its operator."""

    def __init__(self, root: Path) -> None:
        self.machine = machine_at(root)
        self.machine.environ.clear()
        self.machine.environ["LOGNAME"] = "ada"
        self.machine.put("shop_model.py", MODEL)
        name_model(root, "shop_model:Shop")
        self.seen: set[str] = set()

    @property
    def fields(self) -> dict[str, str]:
        """What a service reads."""
        directory = self.machine.root / "keys" / "..data"
        return {each.name: each.read_text("utf-8") for each in directory.iterdir() if each.name.isupper()}

    def rotate(self, *words: str, late: timedelta = timedelta(0), text: str = "") -> Ran:
        """Run a command. No output has a part of a value."""
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
        with patch("sys.stdin", stdin):
            ran = self.machine.call("rotate", *words, "--to", KEYS, now=NOW + late)
        if (self.machine.root / "keys").exists():
            self.seen |= {value for value in self.fields.values() if len(value) in {16, 43}}
        assert leaks(ran.out + ran.err, [*self.seen]) == []
        return ran

    def begin(self) -> None:
        """Give the shop its first values."""
        for number, name in enumerate(("session", "data", "api")):
            where = ("--environment", "prod") if not number else ()
            assert self.rotate("put", name, *where).status == 0
        values = json.dumps({"USER": "shop", "PASSWORD": good_keys()["ROBODJ_SECRET_KEY"][:16]})
        assert self.rotate("put", "user", text=values).status == 0
        assert self.rotate("put", "mail", text=f"{good_keys()['ROBODJ_SECRET_KEY'][:16]}\n").status == 0

    def check(self, late: timedelta = timedelta(0)) -> Ran:
        """Run the gate."""
        return self.machine.call("check", "--from", KEYS, now=NOW + late)


@pytest.fixture
def empty(tmp_path: Path) -> Shop:
    """A new shop, without any value."""
    return Shop(tmp_path)


@pytest.fixture
def shop(empty: Shop) -> Shop:
    """A shop that can start."""
    empty.begin()
    return empty


class TestRotation:
    """A rotation from the first key on."""

    def test_the_first_values_pass_the_gate(self, shop: Shop) -> None:
        """Each value is put once, a group together. The operator is the one who is logged in."""
        assert shop.check().status == 0
        records = shop.machine.records
        assert [each.secret for each in records] == ["session", "data", "api", "user", "password", "mail"]
        assert {(each.operator, each.environment) for each in records} == {("ada", "prod")}

    def test_each_step_says_what_is_next(self, shop: Shop) -> None:
        """The lines say the same as the plan. The last command proves that the rotation is complete."""
        old = fingerprint_of(shop.fields["SESSION"])
        staged = shop.rotate("stage", "session")
        follow = "Instances that refresh have it within 60 seconds. Restart the others."
        assert staged.out.splitlines()[:2] == [
            f"Done: store a next key of session in {KEYS}.",
            "  changed: SESSION_NEXT",
        ]
        assert f"1. {follow}" in staged.out.splitlines()
        assert f"     robodj-secretguard rotate promote session --to {KEYS}" in staged.out.splitlines()
        promoted = shop.rotate("promote", "session", late=HOUR)
        record = f"robodj-secretguard rotate record session --from {KEYS} --attest startup --attest functions"
        assert f"     {record}" in promoted.out.splitlines()
        assert f"     robodj-secretguard rotate retire session --to {KEYS}" in promoted.out.splitlines()
        assert shop.machine.call(*record.split()[1:], now=NOW + HOUR).status == 0
        proof = ("status", "--secret", "session", "--strict", "--from", KEYS)
        assert shop.machine.call(*proof, now=NOW + DAY).status == 1
        retired = shop.rotate("retire", "session", late=15 * DAY)
        assert f"     robodj-secretguard {' '.join(proof)}" in retired.out.splitlines()
        ran = shop.machine.call(*proof, now=NOW + 15 * DAY)
        assert (ran.status, "The rotation of session is complete: " in ran.out.splitlines()[-1]) == (0, True)
        assert shop.machine.records[-1].fingerprint == old

    def test_back_and_restore_say_what_is_next(self, shop: Shop) -> None:
        """`back` gives the old key its time as a key. `restore` brings back what somebody has removed."""
        shop.rotate("stage", "session")
        shop.rotate("promote", "session", late=HOUR)
        back = shop.rotate("back", "session", late=HOUR)
        assert "This key expires at 2026-12-15T13:00:00Z. Promote the next key again before that." in back.out
        assert "Nothing is due for session: its promotion was undone." in shop.rotate("run", "session", late=HOUR).out
        key = shop.fields["SESSION"]
        (shop.machine.root / "keys" / "..data" / "SESSION").unlink()
        ran = shop.rotate("restore", "session", "--fingerprint", fingerprint_of(key), late=2 * HOUR)
        assert (ran.status, shop.fields["SESSION"] == key) == (0, True)

    def test_stored_data_comes_first(self, shop: Shop) -> None:
        """Each line of the rotation of such a key names the re-encryption."""
        kid = fingerprint_of(shop.fields["DATA"]).removeprefix("sgfp1:")
        shop.rotate("stage", "data")
        promoted = shop.rotate("promote", "data", late=HOUR)
        assert "2. Re-encrypt its data (docs/recipes.md). After 2026-12-15T13:00:00Z, remove " in promoted.out
        assert f"     robodj-secretguard rotate retire data --data-done {kid} --to {KEYS}" in promoted.out.splitlines()
        waiting = shop.rotate("run", "data", late=15 * DAY)
        assert (waiting.status, waiting.out.startswith("Not yet: stored data may need ")) == (0, True)
        assert shop.rotate("retire", "data", "--data-done", kid, late=15 * DAY).status == 0

    def test_nothing_is_due(self, shop: Shop) -> None:
        """Every secret with an overlap is named, and when something will be due in an overlap."""
        assert shop.rotate("run").out.splitlines()[0] == "Nothing is due for session."
        shop.rotate("stage", "session")
        shop.rotate("promote", "session", late=HOUR)
        out = shop.rotate("run", "session", late=DAY).out
        assert out.splitlines()[0] == "Nothing is due for session until 2026-12-15T13:00:00Z."

    def test_a_dry_run_and_a_repetition(self, shop: Shop) -> None:
        """A dry run has the status 1 where there is something to do. A repetition names the last step."""
        ran = shop.rotate("stage", "session", "--dry-run")
        assert (ran.status, ran.out.splitlines()[0]) == (
            1,
            f"Would store a next key of session in {KEYS}: SESSION_NEXT.",
        )
        shop.rotate("stage", "session")
        last = "(last step: staged at 2026-12-01T12:00:00Z by ada)"
        said = f"Nothing to do: session already has a next key (--now replaces it) in {KEYS} {last}."
        assert shop.rotate("stage", "session").out.splitlines()[0] == said


class TestEmergency:
    """`rotate run --emergency`."""

    WHY = ("--emergency", "--reason", "posted in a chat")

    def test_a_leaked_key_by_its_text(self, shop: Shop) -> None:
        """The text finds the key. It leaves the store and the kept versions; the lines say what must restart."""
        leaked = shop.fields["SESSION"]
        shop.machine.put("leaked.txt", f"SESSION='{leaked}'\n")
        ran = shop.rotate("run", "session", *self.WHY, "--key-from", "leaked.txt")
        lines = ran.out.splitlines()
        assert lines[0] == f"Done: replace the current key of session, and revoke the old one in {KEYS}."
        assert "\nNext (if you follow a printed plan, go on there):\n1. Instances that refresh have it " in ran.out
        assert "2. Invalidate the sessions and tokens that it has signed. Revoke it on " in ran.out
        assert not any(leaked in each.read_text("utf-8") for each in (shop.machine.root / "keys.versions").iterdir())
        assert shop.check().status == 0

    def test_stored_data_of_a_leaked_key(self, shop: Shop) -> None:
        """The kept versions have the key until its data is done."""
        key = fingerprint_of(shop.fields["DATA"])
        kid = key.removeprefix("sgfp1:")
        ran = shop.rotate("run", "data", *self.WHY, "--fingerprint", key)
        retire = f"     robodj-secretguard rotate retire data --data-done {kid} --to {KEYS}"
        assert (ran.status, retire in ran.out.splitlines()) == (0, True)
        done = shop.rotate("retire", "data", "--data-done", kid)
        assert (done.status, done.out.splitlines()[0].startswith("Done: removed the key from the earlier ")) == (
            0,
            True,
        )

    def test_a_leaked_previous_key(self, shop: Shop) -> None:
        """The current key stays. Without a fingerprint, the two keys are named."""
        shop.rotate("stage", "session")
        shop.rotate("promote", "session", late=HOUR)
        current, previous = shop.fields["SESSION"], fingerprint_of(shop.fields["SESSION_PREVIOUS"])
        refused = shop.rotate("run", "session", *self.WHY, late=HOUR)
        assert (refused.status, f"--fingerprint {previous} (the previous)" in refused.out) == (1, True)
        ran = shop.rotate("run", "session", *self.WHY, "--fingerprint", previous, late=HOUR)
        assert (ran.status, shop.fields["SESSION"], "SESSION_PREVIOUS" in shop.fields) == (0, current, False)

    def test_an_emergency_does_not_wait_for_the_log(self, shop: Shop) -> None:
        """The key is replaced, and the command that records it is named. Any other step waits."""
        with patch(
            "robodj_secretguard.lifecycle.operations_log.OperationsLog.locked", raising(FileError("it is full"))
        ):
            assert shop.rotate("stage", "session").err.startswith("robodj-secretguard: nothing was written: ")
            ran = shop.rotate("run", "session", *self.WHY)
        again = f"then run robodj-secretguard rotate run session --to {KEYS}: it records the step"
        assert (ran.status, again in ran.err) == (2, True)


class TestHelperWithoutVersions:
    """A program that compares nothing, and keeps no version."""

    def test_keys_of_stored_data_stay(self, empty: Shop) -> None:
        """The leaked key stays as a revoked previous one. Each command says what two machines can lose."""
        helper = empty.machine.root / "helper"
        put(helper, "#!/bin/sh\ncase $1 in get) cat fields 2>/dev/null || exit 66;; set) cat >fields;; esac\n", 0o700)
        where = ("--to", f"exec:{helper}", "--single-writer")
        first = empty.machine.call("rotate", "put", "data", *where, "--environment", "prod")
        assert "if another machine has written at the same time, one of both writes is lost" in first.err
        ran = empty.machine.call("rotate", "run", "data", "--emergency", "--reason", "leaked", *where)
        assert "The leaked key stays as a revoked previous key, as this store keeps no earlier version." in ran.out

    def test_the_data_of_a_dropped_key_is_named(self, shop: Shop) -> None:
        """In a store with versions, the previous key goes too, and a job can have it."""
        shop.rotate("stage", "data")
        shop.rotate("promote", "data", late=HOUR)
        current, previous = (fingerprint_of(shop.fields[name]) for name in ("DATA", "DATA_PREVIOUS"))
        ran = shop.rotate("run", "data", *TestEmergency.WHY, "--fingerprint", current, late=HOUR)
        assert f"exec --previous {previous} has it." in ran.out


class TestPut:
    """`rotate put`: where the value comes from."""

    def test_values_are_typed_without_an_echo(self, shop: Shop) -> None:
        """On a terminal, each value of the group is asked for."""
        asked = []

        def typed(prompt: str) -> str:
            asked.append(prompt)
            return f"{len(asked)}{good_keys()['ROBODJ_SECRET_KEY'][:15]}"

        with patch("getpass.getpass", typed), patch("sys.stdin", Terminal()):
            ran = shop.machine.call("rotate", "put", "user", "--to", KEYS)
        assert (ran.status, ran.out.splitlines()[1]) == (0, "  changed: PASSWORD, USER")
        assert asked == ["The new value of USER (not shown): ", "The new value of PASSWORD (not shown): "]

    @pytest.mark.parametrize("text", ["", "[]", '{"USER": "shop"}', '{"USER": "shop", "PASSWORD": 5}'])
    def test_a_group_is_one_object(self, shop: Shop, text: str) -> None:
        """A part of a group, and what is no text, is refused with the names of the members."""
        ran = shop.rotate("put", "password", text=text)
        assert ran.status == 2
        assert ran.err.endswith("pass one JSON object with the members USER, PASSWORD on stdin\n")

    def test_a_bad_value_is_not_stored(self, shop: Shop) -> None:
        """The alert says what is wrong with it."""
        ran = shop.rotate("put", "mail", text="changeme\n")
        assert ran.status == 1
        assert ran.out.splitlines()[1:3] == [
            "REFUSED: the new version would have these alerts",
            "  fix: pass a value without that fault; nothing was written",
        ]


class TestFailures:
    """What keeps a step from its end."""

    def test_an_answer_that_was_lost(self, shop: Shop) -> None:
        """The write may have been done. Only `put` must not be repeated blindly."""
        lost = raising(ManagerError("did not answer in time", "wait", is_temporary=True))
        with patch.object(Directory, "write", lost):
            stage, put_again = shop.rotate("stage", "session"), shop.rotate("put", "api")
        assert [each.status for each in (stage, put_again)] == [75, 75]
        assert "Run this command again: it does nothing twice." in stage.out
        assert "each call of rotate put makes another key." in put_again.out

    def test_a_step_that_is_written_and_not_recorded(self, shop: Shop) -> None:
        """The next command records it."""
        with patch(
            "robodj_secretguard.lifecycle.operations_log.OperationsLog.append", raising(FileError("it is full"))
        ):
            ran = shop.rotate("stage", "session")
        assert (ran.status, "the store has this step, but it was not recorded: it is full" in ran.err) == (2, True)
        assert shop.rotate("stage", "session").out.startswith("Recorded the next key of session in prod")

    def test_an_emergency_that_leaves_an_alert(self, shop: Shop) -> None:
        """An alert about another secret is shown without its fix."""
        put(shop.machine.root / "keys" / "..data" / "API", "changeme")
        ran = shop.rotate("run", "session", *TestEmergency.WHY)
        assert ran.status == 0
        assert "\nALERT: api: placeholder: API is a placeholder" in ran.out

    def test_without_a_login_the_operator_is_needed(self, shop: Shop) -> None:
        """A record without a name would help nobody."""
        with patch("getpass.getuser", raising(OSError())):
            ran = shop.rotate("stage", "session")
        assert (ran.status, ran.err) == (
            2,
            "robodj-secretguard: --operator is missing; pass your name, for the record\n",
        )

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("restore", "session", "--fingerprint", "x"), "--fingerprint: invalid fingerprint; use "),
            (
                ("run", "session", "--emergency", "--reason", "r", "--key-from", "a", "--fingerprint", "b"),
                "pass --key-from or --fingerprint, not both",
            ),
            (("run", "session", "--fingerprint", f"sgfp1:{'0' * 32}"), "--fingerprint and --key-from work only with "),
        ],
    )
    def test_wrong_usage(self, shop: Shop, words: tuple[str, ...], why: str) -> None:
        """Options that are invalid or exclude each other change nothing."""
        ran = shop.rotate(*words)
        assert (ran.status, ran.err.removeprefix("robodj-secretguard: ")[: len(why)]) == (2, why)
