"""The plan of a rotation: its steps in each situation, and the commands in it. `tests/trials/plans` pastes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import pytest
from command_line import rotated
from conftest import NOW, V1, V2, Checker, good_keys, marker
from pydantic import SecretStr
from test_vendor import ICECAST

from robodj_secretguard import Report, RuntimeSecrets, SecretSettings, check
from robodj_secretguard.lifecycle.records import Record, Stage, draft
from robodj_secretguard.lifecycle.runbook import plan_rotation
from robodj_secretguard.startup.readings import ALWAYS, RevocationStatus
from robodj_secretguard.startup.rules import Check

Steps = list[tuple[str, str | None]]

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
POLICY, SECOND = POLICIES
NAME = POLICY.name
WITHOUT_OVERLAP = POLICY._replace(overlap=timedelta(0), stores_data=False)
CURRENT, COMING, PREVIOUS, OTHER_KEY = (f"sgfp1:{digit * 32}" for digit in "cbad")
DAY = timedelta(days=1)
NEXT, BEFORE, UNTIL, EXPIRES = (f"{V1}_{each}" for each in ("NEXT", "PREVIOUS", "PREVIOUS_UNTIL", "EXPIRES_AT"))
PROGRAM = "robodj-secretguard"
WHO = "--operator 'dana o'\"'\"'neil'"
OPTIONS = "--log x --model m:C"
DONE = "--attest startup --attest functions"
VAULT, AWS = "vault:secret/robodj/prod", "aws:robodj/prod"
PROMOTION = f"""\
[ -n "${{{NEXT}-}}" ] && {{
    [ "${{{V1}-}}" = "${{{NEXT}-}}" ] || {{
        drop_secret {BEFORE} && put_secret {UNTIL} 2026-12-15T12:00:00Z &&
            put_secret {BEFORE} "${{{V1}-}}"
    }}
}} && put_secret {V1} "${{{NEXT}-}}" &&
    put_secret {EXPIRES} 2027-03-01T12:00:00Z && drop_secret {NEXT}"""
AFTER_PROMOTION = ["check", "restart", "test", "record", "list", "re-encrypt", "again"]
AFTER_LEAK = ["disable", "list", "deliver", "check", "start", "test", "record", "sessions", "re-encrypt"]
THERE = [each for each in AFTER_LEAK if each != "deliver"]
"""The same in a manager that the services read."""
WORDS = {
    "define how": "define",
    "Load the keys": "load",
    "Record the current key": "record old",
    "as ROBODJ_SECRET_KEY_NEXT": "next",
    "alone, and store it": "replace",
    "In the settings of each": "deliver",
    "Make sure that every instance": "set",
    "Promote the next": "promote",
    "promote it": "promote",
    "un the check": "check",
    "Restart the instances": "restart",
    "Start every service": "start",
    "Test the functions": "test",
    "Record the rotation": "record",
    "commit it": "list",
    "Re-encrypt": "re-encrypt",
    "emove the previous key from": "unset",
    "Disable the old version": "disable",
    "Wait until": "wait",
    "rint the plan again": "again",
    "Stop every": "stop",
    "Revoke": "revoke",
    "Invalidate": "sessions",
    "Store a next key": "stage",
    "Replace the current": "replace",
}
"""By a part of a step's text: a word for the step."""


def recorded(days: int, key: Any = CURRENT, **fields: Any) -> Record:
    """Return the record of a rotation some days ago."""
    return rotated(NOW - days * DAY, key, **fields)


def revocation(key: str) -> Record:
    """Return the record of a revocation."""
    return replace(draft("revoked", secret=NAME, reason="leaked", fingerprint=key), recorded_at=NOW)


@pytest.fixture
def report(checker: Checker) -> Report:
    """A report on a sound current key with a known fingerprint."""
    return with_keys(checker(good_keys()), fingerprint=CURRENT)


def with_keys(report: Report, **fields: Any) -> Report:
    """Return a report with these fields of the first secret."""
    first, *others = report.secrets
    return report._replace(secrets=(first._replace(**fields), *others))


def planned(report: Report, *records: Record, policy: Any = POLICY, **more: Any) -> tuple[Stage | None, Steps]:
    """Plan a rotation in prod, by default in a shell that has loaded its keys."""
    fields: dict[str, Any] = {
        "environment": "prod",
        "who": ("--operator", "dana o'neil"),
        "options": ("--log", "x", "--model", "m:C"),
        "model": ("--model", "m:C"),
        "policies": POLICIES,
        "is_loaded": True,
    } | more
    return plan_rotation(policy, report, records, **fields)


def words(steps: Steps) -> list[str]:
    """Return the word for each step."""
    return [next(word for part, word in WORDS.items() if part in text) for text, _ in steps]


def commands(steps: Steps) -> dict[str, str]:
    """Return the commands of each step that has any, by its word."""
    return {word: each for word, (_, each) in zip(words(steps), steps, strict=True) if each}


OVERLAP: dict[str, Any] = {"previous_fingerprint": PREVIOUS, "previous_until": NOW + DAY}
IN_VAULT: dict[str, Any] = {"sources": [VAULT]}
EMERGENCY: dict[str, Any] = {"is_emergency": True}
PROMOTED = ["promote", "deliver", *AFTER_PROMOTION]
ENDED = ["re-encrypt", "unset", "deliver", "disable"]
START = ["check", "start", "test", "record"]
STOP = ["stop", "revoke", "replace", *AFTER_LEAK]
NEW = ["next", "set", "check", "restart", *PROMOTED]
REVOKED = {"ROBODJ_REVOKED_FINGERPRINTS": CURRENT}
PLANS: dict[str, tuple[dict[str, str], dict[str, Any], list[Record], dict[str, Any], Stage | None, list[str]]] = {
    "the current key is recorded": ({}, {}, [], {}, "next", ["record old", *NEW]),
    "unless it has a record": ({}, {}, [recorded(3)], {}, "next", NEW),
    "unless it is revoked": ({}, {}, [revocation(CURRENT)], {}, None, STOP),
    "unless the check fails": ({V2: "changeme"}, {}, [], {}, "next", NEW),
    "where a check fails on warnings, there is none": (
        {},
        {},
        [recorded(3)],
        {"is_strict": True},
        "next",
        [each for each in NEW if each != "check"],
    ),
    "current and previous are swapped": ({}, OVERLAP, [recorded(9), recorded(1, PREVIOUS)], {}, "retire", ["again"]),
    "they are swapped, and there is an older one": (
        {},
        OVERLAP,
        [recorded(20, OTHER_KEY), recorded(9), recorded(1, PREVIOUS)],
        {},
        "retire",
        ["again"],
    ),
    "in an emergency, swapped keys are replaced": (
        {},
        OVERLAP,
        [recorded(9), recorded(1, PREVIOUS)],
        EMERGENCY,
        None,
        STOP,
    ),
    "equal slots are not swapped": (
        {},
        OVERLAP | {"previous_fingerprint": CURRENT},
        [recorded(9)],
        {},
        "next",
        NEW,
    ),
    "a next key waits for the end of an overlap": (
        {},
        {"next_fingerprint": COMING, **OVERLAP},
        [recorded(3)],
        {},
        "promote",
        ["wait"],
    ),
    "so it does in a manager": ({}, {"next_fingerprint": COMING, **OVERLAP}, [], IN_VAULT, "promote", ["wait"]),
    "a next key is promoted after the overlap": (
        {},
        {"next_fingerprint": COMING, **OVERLAP, "previous_until": NOW},
        [recorded(3)],
        {},
        "promote",
        PROMOTED,
    ),
    "a next key is promoted without a previous one": (
        {},
        {"next_fingerprint": COMING},
        [recorded(3)],
        {},
        "promote",
        PROMOTED,
    ),
    "another secret has no next key": (
        {},
        {"next_fingerprint": COMING},
        [],
        {"policy": SECOND},
        "next",
        ["record old", "replace", *NEW[1:]],
    ),
    **{
        f"an expired key is replaced at once: {number}": (
            {EXPIRES: marker(timedelta(0))},
            slots,
            [],
            {},
            "promote",
            ["next", *PROMOTED],
        )
        for number, slots in enumerate(({}, OVERLAP, {"next_fingerprint": COMING, **OVERLAP}))
    },
    "a rotation ends": ({}, OVERLAP, [recorded(30, PREVIOUS), recorded(2)], {}, "retire", ENDED),
    "it ends as well where another key was recorded later": (
        {},
        OVERLAP,
        [recorded(9), recorded(1, OTHER_KEY)],
        {},
        "retire",
        ENDED,
    ),
    "a rotation is recorded first": (
        {},
        OVERLAP,
        [recorded(30, PREVIOUS)],
        {},
        "retire",
        ["deliver", *AFTER_PROMOTION[:-2], *ENDED],
    ),
    "its record is completed first": (
        {},
        OVERLAP,
        [recorded(30, PREVIOUS), recorded(2, startup="not-done")],
        {},
        "retire",
        ["deliver", *AFTER_PROMOTION[:-2], *ENDED],
    ),
    "a secret without an overlap": (
        {},
        {},
        [],
        {"policy": WITHOUT_OVERLAP},
        None,
        ["record old", "replace", "deliver", *START, "disable"],
    ),
    **{
        f"a key that no slot accepts is replaced at once: {value!r}": (
            {V1: value},
            {},
            [],
            {},
            None,
            ["replace", "deliver", *START, *ending],
        )
        for value, ending in (
            ("changeme", []),
            ("", []),
            ("A" * 43, ["re-encrypt", "disable"]),
            ("short", ["re-encrypt", "disable"]),
        )
    },
    **{
        f"in a manager, it gets another key: {value!r}": (
            {V1: value},
            {"source": source},
            [],
            IN_VAULT,
            None,
            [*first, *START, *ending],
        )
        for value, source, first, ending in (
            ("changeme", VAULT, ["stage", "promote"], []),
            ("", "none", ["define", "replace"], []),
            ("short", VAULT, ["stage", "promote"], ["re-encrypt", "disable"]),
        )
    },
    "an emergency": ({}, {}, [], EMERGENCY, None, STOP),
    "an emergency without a key": ({}, {"fingerprint": None}, [], EMERGENCY, None, ["stop", "replace", *AFTER_LEAK]),
    "an emergency of a revoked key": (REVOKED, {}, [], EMERGENCY, None, ["stop", "replace", *AFTER_LEAK]),
    "a revoked key is an emergency": ({}, {"usable": False}, [revocation(CURRENT)], {}, None, STOP),
    **{
        f"an emergency goes on: {number}": ({}, {}, records, EMERGENCY, None, AFTER_LEAK)
        for number, records in enumerate(
            (
                [recorded(3, PREVIOUS), revocation(PREVIOUS)],
                [revocation(PREVIOUS)],
                [revocation(PREVIOUS), recorded(0, startup="not-done")],
            )
        )
    },
    **{
        f"an emergency begins: {number}": ({}, {}, records, EMERGENCY, None, STOP)
        for number, records in enumerate(
            (
                [recorded(3)],
                [recorded(3), revocation(CURRENT)],
                [replace(revocation(PREVIOUS), recorded_at=NOW - 1.1 * DAY)],
                [recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0)],
                [recorded(3, PREVIOUS), revocation(PREVIOUS), revocation(CURRENT)],
            )
        )
    },
}


@pytest.mark.parametrize(("environ", "fields", "records", "options", "stage", "expected"), PLANS.values(), ids=PLANS)
def test_the_steps_of_a_plan(  # noqa: PLR0917 - the columns of the table
    checker: Checker,
    environ: dict[str, str],
    fields: dict[str, Any],
    records: list[Record],
    options: dict[str, Any],
    stage: Stage | None,
    expected: list[str],
) -> None:
    """A plan begins with the step that comes next. In an emergency, the key is revoked before it is replaced."""
    report = checker(good_keys() | environ)
    known = {} if V1 in environ else {"fingerprint": CURRENT}
    found, steps = planned(with_keys(report, **(known | fields)), *records, **options)
    assert (found, words(steps)) == (stage, expected)


class TestShell:
    """The plan in a shell, for any manager: its functions first, then the steps for the keys that are loaded."""

    def test_not_loaded(self, report: Report) -> None:
        """Before the keys are loaded, nothing else is known. The steps define functions, load every key, and go on."""
        _, steps = planned(report, is_loaded=False, environment=None, is_emergency=True)
        assert words(steps) == ["define", "load", "again"]
        (_, functions), (_, load), (_, again) = steps
        assert str(functions).startswith('read_secret() { READ-COMMAND "$1"; }\n')
        assert f"load_secret {V1} {EXPIRES} {NEXT} {BEFORE} {UNTIL}\n" in str(functions)
        assert "load_secret ROBODJ_REVOKED_FINGERPRINTS\n}" in str(functions)
        assert load == f'load_secrets && [ -n "$(read_secret {V1})$(read_secret {V2})" ]'
        plan = f"{PROGRAM} rotate plan {NAME} --emergency --environment ENVIRONMENT {WHO} {OPTIONS}"
        assert again == f"SECRETGUARD_LOADED=yes {plan}"

    def test_next(self, report: Report) -> None:
        """Each command has the options of the plan, each value a name, and no step sets an empty one."""
        stage, steps = planned(with_keys(report, expires_at=NOW + DAY))
        where = f"{NAME} --environment prod {WHO}"
        record = f"{PROGRAM} rotate record {where} {DONE} {OPTIONS}"
        gate = f"load_secrets && {PROGRAM} check --require-env-only {OPTIONS}"
        assert stage == "next"
        assert words(steps) == ["record old", "next", "set", "check", "restart", "promote", "deliver", *AFTER_PROMOTION]
        assert commands(steps) == {
            "record old": record,
            "next": f'[ -n "${{{NEXT}-}}" ] || put_secret {NEXT} "$({PROGRAM} generate {NAME} --model m:C)"',
            "check": gate,
            "promote": PROMOTION,
            "record": f"load_secrets && {record}",
            "again": f"{PROGRAM} rotate plan {where} {OPTIONS}",
        }
        assert (
            steps[-1][0] == "After 2026-12-15T12:00:00Z, print the plan again. Its steps then remove the previous key:"
        )
        assert steps[-2][0] == f"Re-encrypt stored data that the old key (key id {CURRENT[6:]}) has encrypted."

    def test_revoked_slots(self, checker: Checker) -> None:
        """A revoked next key is replaced by another one, and a revoked previous key ends at once."""
        keys = good_keys()
        slots = {NEXT: good_keys()[V1], BEFORE: good_keys()[V1], UNTIL: marker(DAY)}
        found = checker(keys | slots).secrets[0]
        checker.write("revoked.fingerprints", f"{found.next_fingerprint}\n{found.previous_fingerprint}\n")
        stage, steps = planned(checker(keys | slots))
        assert stage == "retire"
        assert dict(zip(words(steps), steps, strict=True))["unset"][0].startswith("Remove the previous key from")
        del slots[BEFORE], slots[UNTIL]
        stage, steps = planned(checker(keys | slots))
        assert (stage, words(steps)[0]) == ("next", "next")
        assert steps[0][0].endswith(" It replaces the one that is there:")
        assert str(steps[0][1]).startswith(f"drop_secret {NEXT} && put_secret {NEXT} ")

    def test_rollback(self, report: Report) -> None:
        """Where the key was promoted before, its deadline on the list stays, if it is to come."""
        rolled_back = with_keys(report, next_fingerprint=COMING)
        for listed, day in ((3 * DAY, "04"), (15 * DAY, "15"), (0 * DAY, "15"), (-DAY, "15"), (None, "15")):
            entry = listed is not None and RevocationStatus((), ((CURRENT, NOW + listed),))
            _, steps = planned(rolled_back._replace(revocation_list=entry or None), recorded(9), recorded(2, COMING))
            assert f"put_secret {UNTIL} 2026-12-{day}T12:00:00Z " in commands(steps)["promote"]

    def test_environment(self, report: Report) -> None:
        """Without an environment, it is that of the last record of a key here."""
        _, steps = planned(report, recorded(3), recorded(2, OTHER_KEY, environment="dev"), environment=None)
        assert " --environment prod " in commands(steps)["record"]

    def test_the_dates_of_a_plan(self, report: Report) -> None:
        """A plan waits for the deadline that is set, and names the time of the old key's record."""
        _, ((wait, _),) = planned(with_keys(report, next_fingerprint=COMING, **OVERLAP), recorded(3))
        assert "Wait until 2026-12-02T12:00:00Z, when" in wait
        _, steps = planned(with_keys(report, **OVERLAP), recorded(40, PREVIOUS), recorded(30, PREVIOUS), recorded(2))
        assert steps[-3][0].startswith("After 2026-12-02T12:00:00Z, remove the previous key from")
        assert steps[-1][0].endswith(f" ({PREVIOUS}, recorded at 2026-11-01T12:00:00Z).")


class TestAtOnce:
    """A rotation without an overlap."""

    def test_a_new_key_replaces_the_old_one(self, report: Report) -> None:
        """A secret without an overlap has no slots, and a planned rotation revokes nothing."""
        new = f'put_secret {V1} "$({PROGRAM} generate {NAME} --model m:C)"'
        put = f"{new} &&\n    put_secret {EXPIRES} 2027-03-01T12:00:00Z"
        assert commands(planned(report, policy=WITHOUT_OVERLAP)[1])["replace"] == put
        slots = f"drop_secret {NEXT} && drop_secret {BEFORE} &&\n    drop_secret {UNTIL} &&\n    "
        revoked = report._replace(revocation_list=RevocationStatus((), ((CURRENT, ALWAYS),)))
        assert commands(planned(revoked, is_emergency=True)[1])["replace"] == slots + put

    def test_emergency(self, report: Report) -> None:
        """The services stop, and the key is revoked before it is replaced: an interruption leaves no doubt."""
        stage, steps = planned(report, is_emergency=True)
        assert (stage, words(steps)) == (None, ["stop", "revoke", "replace", *AFTER_LEAK])
        revoke = f"{PROGRAM} revoke {NAME} --fingerprint {CURRENT} --reason WHY --without-replacement --yes"
        assert commands(steps)["revoke"] == f"load_secrets && {revoke} --environment prod {WHO} {OPTIONS}"

    def test_interrupted_emergency(self, report: Report) -> None:
        """A key that was replaced, and not yet revoked, is revoked as well when the plan is printed again."""
        _, steps = planned(report, recorded(9, OTHER_KEY), recorded(3, PREVIOUS), is_emergency=True)
        assert commands(steps)["revoke"].count(f"{PROGRAM} revoke {NAME} --fingerprint") == 2
        assert PREVIOUS in commands(steps)["revoke"]


class TestSources:
    """The plan for the keys of a source."""

    @pytest.mark.parametrize("source", [VAULT, AWS])
    def test_steps_of_a_manager(self, report: Report, source: str) -> None:
        """In Vault and AWS, each step is a command, and reads the manager."""
        options: dict[str, Any] = {"sources": [source]}
        _, steps = planned(with_keys(report, source=source), **options)
        where = f"--to {source} --environment prod {WHO} {OPTIONS}"
        assert words(steps) == ["stage", "restart", "promote", *AFTER_PROMOTION]
        found = commands(steps)
        assert found["stage"] == f"{PROGRAM} rotate stage {NAME} {where}"
        assert found["promote"] == f"{PROGRAM} rotate promote {NAME} {where}"
        assert found["check"] == f"{PROGRAM} check --require-env-only --from {source} {OPTIONS}"
        assert f"{DONE} --from {source} {OPTIONS}" in found["record"]
        keys = {"previous_fingerprint": PREVIOUS, "previous_until": NOW + DAY}
        _, steps = planned(with_keys(with_keys(report, source=source), **keys), recorded(1), **options)
        assert commands(steps) == {"unset": f"{PROGRAM} rotate retire {NAME} {where}"}
        _, steps = planned(with_keys(report, source=source), is_emergency=True, policy=WITHOUT_OVERLAP, **options)
        assert words(steps) == ["stop", "replace", "revoke", *THERE[:-1]]
        run = f"{PROGRAM} rotate run {NAME} --emergency --reason WHY {where}"
        assert commands(steps)["replace"] == run
        given = with_keys(report, source=source)
        assert commands(planned(given, recorded(0), is_emergency=True, **options)[1])["replace"] == f"{run} --now"
        given = given._replace(revocation_list=RevocationStatus((), ((PREVIOUS, ALWAYS),)))
        new = recorded(0, startup="not-done")
        _, steps = planned(given, revocation(PREVIOUS), new, is_emergency=True, **options)
        assert CURRENT not in commands(steps)["revoke"]
        assert words(steps) == ["revoke", *THERE]

    @pytest.mark.parametrize(
        ("source", "hint", "read"),
        [
            (VAULT, "write vault in place of bao:", 'bao kv get -mount=secret -field="$1" robodj/prod'),
            (AWS, "They need jq, 1.7 or later:", "aws_text | jq -er --arg name \"$1\" '.[$name] // empty'"),
            ("directory:/run/keys", '"$1" is the name of the variable:', 'READ-COMMAND "$1"'),
        ],
    )
    def test_by_hand(self, report: Report, source: str, hint: str, read: str) -> None:
        """A secret without an overlap is changed by hand, with the manager's own client. No shell gets its keys."""
        steps = planned(with_keys(report, source=source), policy=WITHOUT_OVERLAP, sources=["directory:/x", source])[1]
        assert (words(steps)[:3], steps[0][0].endswith(hint)) == (["define", "record old", "replace"], True)
        assert f"read_secret() {{ {read}; }}\n" in str(steps[0][1])
        assert not any("export" in str(each) or "load_secrets" in str(each) for _, each in steps)

    def test_equal_keys(self, checker: Checker) -> None:
        """A key that another secret has is not the previous one, and not revoked: no step of a manager does so."""
        keys = good_keys()
        report = checker({V1: keys[V2], V2: keys[V2]})
        for policy, status in zip(POLICIES, report.secrets, strict=True):
            given = report._replace(secrets=(status._replace(source=VAULT),))
            assert words(planned(given, policy=policy, sources=[VAULT])[1])[:2] == ["define", "replace"]
        others = [each._replace(message="OTHER and ANOTHER are equal") for each in report.findings]
        expired = report.findings[0]._replace(check=Check.EXPIRED, secret=NAME)
        given = with_keys(report, usable=False)._replace(findings=(*others, expired))
        assert planned(given)[0] == "promote"

    def test_pipe(self, report: Report) -> None:
        """What `json:-` reads is piped into each command that needs it."""
        steps = planned(with_keys(report, source="json:-"), sources=["json:-"])[1]
        piped = {word for word, each in commands(steps).items() if each.startswith("YOUR-SECRET-MANAGER | ")}
        assert piped == {"record old", "check", "record", "again"}

    def test_vendors_secret(self) -> None:
        """A vendor's secret is issued, has no fingerprint, and is changed by hand. Its record tells what is done."""
        policy = ICECAST._replace(overlap=14 * DAY)
        model = type("Own", (SecretSettings,), {"__annotations__": {"own": Annotated[SecretStr, policy]}})
        value, variable = good_keys()[V1], policy.variable
        options: dict[str, Any] = {"policy": policy, "policies": [policy], "sources": [VAULT]}
        report = with_keys(check(model, environ={variable: value}, now=NOW), source=VAULT)
        _, steps = planned(report, **options)
        assert [text.split()[0] for text, _ in steps[:3]] == ["In", "Issue", "Make"]
        assert (
            str(steps[1][1])
            == f'[ -n "$(read_secret {variable}_NEXT)" ] || put_secret {variable}_NEXT "$(ISSUE-COMMAND)"'
        )
        _, steps = planned(report, is_emergency=True, **options)
        assert not any("sgfp1" in f"{text}{each}" or "evoke" in text for text, each in steps)
        previous = {f"{variable}_PREVIOUS": value[::-1], f"{variable}_PREVIOUS_UNTIL": marker(10 * DAY)}
        report = with_keys(check(model, environ={variable: value} | previous, now=NOW), source=VAULT)
        for records in ([], [recorded(3, None, secret=policy.name)]):
            stage, steps = planned(report, *records, **options)
            assert (stage, any("Record the rotation" in text for text, _ in steps)) == ("retire", not records)
