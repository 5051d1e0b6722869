"""Misspelled variables: how close they are to a name that is read, and how messages show them."""

from __future__ import annotations

import secrets
import string
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from conftest import V1, V2
from hypothesis import given, settings
from hypothesis import strategies as st

from robodj_secretguard import SecretPolicy
from robodj_secretguard.startup.inputs import VariableRead, VariablesRead, variables_read
from robodj_secretguard.startup.near_miss import NearMiss, how_to_rename
from robodj_secretguard.startup.readings import find_near_misses

TARGET = "ROBODJ_SECRET_V2_KEY"
ALPHABET = string.ascii_uppercase + string.digits + "_"
E1, E2, OTHER = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT", "WEBHOOK_SIGNING_KEY_EXPIRES_AT"
PREVIOUS, UNTIL = f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
SWITCH, LIST = "ROBODJ_PROTECTED_ENV", "ROBODJ_REVOKED_FINGERPRINTS"
TEMPORARY = "ROBODJ_SECRETS_EPHEMERAL"
NAMES = 'list names: python -c "import os; print(*os.environ)"'
OR = " (or ROBODJ_SECRETS_DIR to its directory)"
DAY = timedelta(days=1)
READ = variables_read(
    SecretPolicy(
        name=variable,
        variable=variable,
        owner="Ops",
        cadence=30 * DAY,
        warn_before=DAY,
        overlap=DAY if slots else 0 * DAY,
    )
    for variable, slots in ((V1, True), (V2, True), ("WEBHOOK_SIGNING_KEY", False), ("A_KEY", False))
)


def near_misses(*names: str, unset: tuple[str, ...] = ()) -> tuple[NearMiss, ...]:
    """Return the typos among some names, all of which are set except `unset`."""
    return find_near_misses(READ, names, is_set=lambda name: name in names and name not in unset)


def near(*names: str, unset: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return the intended variables, and the typos that may be shown."""
    return [(miss.meant.name, miss.name) for miss in near_misses(*names, unset=unset)]


@cache
def one_edit_away(target: str) -> frozenset[str]:
    """Return every name that is one insertion, deletion, replacement or swap away, without edits of a digit."""
    letters = ALPHABET.translate({ord(digit): None for digit in string.digits})
    places = [at for at in range(len(target)) if not target[at].isdigit()]
    names = {target[:at] + char + target[at:] for at in range(len(target) + 1) for char in letters}
    names |= {target[:at] + target[at + 1 :] for at in places}
    names |= {target[:at] + char + target[at + 1 :] for at in places for char in letters}
    names |= {target[:at] + target[at + 1] + target[at] + target[at + 2 :] for at in places if at + 1 in places}
    return frozenset(names - {target})


def near_target(names: list[str], *, target: str = TARGET) -> list[str]:
    """Return the typos of one variable."""
    read = VariablesRead([VariableRead(target)])
    return [miss.name for miss in find_near_misses(read, names, is_set=lambda _: True)]


class TestOneEdit:
    """One insertion, deletion, replacement or swap."""

    @pytest.mark.parametrize("target", [TARGET, V1, "KEY_ID", "A_KEY"])
    def test_every_name_one_edit_away_is_found(self, target: str) -> None:
        """Every such name is found and shown, for variable names of odd and even length."""
        names = one_edit_away(target)
        assert near_target(sorted(names), target=target) == sorted(names)
        assert len(names) > 45 * len(target)

    @settings(max_examples=100)
    @given(
        st.text(ALPHABET, min_size=1, max_size=24) | st.sampled_from(sorted(one_edit_away(TARGET))), st.integers(0, 23)
    )
    def test_nothing_else_is_found(self, name: str, at: int) -> None:
        """A name is found when, and only when, it is one edit away."""
        for each in (name, name[:at] + "Q" + name[at:], name[:at] + name[at + 1 :]):
            if each not in {"", TARGET}:
                assert bool(near_target([each])) is (each in one_edit_away(TARGET))

    def test_case(self) -> None:
        """A name in another case is a typo."""
        assert near_target(["robodj_Secret_v2_key"]) == ["robodj_Secret_v2_key"]

    @pytest.mark.parametrize(
        "name", ["ROBODJ_SECRET_V1_KEY", "ROBODJ_SECRET_V_KEY", "ROBODJ_SECRET_KEY2", "ROBODJ_SERCET_V2_KYE"]
    )
    def test_other_names(self, name: str) -> None:
        """An edit of a digit and two edits are no typos."""
        assert near(name) == []


class TestFamilies:
    """Names that begin like a variable that is read, and declared mistakes."""

    @pytest.mark.parametrize(
        ("name", "intended"),
        [
            (f"{V1}_FILE", V1),
            (f"{LIST}_FILE", LIST),
            ("ROBODJ_PROTECTED", SWITCH),
            ("ROBODJ_PROTECTED_MODE", SWITCH),
            ("robodj_protected_environment", SWITCH),
            ("ROBODJ_PROTECTED_ENV_FILE", SWITCH),
            ("ROBODJ_SECRET_EXPIRES_AT", E1),
            ("ROBODJ_SECRET_KEY_VALID_UNTIL", E1),
            ("robodj_secret_valid_until", E1),
            ("ROBODJ_SECRET_KEY_EXPIRY", E1),
            ("ROBODJ_SECRET_KEY_EXP", E1),
            ("ROBODJ_SECRET_KEY_NOT_AFTER", E1),
            ("ROBODJ_SECRET_KEY_V2_EXPIRES_AT", E2),
            ("ROBODJ_SECRET_V2_EXPIRATION_DATE", E2),
            (f"{V1}_PREV", PREVIOUS),
            ("ROBODJ_PREVIOUS_SECRET_KEY", PREVIOUS),
            ("ROBODJ_SECRET_PREVIOUS_KEY", PREVIOUS),
            ("ROBODJ_SECRET_NEXT_KEY", f"{V1}_NEXT"),
            ("ROBODJ_SECRET_KEY_NEXT_KEY", f"{V1}_NEXT"),
            ("ROBODJ_SECRET_PREVIOUS_KEY_UNTIL", UNTIL),
            (f"{V1}_OLD", PREVIOUS),
            (f"{V1}_NEW", f"{V1}_NEXT"),
            (f"{V1}_NEXT_FILE", f"{V1}_NEXT"),
            (f"{PREVIOUS}_FILE", PREVIOUS),
            (f"{PREVIOUS}_EXPIRES_AT", UNTIL),
            (f"{PREVIOUS}_VALID_UNTIL", UNTIL),
            (f"{PREVIOUS}_EXPIRY", UNTIL),
            (f"{PREVIOUS}_DEADLINE", UNTIL),
            ("WEBHOOK_SIGNING_KEY_FILE", "WEBHOOK_SIGNING_KEY"),
            ("WEBHOOK_SIGNING_EXPIRES_AT", OTHER),
            ("WEBHOOK_SIGNING_VALID_UNTIL", OTHER),
        ],
    )
    def test_of_listed_words(self, name: str, intended: str) -> None:
        """A name of listed words and of those of the intended variable is a typo of it, and is shown."""
        assert near(name) == [(intended, name)]
        assert near(name, unset=(name,)) == []

    @pytest.mark.parametrize("end", ["EXPIERS_ON", "NOTAFTER", "ROTATE_BY", "EXPRIES", "EXP{key}", "{key}_EXPIRED"])
    def test_of_other_words(self, end: str) -> None:
        """Any other word may hold a key, so such a name is not shown. Several such names are one typo."""
        names = [f"{V1}_{end.format(key=secrets.token_hex(16).upper())}" for _ in range(3)]
        assert near(*names) == [(E1, "")]

    @pytest.mark.parametrize(
        ("name", "intended"),
        [
            ("ROBODJ_SECRET_EXPIRES_X", E1),
            ("WEBHOOK_SIGNING_KEY_EXPIRES_X", OTHER),
            ("ROBODJ_PROTECTED_X", SWITCH),
        ],
    )
    def test_of_one_other_word(self, name: str, intended: str) -> None:
        """One other word is enough to hide a name."""
        assert near(name) == [(intended, "")]

    @pytest.mark.parametrize("name", [f"{V1}\n", "ROBODJ_SECRET-KEY", "ROBODJ_\N{LATIN SMALL LETTER LONG S}ECRET_KEY"])
    def test_another_character(self, name: str) -> None:
        """A name one edit away is shown, unless the edit adds a character other than A-Z a-z 0-9 _."""
        assert near(name) == [(V1, "")]
        assert near(name, f"{V1}S", f"{V1}-") == [(V1, ""), (V1, f"{V1}S")]

    @pytest.mark.parametrize("name", [f"{V1}S", f"{V1}\n", V1.lower(), f"{V1}_FILE"])
    def test_whether_the_variable_that_is_meant_is_set(self, name: str) -> None:
        """A typo says whether the intended variable is set too. An empty variable is not set."""
        for names, unset, expected in (((name,), (), False), ((name, V1), (), True), ((name, V1), (V1,), False)):
            (miss,) = near_misses(*names, unset=unset)
            assert (miss.meant.name, miss.is_meant_set) == (V1, expected)

    @pytest.mark.parametrize(
        ("name", "intended"), [("ROBODJ_PROTECTED_MODE", SWITCH), (f"{V1}_EXPIRY", E1), (f"{V1}_EXPRIES", E1)]
    )
    def test_whether_the_variable_of_a_family_is_set(self, name: str, intended: str) -> None:
        """The same holds for a typo with a known beginning, shown or not."""
        assert [near_misses(*names)[0].is_meant_set for names in ((name,), (name, intended), (name, V1))] == [
            False,
            True,
            False,
        ]

    @pytest.mark.parametrize(
        "name",
        [
            "ROBODJ_ACCESS_TOKEN_EXPIRE_MINUTES",
            *(
                f"ROBODJ_SECRET_KEY_EXPIRY_{link}"
                for link in (
                    *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP"),
                    *("PORT_8080_TCP_ADDR", "PORT_53_UDP_PROTO", "PORT_9_SCTP_PORT"),
                )
            ),
            "ROBODJ_PROTECTED_ENV_PROXY_SERVICE_HOST",
            *("ROBODJ_SECRET_KEY_EXPORTER_URL", "ROBODJ_SECRET_EXPRESS_TOKEN", "ROBODJ_SECRET_KEY_EXPOSURE"),
            *("ROBODJ_SECRET_MANAGER_VALID_TOKEN", "ROBODJ_SECRETARY_EXPENSES", "WEBHOOK_SIGNING_TOKEN_EXPIRES_AT"),
            *("ROBODJ_SECRET_KEY_ID", "MY_ROBODJ_SECRET_KEY", "ROBODJ_REVOKED", "A_EXPIRES_AT", "K", V1, SWITCH),
        ],
    )
    def test_an_innocent_name(self, name: str) -> None:
        """Kubernetes service links, other words and the names that are read are no typos."""
        assert near(name) == []

    def test_the_marker_of_another_service(self) -> None:
        """A marker whose variable is set belongs to a secret of another model."""
        name = "ROBODJ_SECRET_SCHEDULER_EXPIRES_AT"
        assert near(name, "ROBODJ_SECRET_SCHEDULER") == []
        assert [intended for intended, _ in near(name)] == [E1]

    @pytest.mark.parametrize(
        ("meant", "name", "more", "remedy"),
        [
            (V1, f"{V1}S", {}, f"rename {V1}S to {V1}"),
            (V1, f"{V1}S", {"manager": "vault:x"}, f"in vault:x, rename {V1}S to {V1}"),
            (V1, f"{V1}S", {"is_meant_set": True}, f"unset {V1}S; {V1} is set"),
            (V1, f"{V1}S", {"is_meant_set": True, "manager": "a"}, f"in a, delete {V1}S; {V1} is set"),
            (E1, f"{V1}_EXP", {"is_meant_set": True}, f"set {E1} to the earlier of both, then unset {V1}_EXP"),
            (V1, "", {}, f"rename that variable to {V1} ({NAMES})"),
            (V1, f"{V1}_FILE", {}, f"unset {V1}_FILE, and set {V1} to the content of the file that it named{OR}"),
            (LIST, f"{LIST}S", {}, f"add its fingerprints to {LIST}, then unset {LIST}S"),
            (
                LIST,
                f"{LIST}_FILE",
                {},
                f"add the fingerprints in the file of {LIST}_FILE to {LIST}, then unset {LIST}_FILE",
            ),
            (SWITCH, f"{SWITCH}S", {"is_meant_set": True}, f"unset {SWITCH}S and set {SWITCH}=true"),
            (TEMPORARY, f"{TEMPORARY}S", {}, f"unset {TEMPORARY}S (exec --ephemeral makes temporary keys)"),
        ],
    )
    def test_the_fix(self, meant: str, name: str, more: dict[str, Any], remedy: str) -> None:
        """The fix says what to do with each of both variables, and where."""
        assert how_to_rename(NearMiss(READ.targets[meant], name, **more)) == remedy

    def test_order(self) -> None:
        """Typos are sorted by the intended variable, then by name, whatever the order of the environment."""
        names = (f"{V2}S", f"{V1}X", f"{V1}S", f"{SWITCH}S")
        expected = [(SWITCH, f"{SWITCH}S"), (V1, f"{V1}S"), (V1, f"{V1}X"), (V2, f"{V2}S")]
        assert near(*names) == near(*reversed(names)) == expected
