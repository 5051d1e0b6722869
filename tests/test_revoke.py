"""`revoke`: which key it revokes, what it lists, records and prints, and what happens after a partial failure."""

from __future__ import annotations

import json
import secrets
import shlex
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import pytest
import structlog
from command_line import NAMED_MODEL, OTHER, Machine, fingerprint_of, key_as_argument, rotated
from conftest import NOW, V1, V2, found, good_keys, raising
from detector import leaks
from pydantic import SecretStr
from races import just_before

from robodj_secretguard import RuntimeSecrets, SecretPolicy, check
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import draft
from robodj_secretguard.lifecycle.revocation import HEADER

NAME, VARIABLE = "revoked.fingerprints", "ROBODJ_REVOKED_FINGERPRINTS"
THE_LIST = f"the revocation list config/{NAME}"
HOUR = timedelta(hours=1)
TO_STANDARD = str.maketrans("-_", "+/")
DEPLOY = f"Deploy this list with every service, or add the fingerprint to {VARIABLE} there."
WHERE = f"The fingerprint is on {THE_LIST}. {DEPLOY}"
STOPS = "No service starts with a revoked current key, and a service that refreshes its keys stops."
HERE = f"This key is the current key of secret.key here. {STOPS}"
PLAN = "robodj-secretguard rotate plan secret.key --emergency"
LACKING = f"No other key of secret.key is known here. Follow this plan, which replaces and revokes the key: {PLAN}"
NOT_HERE = "This key is not set here."
STEPS = [
    "",
    "What to do next:",
    "1. Stop every service that runs on this key. A revocation stops only those that refresh their keys.",
    "2. If you follow a plan, go on there. Otherwise replace the key, as this plan says:",
    f"     {PLAN}",
    "3. Invalidate the sessions and tokens that were signed with the old key.",
    "",
]
PREVIEW = ("revoke", "secret.key", "--reason", "leaked")
REVOKE = (*PREVIEW, "--yes", "--without-replacement")
BY_FINGERPRINT = ("revoke", "--reason", "leaked", "--yes", "--fingerprint")
ONE_KEY = "revoke needs NAME, for the current key of a secret, or else --key-from FILE or --fingerprint SGFP1"


class Required(RuntimeSecrets, require_revocation_list=True):
    """A service with a secret next to the policy's, and a required list."""

    own: Annotated[
        SecretStr,
        SecretPolicy(
            name="own.key",
            variable="ROBODJ_OWN_KEY",
            owner="Us",
            backup_owner="Them",
            cadence=timedelta(days=9),
            warn_before=timedelta(days=1),
        ),
    ]


def another() -> str:
    """Return the fingerprint of a new key."""
    return fingerprint_of(good_keys()[V1])


def listed(machine: Machine) -> str:
    """Return the revocation list."""
    return (machine.config / NAME).read_bytes().decode()


def entry(fingerprint: str, name: str = "secret.key") -> str:
    """Return the line that a revocation adds to the list."""
    return f"# 2026-12-01T12:00:00Z {name}: leaked\n{fingerprint}\n"


def refused(machine: Machine, *argv: str) -> str:
    """Run a command that must not revoke anything, and return the reason."""
    ran = machine.call(*argv)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert not machine.log.exists() or all(each.event != "revoked" for each in machine.records)
    return ran.err.removeprefix("robodj-secretguard: ").removesuffix("\n")


class TestRevoked:
    """A revoked key is listed, then recorded."""

    def test_text(self, machine: Machine) -> None:
        """A name selects the key that is delivered here. The policy's five steps follow."""
        key = machine.fingerprint()
        ran = machine.call(*REVOKE)
        first = f"Revoked: {key} (secret.key; no rotation recorded). {HERE}"
        (record,) = machine.records
        at = "Recorded the revocation of the key of secret.key at 2026-12-01T12:00:00Z: record 1"
        recorded = f"{at}, fingerprint {key}, hash {record.hash}."
        assert (ran.status, ran.err, ran.out.splitlines()) == (0, "", [first, recorded, WHERE, *STEPS])
        assert listed(machine) == HEADER + entry(key)
        assert found(machine.within(check)) == [("revoked", "secret.key")]

    def test_record(self, machine: Machine) -> None:
        """The record has the operator, the key and the reason, and is sent to the pipeline of the model's module."""
        structlog.configure()
        with structlog.testing.capture_logs() as events:
            ran = machine.call("revoke", V2, *REVOKE[2:], "--operator", "Ada", "--ticket", "SEC-1")
        (recorded,) = machine.records
        assert {name: value for name, value in json.loads(recorded.line()).items() if value is not None} == {
            "schema": 1,
            "sequence": 1,
            "recorded_at": "2026-12-01T12:00:00Z",
            "event": "revoked",
            "secret": "secret_v2.key",
            "owner": "Security Operations",
            "operator": "Ada",
            "ticket": "SEC-1",
            "reason": "leaked",
            "fingerprint": machine.fingerprint(V2),
        }
        assert events == [recorded.as_dict() | {"event": "secret revoked", "log_level": "info"}]
        assert (ran.status, ran.err) == (0, "")

    @pytest.mark.parametrize("yes", [True, False])
    def test_json(self, machine: Machine, *, yes: bool) -> None:
        """The document has the key, the state, the steps and the record. Without --yes, the last two are missing."""
        ran = machine.call(*(REVOKE if yes else PREVIEW), "--format", "json")
        document = ran.document
        assert [step["command"] for step in document.pop("steps")] == [None, PLAN, None] * yes
        assert document.pop("records") == ([each.as_dict() for each in machine.records] if yes else [])
        assert (ran.status, ran.err.count("\n"), document) == (
            *(int(not yes), int(not yes)),
            {
                "schema": 1,
                "kind": "revocation",
                "model": NAMED_MODEL,
                "ok": yes,
                "recorded": yes,
                "key": {
                    "fingerprint": machine.fingerprint(),
                    "secret": "secret.key",
                    "environment": None,
                    "recorded_at": None,
                    "delivered_as": [{"secret": "secret.key", "slot": "current"}],
                    "is_known": True,
                    "is_revoked": False,
                    "is_current": True,
                    "has_replacement": False,
                },
                "revoked": yes,
            },
        )

    def test_unknown_key(self, machine: Machine) -> None:
        """A fingerprint that nothing knows may be a typo, so it needs an option."""
        key, unknown = another(), "an unknown secret"
        why = "Neither the operations log nor what is set here has this key. Compare its text"
        expected = f"nothing was revoked: {why}; to revoke it without that, add --unknown"
        assert refused(machine, *BY_FINGERPRINT, key) == expected
        lines = machine.call(*BY_FINGERPRINT, key, "--unknown").out.splitlines()
        assert lines[0] == f"Revoked: {key} ({unknown}; no rotation recorded). {NOT_HERE}"
        assert (lines[3:], machine.records[-1].secret) == ([line.replace("secret.key", "NAME") for line in STEPS], None)

    def test_options(self, machine: Machine) -> None:
        """With another model, directory and log, both are written there, and the steps repeat the options."""
        machine.environ["ROBODJ_OWN_KEY"] = good_keys()[V1]
        named = machine.root / "named"
        named.mkdir(mode=0o700)
        (named / NAME).write_text("# none\n")
        options = ("--config-dir", "named", "--model", f"{__name__}:Required")
        log = ("--operations-log", "log.jsonl")
        who = ("--operator", "Ada", "--ticket", "SEC-1", "--environment", "prod")
        lines = machine.call("revoke", "own.key", *REVOKE[2:], *who, *options, *log).out.splitlines()
        plan = f"own.key --emergency --environment prod --operator Ada --ticket SEC-1 {' '.join((*log, *options))}"
        named_list = WHERE.replace(f"config/{NAME}", f"{NAME} in config_dir")
        assert (lines[2], lines[7]) == (named_list, STEPS[4].replace("secret.key --emergency", plan))
        key = machine.fingerprint("ROBODJ_OWN_KEY")
        assert (named / NAME).read_text() == "# none\n" + entry(key, "own.key")
        assert f'"fingerprint":"{key}"' in (machine.root / "log.jsonl").read_text()
        assert list(machine.config.iterdir()) == []


class TestRefused:
    """A usage error revokes nothing, and repeats no argument, since it may be a key."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--key-from", "a.txt", "--fingerprint", another()), "pass --key-from or --fingerprint, not both"),
            ((), ONE_KEY),
            (
                ("secret.key", "--unknown"),
                "--unknown works only with --fingerprint or --key-from; leave it out",
            ),
            (
                ("--key-from", "-", "--from", "json:-"),
                "--key-from - and --from json:- both read stdin; name a file for one of them",
            ),
            (
                ("--fingerprint", key_as_argument()),
                "--fingerprint: invalid fingerprint; use sgfp1: and 32 hexadecimal digits in lower case",
            ),
        ],
        ids=range(5),
    )
    def test_usage(self, machine: Machine, words: tuple[str, ...], message: str) -> None:
        """Exactly one key must be selected, by its name or a valid fingerprint."""
        assert refused(machine, "revoke", "--reason", "leaked", "--yes", *words) == message
        assert list(machine.config.iterdir()) == []

    @pytest.mark.parametrize("value", ["", "changeme"], ids=range(2))
    def test_no_sound_key(self, machine: Machine, value: str) -> None:
        """If no sound key is delivered, the recorded keys of the secret are listed."""
        machine.environ[V1] = value
        message = "no valid key of secret.key was found; pass --from SOURCE, --key-from FILE or --fingerprint"
        assert refused(machine, *REVOKE) == f"{message} (none is recorded)"
        key = another()
        machine.record(rotated(NOW - 3 * HOUR, key), rotated(NOW - HOUR, another(), secret=OTHER))
        assert refused(machine, *REVOKE) == f"{message} ({key} prod 2026-12-01T09:00:00Z)"

    def test_another_environment(self, machine: Machine) -> None:
        """A key that the log has in another environment is not revoked as one of this environment."""
        machine.record(rotated(NOW - HOUR, machine.fingerprint()))
        why = "nothing was revoked: the log has this key in prod; leave out --environment"
        assert refused(machine, *REVOKE, "--environment", "dev") == why

    @pytest.mark.parametrize("content", [None, "\n"], ids=["missing", "blank"])
    def test_required_list_is_lost(self, machine: Machine, content: str | None) -> None:
        """A missing or empty required list is not begun again: keys that it revoked would start."""
        machine.environ["ROBODJ_OWN_KEY"] = good_keys()[V1]
        if content is not None:
            machine.write(NAME, content, 0o644)
        assert refused(machine, *REVOKE, "--model", f"{__name__}:Required") == (
            f"nothing was revoked: {THE_LIST} is missing or empty, and the model requires it;"
            " restore it from version control, then run this again (in a new project, create it with a comment line)"
        )
        assert (machine.config / NAME).exists() is (content is not None)

    def test_list_cannot_be_written(self, machine: Machine) -> None:
        """If the list cannot be written, nothing is recorded, and the message names the variable."""
        (machine.config / NAME).mkdir()
        assert refused(machine, *REVOKE) == (
            f"nothing was revoked: {THE_LIST}: it is not a regular file; until that is fixed, add"
            f" {machine.fingerprint()} to {VARIABLE}"
        )
        assert not machine.log.exists()


class TestCurrent:
    """A current key is revoked without further ado only where another key can replace it."""

    def test_without_replacement(self, machine: Machine) -> None:
        """Without another key, the revocation needs an option. A next key can replace it."""
        why = f"nothing was revoked: {LACKING}; to revoke it without that, add --without-replacement"
        assert refused(machine, *PREVIEW, "--yes") == why
        machine.environ[f"{V1}_NEXT"] = good_keys()[V1]
        assert machine.call(*PREVIEW, "--yes").status == 0

    def test_preview(self, machine: Machine) -> None:
        """The preview changes nothing. It names missing options, and other recorded keys, which may be meant."""
        old, key = another(), machine.fingerprint()
        machine.record(rotated(NOW - 5 * HOUR, old), rotated(NOW - 3 * HOUR, key))
        ran = machine.call(*PREVIEW)
        assert ran.out.splitlines() == [
            f"Would revoke: {key} (secret.key, prod; recorded at 2026-12-01T09:00:00Z). {HERE}",
            f"{LACKING} --environment prod",
            f"Other keys for --fingerprint: {old} prod 2026-12-01T07:00:00Z.",
        ]
        options = "--yes --without-replacement"
        how = "first do what is said above; to revoke the key without that, add"
        assert ran.err == f"robodj-secretguard: nothing was revoked; {how} {options}\n"
        assert not (machine.config / NAME).exists()

    def test_last_of_the_log(self, machine: Machine) -> None:
        """In a shell without keys, the last recorded key counts as the current one."""
        key = machine.fingerprint()
        machine.environ.clear()
        machine.record(rotated(NOW - HOUR, key))
        ran = machine.call(*BY_FINGERPRINT[:-2], "--fingerprint", key)
        assert f"{NOT_HERE} {STOPS}\n{LACKING} --environment prod\n" in ran.out


class TestSource:
    """`--from` says what is current, in a shell without keys."""

    def test_named(self, machine: Machine) -> None:
        """The current key of the source is revoked, and the next commands read the same source."""
        key = machine.fingerprint()
        for name, value in machine.environ.items():
            machine.put(f"delivered/{name}", value)
        machine.environ.clear()
        lines = machine.call(*REVOKE, "--from", "directory:delivered").out.splitlines()
        in_it = HERE.replace("here", "in directory:delivered")
        assert lines[0] == f"Revoked: {key} (secret.key; no rotation recorded). {in_it}"
        assert f"     {PLAN} --from directory:delivered" in lines

    def test_failed(self, machine: Machine) -> None:
        """A source that refuses prevents the revocation, and the message says how to do without."""
        ran = machine.call(*REVOKE, "--from", "directory:absent")
        why = "nothing was revoked; leave out --from to revoke without the secret manager"
        assert (ran.status, ran.err) == (1, f"robodj-secretguard: {why}\n")
        assert ran.out.startswith("ALERT: source: ")
        assert not machine.log.exists()


FORMS = {
    "bare": "{key}",
    "in standard base64": "{standard}",
    "padded": "{key}=\n",
    "padded, in standard base64": "{standard}=",
    "quoted, in UTF-16 as PowerShell writes": ' "{key}"\r\n',
    "exported": "export ROBODJ_SECRET_V2_KEY_PREVIOUS='{standard}'\n",
    "in JSON": '{{"ROBODJ_SECRET_KEY": "{key}\\n"}}',
    "twice": "# {key} was posted, as\nROBODJ_SECRET_KEY={standard}\n",
    "in a URL": "https://paste.example/a/{key}",
    "encoded, as Kubernetes stores it": "  key: {encoded}\n",
}


class TestKeyFrom:
    """`--key-from` takes a key as it was found."""

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_forms(self, machine: Machine, form: str) -> None:
        """Padding, quotes, names, line ends and encodings change nothing."""
        key = machine.environ[V1]
        standard, encoded = key.translate(TO_STANDARD), b64encode(key.encode()).decode()
        text = form.format(key=key, standard=standard, encoded=encoded)
        machine.put("found.txt", text.encode("utf-16" if form.endswith("\r\n") else "utf-8"))
        ran = machine.call(*REVOKE, "--key-from", "found.txt")
        assert ran.out.startswith(f"Revoked: {machine.fingerprint()} (secret.key; ")
        assert leaks(ran.out + ran.err, [key]) == []

    @pytest.mark.parametrize("form", ["{}", "SIGNING_KEY={}\n", 'say "{}"\n\n'.removeprefix("say ")])
    def test_key_of_any_alphabet(self, machine: Machine, form: str) -> None:
        """A key with symbols is the whole line, without the name and the quotes around it."""
        machine.put(
            "any_model.py",
            "from typing import Annotated\n"
            "from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings\n"
            "class Any(SecretSettings):\n"
            "    signing_key: Annotated[Secret, SecretPolicy(material=Material.key())]\n",
        )
        key = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789!@#%^*+") for _ in range(50))
        key += f"!{good_keys()[V1].strip('-_')}*"  # a part of it that is a key as well
        machine.put("found.txt", form.format(key))
        command = ("revoke", "signing_key", "--reason", "leaked", "--key-from", "found.txt", "--unknown")
        assert fingerprint_of(key) in machine.call(*command, "--model", "any_model:Any").out

    def test_without_name(self, machine: Machine) -> None:
        """The secret and the slot are those of the source. Another secret's name is refused."""
        machine.put("found.txt", machine.environ[V1])
        command = ("revoke", "--reason", "leaked", "--key-from", "found.txt")
        assert f"(secret.key; no rotation recorded). {HERE}" in machine.call(*command).out
        assert refused(machine, *command, "secret_v2.key", "--yes") == (
            "nothing was revoked: this is a key of secret.key, and not of secret_v2.key"
        )

    def test_unknown(self, machine: Machine) -> None:
        """The name counts for a key that nothing knows."""
        machine.put("found.txt", key := good_keys()[V1])
        ran = machine.call("revoke", "secret_v2.key", *BY_FINGERPRINT[1:-1], "--key-from", "found.txt", "--unknown")
        assert ran.out.startswith(f"Revoked: {fingerprint_of(key)} (secret_v2.key; ")
        by_both = machine.call("revoke", "secret_v2.key", *BY_FINGERPRINT[1:], key := another(), "--unknown")
        assert by_both.out.startswith(f"Revoked: {key} (secret_v2.key; ")

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("changeme-changeme-changeme-changeme-changeme", "0 strong keys"),
            ("{}\n{}\n", "2 strong keys"),
            ("\xff", "0 strong keys"),
        ],
        ids=range(3),
    )
    def test_invalid(self, machine: Machine, text: str, what: str) -> None:
        """A text without a key, or with several, is refused."""
        machine.put("found.txt", text.format(*(good_keys()[V1] for _ in range(2))).encode("latin-1"))
        none = "what has no fingerprint, such as a passphrase, cannot be revoked: replace it"
        why = f"--key-from: the file has {what}; write the one key in one line of it ({none})"
        assert refused(machine, *REVOKE, "--key-from", "found.txt") == why


class TestAgain:
    """A partial revocation is completed, and a complete one is unchanged."""

    def test_listed(self, machine: Machine) -> None:
        """A key that is only listed is recorded, and the list is unchanged."""
        machine.write(NAME, before := f"{machine.fingerprint()} # by hand\n")
        ran = machine.call(*REVOKE)
        assert (ran.status, ran.out.startswith("Already revoked: sgfp1:"), listed(machine)) == (0, True, before)
        assert [each.event for each in machine.records] == ["revoked"]

    def test_recorded(self, machine: Machine) -> None:
        """A key that is only recorded is listed by the command of its finding, without another record or event."""
        machine.call(*REVOKE)
        (machine.config / NAME).unlink()
        fix = machine.call("check").out.partition("fix: run robodj-secretguard ")[2].partition(" --yes")[0]
        ran = machine.call(*shlex.split(fix), "--yes")
        assert (ran.status, ran.out.startswith("Revoked: sgfp1:"), ran.err) == (0, True, "")
        assert listed(machine) == HEADER + entry(machine.fingerprint()).replace("leaked", "recorded as revoked")
        assert len(machine.records) == 1

    def test_both(self, machine: Machine) -> None:
        """For a key that is listed and recorded, nothing changes, and the steps are shown again."""
        first, again = machine.call(*REVOKE), machine.call(*REVOKE)
        assert (again.status, again.err) == (0, "")
        lines = first.out.splitlines(keepends=True)
        assert again.out == "".join([lines[0].replace("Revoked:", "Already revoked:"), *lines[2:]])
        assert (listed(machine), len(machine.records)) == (HEADER + entry(machine.fingerprint()), 1)


NOT_RECORDED = (
    "robodj-secretguard: the key is revoked, but this was not recorded: the operations log"
    " config/logs/secret_operations.jsonl: "
)
SPOILED = f"robodj-secretguard: the key was revoked, but now {THE_LIST} cannot be read: it is not UTF-8; until that is"


def record_it(machine: Machine) -> None:
    """Record the revocation in another process."""
    with OperationsLog(str(machine.log), new_directories=(str(machine.log.parent),)).locked() as log:
        log.append([draft("revoked", reason="theirs", fingerprint=machine.fingerprint())])


MEANWHILE: dict[str, tuple[Callable[[Machine], object], str, str, list[str]]] = {
    "git replaces the list": (lambda machine: machine.write(NAME, "# theirs\n"), "", "# theirs\n{}", ["leaked"]),
    "another process records it": (record_it, "", f"{HEADER}{{}}", ["theirs"]),
    "Control-C": (raising(KeyboardInterrupt()), f"{NOT_RECORDED}interrupted\n", f"{HEADER}{{}}", []),
}


class TestMeanwhile:
    """Changes between the listing and the record."""

    @pytest.mark.parametrize(("change", "err", "content", "reasons"), MEANWHILE.values(), ids=MEANWHILE)
    def test_a_change_while_it_waits_for_the_log(
        self,
        machine: Machine,
        monkeypatch: pytest.MonkeyPatch,
        change: Callable[[Machine], object],
        *,
        err: str,
        content: str,
        reasons: list[str],
    ) -> None:
        """A list that was replaced gets the entry again. No change hides that the key is revoked."""
        just_before(monkeypatch, OperationsLog, "locked", lambda: change(machine))
        ran = machine.call(*REVOKE)
        assert (ran.status, ran.err, ran.out.startswith("Revoked: ")) == (2 if err else 0, err, True)
        assert listed(machine) == content.format(entry(machine.fingerprint()))
        assert [each.reason for each in (machine.records if machine.log.exists() else ())] == reasons

    def test_list_is_spoiled(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A list that is unreadable after the record leads to status 2: the revocation may not be effective."""
        just_before(monkeypatch, OperationsLog, "locked", lambda: machine.write(NAME, b"\xff\n"))
        ran = machine.call(*REVOKE)
        assert (ran.status, SPOILED in ran.err, len(machine.records)) == (2, True, 1)

    def test_faults_of_the_list(self, machine: Machine) -> None:
        """Other faults of the list are shown, since the revocation may not be effective."""
        machine.write(NAME, "wrong\n")
        ran = machine.call(*REVOKE)
        alerts = [line for line in ran.out.splitlines() if line.startswith("ALERT: ")]
        assert (ran.status, [line.partition(" is ")[0] for line in alerts]) == (
            0,
            [f"ALERT: revocation-list: line 1 of config/{NAME}"],
        )


class TestLog:
    """If the log cannot be used, the key is revoked and the status is 2."""

    def test_not_recorded(self, machine: Machine) -> None:
        """The key is listed, and the message says that it was not recorded."""
        machine.log.mkdir(parents=True)
        ran = machine.call(*REVOKE, "--format", "json")
        assert (ran.status, ran.err) == (2, f"{NOT_RECORDED}it is not a regular file\n")
        assert listed(machine) == HEADER + entry(machine.fingerprint())
        state = [ran.document[name] for name in ("ok", "recorded", "revoked", "records")]
        assert (state, len(ran.document["steps"])) == ([False, False, True, []], 3)

    def test_damaged_after_the_record(self, machine: Machine) -> None:
        """For a key with a recorded revocation, a log that does not verify is reported too."""
        machine.call(*REVOKE)
        machine.log.write_bytes(machine.log.read_bytes() + b"changed\n")
        ran = machine.call(*REVOKE)
        assert (ran.status, ran.out.partition(":")[0]) == (2, "Already revoked")
        assert "secret_operations.jsonl: it does not verify (line 2 cannot be parsed); " in ran.err
