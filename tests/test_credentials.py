"""The kind of credentials as JSON, and of keys in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from secrets import token_bytes
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from values import judge, key_pair, pem

from robodj_secretguard import Material
from robodj_secretguard.secret.credentials import Json

KEY = pem("RSA PRIVATE KEY", 90)
NO_END = "has no END line with the label of its BEGIN line"
NO_BODY = "has a body that is not base64 of 32 bytes or more"
A_KEY = "has a member private_key that"
PUBLIC = ("format", "has a key without its private part")


class TestJson:
    """Credentials as an object."""

    kind = Material.json("private_key", "email")

    @pytest.mark.parametrize("end", ["}", "}\n", f', "m": {"9" * 5000}, "f": 1e{"9" * 500}}}'], ids=range(3))
    def test_object_passes_with_anything_else(self, end: str) -> None:
        """An object with the members passes, with any other members, a newline at the end and indentation."""
        members: dict[str, Any] = {
            "private_key": KEY,
            "email": "kif@shop.net",
            "n": [1, 2.5, None, {"a": {}}],
            "email2": "",
        }
        assert judge(self.kind, json.dumps(members, indent=2)[:-2] + end) == ("", "")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"email": ""}, ("placeholder", "has a member email that is empty")),
            ({"email": " "}, ("placeholder", "has a member email that is empty")),
            ({"email": "you@example.com"}, ("placeholder", "has a member email that is a placeholder")),
            ({"private_key": KEY[:90]}, ("format", f"{A_KEY} {NO_END}")),
            ({"private_key": KEY.replace(KEY[40:90], "...")}, ("placeholder", f"{A_KEY} {NO_BODY}")),
            ({"private_key": KEY.replace("PRIVATE", "PUBLIC")}, ("", "")),
            ({"private_key": KEY.replace("\n", "\\n")}, ("format", f"{A_KEY} has newlines that were escaped twice")),
            ({"email": 7}, ("format", "has a member email that is not a text")),
            ({"email": None}, ("format", "has a member email that is not a text")),
            ({"email": "zq9Kif83w7\ud800"}, ("format", "has a member email that is not a text")),
            ({"email": {"email": "kif"}}, ("format", "has a member email that is not a text")),
            ({"private_key": 7, "email": "changeme"}, ("placeholder", "has a member email that is a placeholder")),
        ],
    )  # fmt: skip
    def test_member_is_judged(self, changes: dict[str, Any], expected: tuple[str, str]) -> None:
        """Each declared member is a text that is no template. A private key is judged as one."""
        assert judge(self.kind, json.dumps({"private_key": KEY, "email": "kif@shop.net"} | changes)) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{{ credentials }}", ("placeholder", "is a placeholder")),
            ("SHOP_SECRET", ("placeholder", "is the name of a variable")),
            ('["kif"]', ("format", "is not a JSON object")),
            ('"kif"', ("format", "has quotes around it")),
            ("{'private_key': 'kif'}", ("format", "is not a JSON object")),
            ('{"a": ' * 50_000 + "1", ("format", "is not a JSON object")),
            (
                '\ufeff{"private_key": "zq9Kif83w", "email": "kif"}',
                ("format", "has a newline or an invisible character"),
            ),
            ('{"private_key": "zq9Kif83w"}', ("format", "has no member email")),
            ('\'{"private_key": "zq9Kif83w"}\'', ("format", "has quotes around it")),
        ],
    )
    def test_other_text_is_refused(self, text: str, expected: tuple[str, str]) -> None:
        """Text that is not a JSON object with each member is refused for what it is."""
        assert judge(self.kind, text) == expected

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"username": "your-user"}, ("placeholder", "has a member that is a placeholder")),
            ({"password": ""}, ("placeholder", "has a member that is empty")),
            (
                {"web": {"tokens": [{"client_secret": "changeme"}]}},
                ("placeholder", "has a member that is a placeholder"),
            ),
        ],
    )
    def test_any_member(self, changes: dict[str, Any], expected: tuple[str, str]) -> None:
        """Without declared members, a secret name or a clear template shows a fault, and no message has a name."""
        kind, good = Material.json(), {"username": "admin", "password": "zq9Kif83w", "dbname": "test", "port": 5432}
        assert (judge(kind, json.dumps(good)), kind.searched(json.dumps(good))) == (("", ""), ("zq9Kif83w",))
        assert judge(kind, kind.temporary()) == ("", "")
        assert judge(kind, json.dumps(good | changes)) == expected

    def test_object_without_a_text(self) -> None:
        """Without declared members, an object has a text."""
        assert judge(Material.json(), '{"port": 5432, "hosts": [{}]}') == ("format", "has no member that is a text")

    def test_searched_are_the_members(self) -> None:
        """What is searched are the declared members without an e-mail address, and the lines of a private key."""
        text = json.dumps({"private_key": KEY, "email": "kif", "other": "fry"})
        assert self.kind.searched(text) == (*KEY.splitlines()[1:-1], "kif")
        assert self.kind.searched(text.replace("kif", "kif@shop.net")) == tuple(KEY.splitlines()[1:-1])


def of_curve(curve: ec.EllipticCurve) -> Callable[[], dict[str, Any]]:
    """Return what makes a key on a curve."""
    return lambda: ECAlgorithm.to_jwk(ec.generate_private_key(curve), as_dict=True)


def of_octets() -> dict[str, Any]:
    """Make a symmetric key."""
    return HMACAlgorithm.to_jwk(token_bytes(32), as_dict=True)


def without(*names: str) -> Callable[[], dict[str, Any]]:
    """Return what makes an RSA key without some of its members."""

    def make() -> dict[str, Any]:
        key: dict[str, Any] = RSAAlgorithm.to_jwk(key_pair("RSA"), as_dict=True)
        return {name: value for name, value in key.items() if name not in names}

    return make


WEB_KEYS: dict[str, Callable[[], dict[str, Any]]] = {
    "RSA": without(),
    "RSA without factors": without("p", "q", "dp", "dq", "qi"),
    "P-256": of_curve(ec.SECP256R1()),
    "P-384": of_curve(ec.SECP384R1()),
    "P-521": of_curve(ec.SECP521R1()),
    "secp256k1": of_curve(ec.SECP256K1()),
    "Ed25519": lambda: OKPAlgorithm.to_jwk(key_pair("Ed25519"), as_dict=True),
    "Ed448": lambda: OKPAlgorithm.to_jwk(key_pair("Ed448"), as_dict=True),
    "oct": of_octets,
}


@pytest.mark.parametrize("name", WEB_KEYS)
class TestWebKey:
    """A key in JSON, alone, in a set and in a list."""

    kind = Material.json()

    @staticmethod
    def forms(key: dict[str, Any]) -> list[str]:
        """Return a key alone, and with others in each form of a set."""
        other = without()()
        return [
            json.dumps(each) for each in (key, {"keys": [other, key]}, {"keys": [key | {"kid": "k"}]}, [other, key])
        ]

    def test_private_key_passes(self, name: str) -> None:
        """A private key passes. Each of its secret members is searched."""
        key = WEB_KEYS[name]()
        secret = key.get("d", key.get("k"))
        for text in self.forms(key):
            assert judge(self.kind, text) == ("", "")
            assert secret in self.kind.searched(text)

    def test_public_key_is_refused(self, name: str) -> None:
        """A key without its private part is refused, also beside a private one."""
        public = {member: value for member, value in WEB_KEYS[name]().items() if member not in {"d", "k"}}
        assert {judge(self.kind, text) for text in self.forms(public)} == {PUBLIC}
        assert {judge(self.kind, text) for text in self.forms(public | {"d": 7})} == {PUBLIC}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"kty": "EC", "crv": [], "d": "zq9Kif83w7LA"}, ("", "")),
        ({"kty": "EC", "crv": "P-256", "d": "zq9Kif83w7L~"}, PUBLIC),
        ({"kty": "RSA", "d": {}, "n": "zq9Kif83w7LA"}, PUBLIC),
        ({"kty": "oct", "k": ""}, ("placeholder", "has a key that is empty")),
        ({"kty": "oct", "k": "Y2hhbmdlbWU"}, ("placeholder", "has a key that is a placeholder in base64")),
        ({"kty": True, "d": "zq9Kif83w7LA"}, ("", "")),
        ({"keys": "zq9Kif83w"}, ("", "")),
        ({"keys": [7, "zq9Kif83w"]}, ("", "")),
        ({"keys": [{"d": "zq9Kif83w"}]}, ("", "")),
    ],
    ids=range(9),
)  # fmt: skip
def test_malformed_web_key(members: dict[str, Any], expected: tuple[str, str]) -> None:
    """Members of other types are no error. What only looks like a key is an object of texts."""
    assert judge(Material.json(), json.dumps(members)) == expected


def test_list_of_other_objects_is_no_set() -> None:
    """A list is accepted where each of its members is a key, and an empty list is not."""
    key = WEB_KEYS["P-256"]()
    for members in ([], [key, {}], [key, 7]):
        assert judge(Material.json(), json.dumps(members)) == ("format", "is not a JSON object")


def test_text_that_is_no_object_has_no_other_fault() -> None:
    """Text that is no object has one fault: no rule of a member is asked."""
    assert [each.message for each in Json(("a",)).format_faults("zq9Kif83w")] == ["is not a JSON object"]


def test_comment_or_name_beside_an_object() -> None:
    """Text around an object is a defect of the format, and a # in a member is a part of it."""
    text = '{"password": "zq9 # Kif83w"}'
    assert judge(Material.json(), text) == ("", "")
    assert judge(Material.json(), f"# The account\n{text}")[1] == "has a comment next to its value"
    assert judge(Material.json(), 'SHOP_SECRET={"password": "zq9Kif83w"}')[1] == "has a name in front of its value"
