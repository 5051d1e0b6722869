"""Two declared secrets have the same key."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest
from conftest import V1, V2, Checker, found, good_keys, marker
from rule_cases import model_of
from spellings import respelled

from robodj_secretguard import Material, RuntimeSecrets, check

NEXT, E1 = f"{V1}_NEXT", f"{V1}_EXPIRES_AT"
K1, K2 = "secret.key", "secret_v2.key"
DAY = timedelta(days=1)


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
