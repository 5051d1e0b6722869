"""Two declared secrets have the same key."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

import pytest
from conftest import NOW, V1, V2, Checker, found, good_keys, marker
from rule_cases import POLICIES, model_of
from spellings import respelled
from values import BASE64URL, HEX, random_text

from robodj_secretguard import Check, Generator, Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings, check
from robodj_secretguard.startup.directory import delivery_of
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.readings import Environment, read
from robodj_secretguard.startup.shared import check_shared, has_shape, how_to_exchange

NEXT, PREVIOUS, UNTIL, E1 = (f"{V1}_{end}" for end in ("NEXT", "PREVIOUS", "PREVIOUS_UNTIL", "EXPIRES_AT"))
K1, K2 = "secret.key", "secret_v2.key"
DAY = timedelta(days=1)
SEPARATE = (
    "set each from the manager's last version in which they differ; if none, run robodj-secretguard rotate plan"
    " secret_v2.key"
)
SLOT = "set {} to the secret manager's next key; if it has no other, unset it, there too"


class TestShared:
    """Two declared secrets have the same key."""

    @pytest.mark.parametrize("size", [32, 64])
    def test_shared_key_is_found_in_any_spelling(self, checker: Checker, size: int) -> None:
        """A key that equals or contains another is reported for the later secret, also with other unused bits."""
        key, more = secrets.token_urlsafe(size), secrets.token_urlsafe(32)
        for first, second in [pair for other in (key, *respelled(key)[:3]) for pair in ((key, other), (other, key))]:
            for value in (second, more + second, second + more):
                for pair in ({V1: first, V2: value}, {V1: value, V2: first}):
                    assert ("shared", K2) in found(checker(pair))

    def test_case_matters_only_in_base64url(self, checker: Checker) -> None:
        """Hexadecimal keys are compared without regard to case, and base64url keys with it."""
        key, text = secrets.token_hex(64), secrets.token_urlsafe(64)
        assert found(checker({V1: key.upper(), V2: key})) == [("shared", K2)]
        assert found(checker({V1: text.swapcase(), V2: text})) == []
        for one, at in ((key, -1), (text, -2)):
            other = [*one]
            other[at] = "0" if one[at] != "0" else "1"
            assert found(checker({V1: "".join(other), V2: one})) == []

    def test_malformed_values_are_compared_too(self, checker: Checker) -> None:
        """Malformed values are compared too, and both findings are reported. Placeholders are not compared."""
        key = secrets.token_urlsafe(30)
        assert found(checker({V1: key, V2: key})) == [("format", K1), ("format", K2), ("shared", K2)]
        assert found(checker({V1: "changeme", V2: "changeme"})) == [("placeholder", K1), ("placeholder", K2)]
        both = {V1: "changeme", NEXT: key, V2: key}
        assert [each for each in found(checker(both)) if each[0] != "format"] == [("placeholder", K1), ("shared", K2)]

    def test_expired_key_is_compared_too(self, checker: Checker) -> None:
        """A key that has expired is compared too."""
        key = good_keys()[V2]
        assert found(checker({V1: key, V2: key, E1: marker(-DAY)})) == [("expired", K1), ("shared", K2)]

    def test_issued_value_that_is_refused_has_one_finding(self) -> None:
        """A key in the variable of an issued secret is refused there, and not reported again as shared."""
        model = model_of(Material.url("postgresql"), RuntimeSecrets)
        keys = good_keys()
        findings = check(model, environ=keys | {"OWN_KEY": keys[V1]}).findings
        assert [(str(each.check), each.secret) for each in findings] == [("format", "own.key")]


def test_short_value_is_not_searched_in_a_key(checker: Checker) -> None:
    """A value of fewer than 16 characters may occur in a key by chance, so it is not the fault of the key."""
    key = good_keys()[V2]
    for length in (1, 15, 16):
        blamed = [each for each in found(checker({V1: key[9 : 9 + length], V2: key})) if each[0] == "shared"]
        assert blamed == ([("shared", K2)] if length == 16 else [])
    assert found(checker({V1: "7", V2: f"{key[:-1]}7"})) == [("placeholder", K1)]


def two(shared_with: str, other_shared_with: str) -> tuple[SecretPolicy, SecretPolicy]:
    """Return the policies of two secrets that name others."""
    one, other = POLICIES[0], POLICIES[0]._replace(name="other", variable="OTHER", file="", expiry_variable="")
    return one._replace(shared_with=shared_with), other._replace(shared_with=other_shared_with)


class TestSharedWith:
    """Two secrets that rightly have one value."""

    @pytest.mark.parametrize(
        ("shared_with", "other_shared_with", "is_shared"),
        [("other", K1, False), ("other", "", True), ("", K1, True), ("other", "third", True), ("", "", True)],
    )
    def test_two_that_name_each_other_may_be_equal(
        self, shared_with: str, other_shared_with: str, *, is_shared: bool
    ) -> None:
        """Two secrets may be equal, or one contain the other, only if each of them names the other."""
        policies = two(shared_with, other_shared_with)
        key = good_keys()[V1]
        for value in (key, f"{key}{secrets.token_urlsafe(32)}"):
            environment = Environment({V1: key, "OTHER": value})
            readings = read(policies, variables_read(policies), environment=environment, now=NOW)
            assert [others for _, _, others in check_shared(readings)] == [[K1]] * is_shared

    def test_a_third_is_still_reported(self) -> None:
        """A third secret with the value is reported with both of them."""
        policies = (*two("other", K1), POLICIES[1])
        key = good_keys()[V2]
        environment = Environment({V1: key, "OTHER": key, V2: key})
        readings = read(policies, variables_read(policies), environment=environment, now=NOW)
        assert [(reading.policy.name, others) for reading, _, others in check_shared(readings)] == [(K2, [K1, "other"])]

    def test_model_with_one_value_for_two_secrets(self) -> None:
        """A service starts where both variables have the one value."""

        class Paired(SecretSettings):
            signing: Annotated[Secret, SecretPolicy(shared_with="verifying")]
            verifying: Annotated[Secret, SecretPolicy(shared_with="signing")]

        key = secrets.token_urlsafe(32)
        assert found(check(Paired, environ={"SIGNING": key, "VERIFYING": key})) == []


@pytest.mark.parametrize(
    ("slots", "pairs"),
    [
        ({}, []),
        ({NEXT: "current"}, [(NEXT, V1)]),
        ({NEXT: "respelled"}, [(NEXT, V1)]),
        ({PREVIOUS: "current"}, [(PREVIOUS, V1)]),
        ({PREVIOUS: "next"}, [(PREVIOUS, NEXT)]),
        ({NEXT: "current", PREVIOUS: "current"}, [(NEXT, V1), (PREVIOUS, V1), (PREVIOUS, NEXT)]),
        ({NEXT: "current", PREVIOUS: "current", UNTIL: "past"}, [(NEXT, V1)]),
    ],
    ids=["none", "next", "next in another spelling", "previous", "previous and next", "all", "a past one too"],
)
def test_slots_with_one_key(checker: Checker, slots: dict[str, str], pairs: list[tuple[str, str]]) -> None:
    """Each pair of slots with one key is a warning about the later one, which may be removed or is another key."""
    keys = good_keys() | {NEXT: secrets.token_urlsafe(32), PREVIOUS: secrets.token_urlsafe(32), UNTIL: marker(3 * DAY)}
    values = {"current": keys[V1], "next": keys[NEXT], "respelled": respelled(keys[V1])[0], "past": marker(-DAY)}
    report = checker(keys | {name: values[value] for name, value in slots.items()})
    equal = [each for each in report.findings if each.check is not Check.PREVIOUS_PAST]
    assert [(each.message, each.remedy.split()[0], f"{V1}_{each.slot}".upper()) for each in equal] == [
        (f"{later} and {earlier} have the same value", "unset" if later == NEXT else "set", later)
        for later, earlier in pairs
    ]
    assert (report.ok, {str(each.check) for each in equal}) == (True, {"slots-equal"} if pairs else set())


@pytest.mark.parametrize(
    ("one", "other", "managers", "fix"),
    [
        (V1, V2, {}, SEPARATE),
        (V1, V2, {"a": (V1, V2)}, "run robodj-secretguard rotate plan secret_v2.key --from a and follow its steps"),
        (NEXT, V2, {}, SLOT.format(NEXT)),
        (V1, f"{V2}_NEXT", {}, SLOT.format(f"{V2}_NEXT")),
        (NEXT, f"{V2}_NEXT", {}, SLOT.format(f"{V2}_NEXT")),
    ],
    ids=[
        "both in the environment",
        "both in one manager",
        "a next key of the earlier secret",
        "a next key of the later secret",
        "next keys of both",
    ],
)
def test_how_to_separate(one: str, other: str, managers: dict[str, tuple[str, ...]], fix: str) -> None:
    """A slot is the one to change. Otherwise an earlier version has both keys, and one is replaced if none has."""
    values = good_keys() | dict.fromkeys((one, other), secrets.token_hex(64))
    delivered = [delivery_of(name, values, names) for name, names in managers.items()]
    readings = read(POLICIES, variables_read(POLICIES), environment=Environment(values), managers=delivered, now=NOW)
    assert [problem.remedy for _, problem, _ in check_shared(readings)] == [fix]


@pytest.mark.parametrize("is_swapped", [True, False], ids=["each has the other's key", "one has the other's key"])
def test_swapped_keys_are_one_message(checker: Checker, *, is_swapped: bool) -> None:
    """Keys in each other's variables are named as swapped only where both are."""
    keys = good_keys()
    wrong = {V1: secrets.token_hex(64)[:-1] + "é", V2: keys[V1]} if not is_swapped else {V1: keys[V2], V2: keys[V1]}
    messages = [each.message for each in checker(keys | wrong).findings if each.check is Check.FORMAT]
    assert any("looks like" in each for each in messages) is is_swapped


def test_how_to_exchange() -> None:
    """What is in a manager is exchanged there, and what is in the environment perhaps in both places."""
    assert how_to_exchange("A", "B", "vault:x") == "in vault:x, exchange the values of A and B"
    assert how_to_exchange("A", "B", "").startswith("exchange the values of A and B; if they are swapped in")


class TestShape:
    """Whether text looks like the key of another secret."""

    @pytest.mark.parametrize(
        ("generator", "alphabet", "length"),
        [
            (Generator("token_urlsafe", 32), BASE64URL, 43),
            (Generator("token_urlsafe", 64), BASE64URL, 86),
            (Generator("token_hex", 64), HEX, 128),
            (Generator("token_hex", 32), HEX, 64),
        ],
    )
    def test_of_a_generator(self, generator: Generator, alphabet: str, length: int) -> None:
        """Text has the shape of a generator's keys if it has their length and alphabet."""
        text = random_text(alphabet, length)
        assert has_shape(text, generator)
        assert generator.characters == length
        assert generator.command.endswith(f'print(secrets.{generator.function}({generator.size}))"')
        others = (text[:-1], f"{text}a", f"{text[:-1]}+", f"{text[:-1]}\n", f"{text[:-1]}=", "")
        assert [has_shape(other, generator) for other in others] == [False] * 6

    def test_of_two_alphabets(self) -> None:
        """Hexadecimal text in either case has a base64url shape, but not the reverse."""
        digits = secrets.token_hex(32)
        for text in (digits, digits.upper()):
            assert has_shape(text, Generator("token_hex", 32))
            assert has_shape(text, Generator("token_urlsafe", 48))
        assert not has_shape(secrets.token_urlsafe(48)[:-1] + "z", Generator("token_hex", 32))
