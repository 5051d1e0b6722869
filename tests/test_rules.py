"""Each check: its exact text, both sides of its boundary, and that no other check fires."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from command_line import fingerprint_of
from conftest import NOW, V1, V2, Checker, found, good_keys, marker, posix_only, put
from pydantic import SecretStr
from rule_cases import changed_setup, listed, model_of, problems, rotated

from robodj_secretguard import (
    Check,
    Fault,
    Kind,
    Material,
    RuntimeSecrets,
    Secret,
    SecretPolicy,
    SecretSettings,
    Severity,
    State,
    check,
)
from robodj_secretguard.startup.environments import ENVIRONMENT_RULES
from robodj_secretguard.startup.inputs import (
    EVENT_SETTINGS,
    GROUP_WRITABLE,
    NOT_ALLOWED,
    OWNED,
    READABLE,
    TextFile,
    variables_read,
)
from robodj_secretguard.startup.list_rules import LIST_RULES
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.readings import Environment, read
from robodj_secretguard.startup.rules import (
    SECRET_RULES,
    SETUP_RULES,
    VALUE_RULES,
    Problem,
    how_to_set,
    internal,
)
from robodj_secretguard.startup.time_rules import MARKER_RULES, PREVIOUS_RULES, REVOKED_RULES, how_to_renew
from robodj_secretguard.testing import KINDS

K1, K2 = "secret.key", "secret_v2.key"
E1, E2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
NEXT, PREVIOUS, UNTIL = f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
REVOKED, LIST = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"
PROTECTED, EPHEMERAL = "ROBODJ_PROTECTED_ENV", "ROBODJ_SECRETS_EPHEMERAL"
MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
WEAK = "Zy" * 30
POLICIES = tuple(RuntimeSecrets.secret_policies.values())
CURRENT = f"set {V1} from the secret manager"
LATE_RULES = (MARKER_RULES, PREVIOUS_RULES, LIST_RULES, ENVIRONMENT_RULES)
CHECKS_WITH_A_RULE = {
    check for rules in (VALUE_RULES, REVOKED_RULES, SECRET_RULES, SETUP_RULES, *LATE_RULES) for check, _ in rules
} | {Check.SHARED, Check.SLOTS_EQUAL}


class TestTables:
    """The checks and the tables of their rules, from which the plugin's kinds come."""

    def test_a_check_is_known_by_its_id(self) -> None:
        """A check is its id, with a severity and a state."""
        assert Check("expired") is Check.EXPIRED
        assert f"{Check.EXPIRED}" == Check.EXPIRED.value == "expired"
        assert (Check.EXPIRED.severity, Check.EXPIRED.state) == (Severity.ALERT, State.EXPIRED)

    def test_every_check_of_the_guard_has_a_rule(self) -> None:
        """Only the checks of the operations log, of `--from` and of a refresh have no rule."""
        without = [str(check) for check in Check if check not in CHECKS_WITH_A_RULE]
        assert without == ["discontinuous", "superseded", "drift", "source", "unavailable"]

    @pytest.mark.parametrize(("check", "rule"), VALUE_RULES, ids=[check for check, _ in VALUE_RULES])
    def test_rule_of_the_value_finds_nothing_in_a_sound_key(self, check: Check, rule: Any) -> None:
        """The rules of a bad value find nothing in a key: the report runs them only for other values."""
        readings = read(POLICIES, variables_read(POLICIES), environment=Environment(good_keys()), now=NOW)
        assert [*map(list, map(rule, readings))] == [[], []], check

    def test_every_check_of_the_guard_has_a_kind(self) -> None:
        """Each check of the guard has a kind, except those that no value of one secret sets up."""
        without = {Check.CLOCK, Check.INTERNAL, Check.ENVIRONMENT}
        assert [*KINDS] == [check for check in Check if check in CHECKS_WITH_A_RULE - without]


CORRECT = "; if it is right, restore the directory from version control"


class TestLines:
    """The two lines of faults that test_fixes.py cannot set up."""

    @pytest.mark.parametrize(
        ("named_by", "what", "fix"),
        [
            (None, "config", "restore the directory config from version control"),
            ("environment", "$ROBODJ_CONFIG_DIR", f"correct the path in ROBODJ_CONFIG_DIR{CORRECT}"),
            ("argument", "config_dir", f"correct the path in config_dir{CORRECT}"),
            ("model", "the model's config_dir", "restore that directory from version control"),
        ],
    )
    def test_directory_is_named_by_its_setting(self, named_by: str | None, what: str, fix: str) -> None:
        """The message names the setting, and shows the end of a path that is no key."""
        source = "environment" if named_by == "environment" else "none"
        what = what if named_by == "model" else f"the config directory {what}"
        shown = {"/srv/x": "/srv/x", f"/{'x' * 99}": "x" * 60, f"/{good_keys()[V1]}": "PATH"}
        for path, end in shown.items():
            expected = Problem(f"{what} fails: {end}" if named_by else f"{what} fails", fix, source)
            setup = changed_setup(directory_named_by=named_by, directory_fault="fails", directories=(path, ""))
            assert problems(Check.SETTING, setup) == [expected]
            if named_by == "model":
                setup = changed_setup(model_directory_fault="fails", directories=("", path))
                assert problems(Check.SETTING, setup) == [expected]
        (deleted,) = problems(
            Check.SETTING,
            changed_setup(
                directory_named_by=named_by, directory_fault="cannot be found: the working directory was deleted"
            ),
        )
        assert deleted.remedy == "change to the service's directory, then start again"
        (closed,) = problems(Check.SETTING, changed_setup(directory_named_by=named_by, directory_fault=NOT_ALLOWED))
        assert closed.remedy == "let the service's user enter that directory and each directory above"

    def test_invalid_event_setting_is_a_warning(self) -> None:
        """An invalid setting of the events is a warning with its name alone, and does not stop a service."""
        found = problems(Check.SETTING, changed_setup(event_faults=EVENT_SETTINGS))
        assert [each.message for each in found] == [
            f"{each} has an invalid value, and is ignored" for each in EVENT_SETTINGS
        ]
        assert {each.severity for each in found} == {Severity.WARNING}

    @pytest.mark.parametrize("require_env_only", [False, True])
    def test_missing_key_refers_to_the_missing_directory(self, tmp_path: Path, *, require_env_only: bool) -> None:
        """Where the config directory cannot be used, the fix refers to that alert, unless files are off."""
        environ = {V2: good_keys()[V2]}
        report = check(environ=environ, config_dir=tmp_path / "x", require_env_only=require_env_only, now=NOW)
        add = f"add one: robodj-secretguard generate secret.key --model {LIBRARY_MODEL} --show"
        what, fix = "fallback files are not read)", f"set {V1} from the secret manager; if it has none, {add}"
        if not require_env_only:
            what, fix = (
                f"{V1} is not set, and there is no secret.key in config_dir",
                "first do what the setting alert says, then start again",
            )
        missing = report.findings[-1]
        assert (missing.check, missing.message.endswith(what), missing.remedy) == (Check.MISSING, True, fix)

    @pytest.mark.parametrize(
        ("name", "what", "fix"),
        [
            (
                "TypeError",
                "the check itself failed",
                "check the arguments of guard(), the kinds and the validators; if they are right, report a bug",
            ),
            (
                "ValidationError",
                "a validator of the model failed",
                "correct the validators of the model; they run only on values that passed every check",
            ),
            (
                "ModuleNotFoundError",
                "a module cannot be imported",
                "call guard() before chroot or a change of the user; otherwise allow more open files, or install again",
            ),
        ],
    )
    def test_failed_check_shows_only_the_type(self, name: str, what: str, fix: str) -> None:
        """Only the type of an error is reported. After chroot, the modules of the library are not there any more."""
        assert internal(name) == Problem(f"{what} ({name}), so nothing is verified", fix, "none")

    @pytest.mark.parametrize("name", ["\N{GREEK SMALL LETTER ALPHA}", "a\nALERT: forged"])
    def test_odd_name_of_a_type_is_not_shown(self, name: str) -> None:
        """The name of a type is not shown if it is not an ASCII identifier."""
        error = type(name, (Exception,), {})

        class Hostile(dict[str, str]):
            def __contains__(self, _key: object) -> bool:
                raise error

        assert "(an error)" in check(environ=Hostile({V1: "x"}), now=NOW).findings[0].message


ISSUED = POLICIES[0]._replace(material=Material.opaque(), generator=None, issuer="us")
ROTATE, ISSUE = "run robodj-secretguard rotate plan secret.key", "issue a new one at us"


class TestRemedies:
    """The fixes that several rules have, with and without a manager."""

    @pytest.mark.parametrize(
        ("policy", "slot", "manager", "remedy"),
        [
            (POLICIES[0], "current", "", f"{CURRENT}; if it has no other value, {ROTATE}"),
            (POLICIES[0], "current", "a", f"{ROTATE} --from a"),
            (POLICIES[0], "current", "json:-", ROTATE),
            (POLICIES[0]._replace(required=False), "current", "a", f"{ROTATE} --from a"),
            (
                POLICIES[0],
                "next",
                "",
                "set K to the secret manager's next key; if it has no other, unset it, there too",
            ),
            (POLICIES[0], "next", "a", "in a, set K to the right next key; if there is none, delete it"),
            (
                POLICIES[0],
                "previous",
                "a",
                "in a, set K to the right previous key; if there is none, delete it and its deadline",
            ),
            (ISSUED, "current", "", f"{CURRENT}; if it has no other value, {ISSUE} and store it there"),
            (ISSUED, "current", "a", f"{ISSUE}, then run robodj-secretguard rotate put {ISSUED.name} --to a"),
        ],
    )
    def test_how_to_set(self, policy: SecretPolicy, slot: Any, manager: str, remedy: str) -> None:
        """A slot may be left out, and a current key may not. What is in the manager is corrected there."""
        reading, _ = read(POLICIES, variables_read(POLICIES), environment=Environment(good_keys()), now=NOW)
        used = reading.used._replace(manager=manager)
        assert how_to_set(reading._replace(policy=policy, slot=slot, variable="K", used=used)) == remedy

    @pytest.mark.parametrize(
        ("policy", "manager", "remedy"),
        [
            (POLICIES[0], "", f"{ROTATE} and follow its steps"),
            (POLICIES[0], "a", f"{ROTATE} --from a and follow its steps"),
            (
                ISSUED,
                "",
                f"{ISSUE}, store it in the secret manager, then set {V1} to it, and {E1} to its expiry time",
            ),
        ],
    )
    def test_how_to_renew(self, policy: SecretPolicy, manager: str, remedy: str) -> None:
        """A key is renewed with its date, by a plan."""
        assert how_to_renew(policy, manager) == remedy


class TestValue:
    """Checks of the value: only the first finding of a secret is reported."""

    @pytest.mark.parametrize(
        ("value", "fired", "state"),
        [
            ("", "missing", State.MISSING),
            ("changeme", "placeholder", State.INVALID_FORMAT),
            ("short", "format", State.INVALID_FORMAT),
            ("=", "format", State.INVALID_FORMAT),
            ("é" * 43, "placeholder", State.INVALID_FORMAT),
            ("\udcff" * 43, "format", State.INVALID_FORMAT),
            (WEAK, "weak", State.INVALID_FORMAT),
            (None, None, State.PRESENT),
        ],
    )
    def test_only_a_valid_key_is_searched_for(
        self, checker: Checker, value: str | None, fired: str | None, state: State
    ) -> None:
        """Only a valid key is searched for on the revocation list, whatever its entries are."""
        keys = good_keys()
        given = keys | ({} if value is None else {V1: value})
        report = checker(given | {REVOKED: listed(secrets.token_urlsafe(32), *filter(str.isascii, [value or "x"]))})
        assert found(report) == ([(fired, K1)] if fired else [])
        assert report.secrets[0].state is state

    @pytest.mark.parametrize("require_env_only", [False, True])
    def test_key_on_either_list_is_revoked(self, checker: Checker, *, require_env_only: bool) -> None:
        """A key on either list is revoked, also in environment-only mode and as another secret. No other key is."""
        keys = good_keys()
        revoked = listed(keys[V2]).strip()
        near = revoked[:-1] + ("0" if revoked[-1] != "0" else "1")
        assert found(checker(keys | {REVOKED: near}, require_env_only=require_env_only)) == []
        report = checker(keys | {REVOKED: f"{near},{revoked}"}, require_env_only=require_env_only)
        assert (found(report), report.secrets[1].state) == ([("revoked", K2)], State.PRESENT)
        checker.write(LIST, f"{near}\n{revoked}\n")
        assert found(checker(keys, require_env_only=require_env_only)) == [("revoked", K2)]
        assert found(checker({V1: keys[V2].upper(), V2: good_keys()[V2]})) == [("revoked", K1)]

    @posix_only
    def test_key_of_a_file_is_revoked_where_it_is_used(self, checker: Checker) -> None:
        """A key from a file is checked. A key in an unsafe or unneeded file is not."""
        keys = good_keys()
        checker.write(K1, keys[V1])
        revoked = {V2: keys[V2], REVOKED: listed(keys[V1])}
        assert found(checker(revoked)) == [("revoked", K1), ("file-fallback", K1)]
        assert found(checker(good_keys() | {REVOKED: listed(keys[V1])})) == [("file-stale", K1)]
        checker.write(K1, keys[V1], 0o666)
        report = checker(revoked)
        assert found(report) == [("file-unsafe", K1)]
        assert (report.secrets[0].state, report.secrets[0].fingerprint) == (State.INVALID_FORMAT, None)
        checker.write(K1, "# none", 0o666)
        assert found(checker(revoked)) == [("missing", K1)]


class Shouting(Kind):
    """A kind of a service's own, whose faults a test chooses."""

    message: str = "has a wrong first letter"
    fix: str = ""
    check: Any = "format"

    def fault(self, text: str, variable: str = "") -> Fault | None:
        """Refuse what does not begin with an A."""
        message = self.message.replace("TEXT", text).replace("UPPER", text.upper()).replace("VARIABLE", variable)
        return None if text.startswith("A") else Fault(self.check, message, self.fix)


class TestOwnKind:
    """A service's own kind."""

    @pytest.mark.parametrize(
        ("kind", "message", "remedy"),
        [
            (Shouting(), "has a wrong first letter", "set OWN_KEY from the secret manager"),
            (Shouting(fix="set {} with an {A}"), "has a wrong first letter", "set OWN_KEY with an {A}"),
            (Shouting("equals VARIABLE"), "equals OWN_KEY", "set OWN_KEY"),
            (Shouting("is TEXT"), "is refused by its kind", "set OWN_KEY"),
            (Shouting("is UPPER"), "is refused by its kind", "set OWN_KEY"),
            (Shouting(check="broken"), "is refused by its kind", "set OWN_KEY"),
            (Shouting(fix="TEXT"), "is refused by its kind", "set OWN_KEY"),
            (Shouting("is wrong\nALERT: forged"), "is refused by its kind", "set OWN_KEY"),
            (Shouting(" "), "is refused by its kind", "set OWN_KEY"),
        ],
    )
    @pytest.mark.parametrize("value", ["no-such-value", "zq"], ids=["a long value", "a short value"])
    def test_its_fault_is_shown_without_the_value(self, kind: Shouting, message: str, remedy: str, value: str) -> None:
        """The fault and the fix are those of the kind, but never with a part of the value or a second line."""
        kind = kind._replace(fix=kind.fix.replace("TEXT", f"use {value}"))
        (finding,) = check(model_of(kind), environ={"OWN_KEY": value}).findings
        assert (finding.check, finding.message) == ("format", f"OWN_KEY {message}")
        assert finding.remedy.startswith(remedy)

    def test_its_value_has_no_fingerprint(self) -> None:
        """A value that its kind accepts passes, without a fingerprint unless the kind says that nobody can guess it."""
        environ = {"OWN_KEY": "A" + secrets.token_urlsafe(32)}
        hidden, shown = (
            check(model_of(kind), environ=environ).secrets[0].fingerprint
            for kind in (Shouting(), type("Random", (Shouting,), {"has_fingerprint": True})())
        )
        assert (hidden, shown) == (None, fingerprint_of(environ["OWN_KEY"]))

    @pytest.mark.parametrize("slot", ["", "_NEXT", "_PREVIOUS"])
    @pytest.mark.parametrize("name", ["LookupError", "\N{GREEK SMALL LETTER ALPHA}"])
    @pytest.mark.parametrize("method", ["fault", "usable"])
    def test_its_error_is_an_alert_of_its_secret_alone(self, slot: str, name: str, method: str) -> None:
        """A kind that raises does not verify its value. The alert has no text of the error, and others are judged."""

        class Raising(Shouting):
            has_fingerprint = True

            def fault(self, text: str, variable: str = "") -> Fault | None:
                self.judge(text, "fault")
                return super().fault(text, variable)

            def usable(self, text: str) -> str:
                self.judge(text, "usable")
                return text

            def judge(self, text: str, called: str) -> None:
                if "no-such-value" in text and called == method:
                    raise type(name, (Exception,), {})(text)

        class Own(RuntimeSecrets):
            own_key: Annotated[Secret, SecretPolicy(material=Raising(), overlap=DAY)]

        environ = good_keys() | {"OWN_KEY": "A-good-value", "OWN_KEY_PREVIOUS_UNTIL": marker(HOUR)}
        report = check(Own, environ=environ | {f"OWN_KEY{slot}": "A no-such-value of 16"}, now=NOW)
        shown = name if name.isascii() else "an error"
        assert [(each.secret, each.message) for each in report.alerts] == [
            ("own_key", f"the kind of own_key failed ({shown}), so its value is not verified")
        ]
        assert [each.usable for each in report.secrets] == [True, True, False]

    def test_a_file_that_its_kind_cannot_judge(self, tmp_path: Path) -> None:
        """A fallback file that is not used, and that a kind cannot judge, counts as key material."""

        class Raising(Shouting):
            def fault(self, text: str, variable: str = "") -> Fault | None:
                if "no-such-value" in text:
                    raise SystemExit(text)
                return super().fault(text, variable)

        class Own(RuntimeSecrets):
            own_key: Annotated[Secret, SecretPolicy(material=Raising())]

        put(tmp_path / "own_key", "a no-such-value")
        tmp_path.chmod(0o700)
        report = check(Own, environ=good_keys() | {"OWN_KEY": "A-GOOD-VALUE"}, config_dir=tmp_path, now=NOW)
        assert ("file-stale", "own_key") in found(report)

    def test_kinds_with_the_same_parameters_differ(self) -> None:
        """Kinds of two classes are never equal, so that no model keeps the policy of another kind."""
        other = type("Other", (Shouting,), {})()
        assert (Shouting() == Shouting(), Shouting() != Shouting()) == (True, False)
        assert (Shouting() == other, Shouting() != other, len({Shouting(), other, Shouting()})) == (False, True, 2)


class TestSlots:
    """The next and the previous key."""

    def test_each_slot_has_a_fingerprint(self, checker: Checker) -> None:
        """Each slot has a fingerprint, and the deadline is shown. State and source describe the current key."""
        environ = rotated()
        report = checker(environ)
        status = report.secrets[0]
        assert (found(report), status.usable, status.state) == ([], True, State.PRESENT)
        assert (status.fingerprint, status.next_fingerprint) == (
            fingerprint_of(environ[V1]),
            fingerprint_of(environ[NEXT]),
        )
        assert (status.previous_fingerprint, status.previous_until) == (
            fingerprint_of(environ[PREVIOUS]),
            NOW + 3 * DAY,
        )

    @pytest.mark.parametrize(
        ("slot", "value", "fired"),
        [
            ("next", "changeme", "placeholder"),
            ("next", "short", "format"),
            ("next", WEAK, "weak"),
            ("previous", "changeme", "placeholder"),
            ("previous", "short", "format"),
            ("previous", "'KEY'", "format"),
        ],
    )
    def test_bad_slot_makes_the_secret_unusable(self, checker: Checker, slot: str, value: str, fired: str) -> None:
        """A bad value makes the secret unusable. It has no fingerprint, and the current key stays present."""
        report = checker(rotated(**{f"{V1}_{slot.upper()}": value.replace("KEY", good_keys()[V1])}))
        (finding,) = report.alerts
        assert (finding.check, finding.secret, finding.slot, finding.source) == (fired, K1, slot, "environment")
        status = report.secrets[0]
        assert (status.usable, status.state, getattr(status, f"{slot}_fingerprint")) == (False, State.PRESENT, None)
        assert status.fingerprint is not None

    def test_slots_are_read_next_to_a_key_file(self, checker: Checker) -> None:
        """The slots are read from the environment, also where the current key comes from a file."""
        environ = rotated()
        checker.write(K1, environ.pop(V1))
        assert found(checker(environ)) == [("file-fallback", K1)]
        checker.write(f"{K1}_next", "changeme")
        assert found(checker(environ)) == [("file-fallback", K1)]

    @pytest.mark.parametrize("one", [V1, NEXT, PREVIOUS])
    @pytest.mark.parametrize("other", [V2, f"{V2}_NEXT", f"{V2}_PREVIOUS"])
    def test_key_of_another_secret_is_an_alert_in_every_slot(self, checker: Checker, one: str, other: str) -> None:
        """The same key in two secrets is an alert in every slot."""
        key = good_keys()[V2]
        environ = rotated() | {f"{V2}_PREVIOUS": good_keys()[V2], f"{V2}_PREVIOUS_UNTIL": marker(DAY)}
        report = checker(environ | {one: key, other: key})
        assert found(report) == [("shared", K2)]
        assert report.findings[0].message.startswith(f"{other} and {one} are equal")
        assert [status.usable for status in report.secrets] == [False, False]

    def test_shared_slots_are_named_in_their_order(self, checker: Checker) -> None:
        """The slots are named in their order."""
        environ = rotated() | dict.fromkeys((V1, NEXT, PREVIOUS, V2), good_keys()[V2])
        shared = checker(environ).findings[-1]
        assert shared.message.startswith(f"{V2} and {V1} and {NEXT} and {PREVIOUS} are equal")

    @pytest.mark.parametrize("slot", ["", "_NEXT", "_PREVIOUS"])
    @pytest.mark.parametrize(
        ("entries", "is_revoked"),
        [
            ("{0}", True),
            ("{0}@2026-12-01T12:00:00Z", True),
            ("{0}@2026-12-01T12:00:01Z", False),
            ("{0}@2026-12-01T14:00:00+02:00", True),
            ("{0}@2027-01-01T00:00:00Z {0}", True),
            ("{0}@2027-01-01T00:00:00Z {0}@2026-11-01T00:00:00Z", True),
        ],
    )
    def test_dated_revocation_holds_from_its_instant(
        self, checker: Checker, slot: str, entries: str, *, is_revoked: bool
    ) -> None:
        """An entry with an instant holds from then on. The earliest entry of a key counts. Only current refuses."""
        environ = rotated()
        report = checker(environ | {REVOKED: entries.format(fingerprint_of(environ[f"{V1}{slot}"]))})
        assert (found(report), report.ok) == ([("revoked", K1)] * is_revoked, bool(slot) or not is_revoked)

    def test_secret_without_an_overlap_has_no_slots(self, tmp_path: Path) -> None:
        """A secret without an overlap has no slots. A variable of a slot has no effect, which is a warning."""

        class Own(SecretSettings):
            own: Annotated[SecretStr, POLICIES[0]._replace(overlap=timedelta(0), stores_data=False)]

        environ = {V1: good_keys()[V1], NEXT: "changeme", PREVIOUS: "changeme"}
        report = check(Own, environ=environ, config_dir=tmp_path, now=NOW)
        assert [each.lines[0] for each in report.findings] == [
            f"WARNING: secret.key: near-miss: {name} is not read; did you mean {V1}?" for name in (NEXT, PREVIOUS)
        ]


class TestFiles:
    """Fallback files that are in use or not needed."""

    @pytest.mark.parametrize(
        ("content", "holds"),
        [
            ("", False),
            ("# template\nREPLACE_WITH_A_KEY\nCHANGEME\n", False),
            ("leftover", True),
            ("REPLACE_WITH_A_KEY\nleftover", True),
            (b"\xff\xfe", True),
        ],
    )
    def test_all_but_placeholders_is_key_material(self, checker: Checker, content: str | bytes, *, holds: bool) -> None:
        """Everything except blanks, comments and placeholders is key material, and so is an unreadable file."""
        checker.write(K1, content, 0o666)
        stale, present = checker(good_keys()), checker(good_keys(), require_env_only=True)
        assert (found(stale), found(present)) == ([("file-stale", K1)] * holds, [("file-present", K1)] * holds)
        keys = good_keys()
        missing = checker({V2: keys[V2]}, require_env_only=True)
        assert found(missing) == [("missing", K1)] + [("file-present", K1)] * holds

    def test_remedy_on_a_read_only_mount_is_not_chmod(self) -> None:
        """The fix is not chmod, which would fail."""
        policy, variables = POLICIES[0], {V1: good_keys()[V1]}
        offer = Environment(variables).offer(policy)
        offer = offer._replace(file=TextFile(lax=("is lax",), lax_paths=("is in a lax directory",)))
        reading, _ = read(POLICIES, variables_read(POLICIES), environment=Environment(variables), now=NOW)
        (rule,) = (rule for check, rule in SECRET_RULES if check is Check.FILE_PERMISSIONS)
        assert [*rule(reading._replace(used=offer))] == [
            Problem(
                f"{V1} is lax, and 1 more",
                f"set {V1} from the secret manager, then take the file out of the read-only mount",
            )
        ]
        assert [*rule(reading._replace(used=offer._replace(faults=("is unsafe",))))] == []

    @pytest.mark.parametrize("lax", [(READABLE,), (OWNED,), (READABLE, GROUP_WRITABLE, OWNED)])
    def test_only_the_first_fault_is_named(self, lax: tuple[str, ...]) -> None:
        """Only the first fault is named, and the others are counted. One fix covers the owner and the mode."""
        reading, _ = read(POLICIES, variables_read(POLICIES), environment=Environment(good_keys()), now=NOW)
        used = reading.used._replace(location="PLACE", file=TextFile(lax=lax))
        (rule,) = (rule for check, rule in SECRET_RULES if check is Check.FILE_PERMISSIONS)
        (problem,) = rule(reading._replace(used=used))
        assert problem.message == f"PLACE {lax[0]}{', and 2 more' if len(lax) > 1 else ''}"
        fix = "if you keep the file, make the service's user its owner, then run chmod 600 on PLACE"
        assert problem.remedy == fix


class TestNearMiss:
    """Misspelled names of variables and files."""

    @pytest.mark.parametrize(
        ("name", "secret", "severity"),
        [
            (f"{V1}S", K1, Severity.WARNING),
            (f"{V2}_EXPIRES", K2, Severity.ALERT),
            *((name, K1, Severity.WARNING) for name in (f"{NEXT}_FILE", f"{V1}_NEW", f"{NEXT}T")),
            *((name, K1, Severity.WARNING) for name in (f"{PREVIOUS}_FILE", f"{V1}_OLD", f"{V1}_PREV")),
            *((f"{PREVIOUS}_{end}", K1, Severity.ALERT) for end in ("EXPIRES_AT", "DEADLINE", "UNTILS")),
            (f"{PROTECTED}S", None, Severity.ALERT),
            ("ROBODJ_CONFIG_DIRS", None, Severity.WARNING),
        ],
    )
    def test_typo_that_weakens_a_check_is_an_alert(
        self, checker: Checker, name: str, secret: str | None, severity: Severity
    ) -> None:
        """A typo is an alert if it could weaken a check, and a warning if only a key is missed."""
        report = checker(good_keys() | {name: "true"})
        assert [(*each, report.findings[0].severity) for each in found(report)] == [("near-miss", secret, severity)]

    def test_declared_file_is_not_a_typo(self) -> None:
        """A file that another secret declares is not a typo."""
        named = POLICIES[1]._replace(file="config/secret.key.txt")
        list_too = POLICIES[1]._replace(file=f"config/{LIST}.txt")
        files = [TextFile(misnamed=True)]
        for policies, number in ((POLICIES, 1), ((POLICIES[0], list_too), 0), ((POLICIES[0], named), 1)):
            setup = changed_setup(policies=policies, lists=tuple(files))
            assert len(problems(Check.NEAR_MISS, setup)) == number
