"""The search of one content: its keys and assigned variables, once each, with line and column."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import string
from collections.abc import Iterable, Iterator

import pytest
from command_line import fingerprint_of
from conftest import V1, V2, good_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.scan import content
from robodj_secretguard.scan.content import BLOCK_BYTES, OVERLAP_BYTES, Block, ContentSearch, Hit, assignments
from robodj_secretguard.scan.result import KnownKey
from robodj_secretguard.scan.search import UTF_16_FORM, Forms, KeySearch
from robodj_secretguard.secret.material import Fault, Kind, canonical
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr

POLICY1, POLICY2 = POLICIES = tuple(RuntimeSecrets.secret_policies.values())
KEYS = good_keys()
KEY1, KEY2 = KEYS[V1], KEYS[V2]
UNKNOWN = secrets.token_urlsafe(32)
FULL = pytest.mark.full


def encoded(text: str) -> str:
    """Encode text in base64."""
    return base64.b64encode(text.encode()).decode()


def assigned(text: str | bytes) -> list[tuple[int, SecretPolicy, SealedStr, Forms]]:
    """Return the assignments in text."""
    return [*assignments(text.encode() if isinstance(text, str) else text, POLICIES)]


def filled(text: str, name: str, key: str) -> str:
    """Replace `NAME` and `KEY` in a text."""
    return text.replace("NAME", "\1").replace("KEY", key).replace("\1", name)


ASSIGNED = {
    "env file": ("NAME=KEY", 'NAME="KEY"', "NAME='KEY'", "NAME = KEY # until March", "A=b\r\nNAME=KEY\r\nB=c\r\n"),
    "shell": ("export NAME=KEY && run", 'export NAME="KEY"; run', "A=b NAME=KEY python -m service", "(NAME=KEY)"),
    "shell on": ("NAME+=KEY", "NAME=\\\n  KEY", "NAME=KEY|tee", "A=b\nNAME=KEY"),
    "shell default": ('${NAME:-KEY}"', '"${NAME:-"KEY"}"', ": ${NAME:=KEY}", "${NAME-KEY}"),
    "options": ("docker run -e NAME=KEY image", "docker run --env=NAME=KEY image", "docker run -e 'NAME=KEY' image"),
    "other shells": ("setenv NAME KEY", "set -gx NAME KEY", "set NAME=KEY", 'setx NAME "KEY"', '$env:NAME = "KEY"'),
    "make": ("NAME := KEY", "NAME ?= KEY"),
    "YAML": ("NAME: KEY", "NAME: 'KEY'", '"NAME": "KEY"', "  NAME: KEY   # until March\n", "{A: b, NAME: KEY}"),
    "YAML block": ("NAME: |\n  KEY\n", "NAME: >-\r\n  KEY\r\n", "NAME:\n  KEY", "? NAME\n: KEY"),
    "YAML block header": (
        "NAME: | # until March\n  KEY",
        "NAME: |2-\n    KEY\n",
        "NAME: >-2 # a\n    KEY",
        "NAME: !a |\n  KEY",
    ),
    "YAML comment": ("NAME: # a\n  KEY", "NAME:\n  # a\n  # b\n  KEY", "NAME:\n  text: a, b\n  value: KEY"),
    "YAML tag": ("NAME: !!str KEY", "NAME: !vault KEY", "NAME: &anchor KEY"),
    "JSON": ('{"NAME": "KEY"}', '{"NAME":"KEY","A":"b"}', '{"NAME" :\n    "KEY"\n}', '"{\\"NAME\\": \\"KEY\\"}"'),
    "Dockerfile": ("ENV NAME=KEY", 'ENV A=b NAME="KEY" B=c', "ENV NAME KEY", "ENV A=b \\\n    NAME=KEY \\\n    B=c"),
    "compose": ("environment:\n  NAME: KEY\n", "  - NAME=KEY\n  - A=b\n", '  - "NAME=KEY"\n', "  NAME: ${NAME:-KEY}\n"),
    "Kubernetes": ("- name: NAME\n  value: KEY\n", '- name: "NAME"\n  value: "KEY"\n', '{name: NAME, value: "KEY"}'),
    "Kubernetes and comments": ("- name: NAME # a\n  value: KEY", "- name: 'NAME'\n  # a\n\n  value: # b\n    'KEY'"),
    "other members": (
        '{"name": "NAME", "type": "SecureString", "value": "KEY"}',
        '{"Name": "NAME",\n "a": true, "b": [1, 2], "c": {"d": "\\"e"}, "Value":\n  "KEY"}',
        '{\\"name\\": \\"NAME\\", \\"a\\": \\"b\\", \\"value\\": \\"KEY\\"}',
        '{"NAME": {"description": "a key", "value": "KEY"}}',
        "- name: NAME\n  slot: true # a\n  text: one, two\n  value: KEY\n",
        '<env name="NAME" type="a" value="KEY"/>',
    ),
    "Kubernetes in JSON": ('{"name": "NAME", "value": "KEY"}', '{\n  "name" : "NAME",\n  "value" : "KEY"\n}'),
    "systemd and INI": ('Environment="NAME=KEY" "A=b"', "[env]\nNAME = KEY ; until March", 'NAME = "KEY"'),
    "XML": ("<NAME>KEY</NAME>", "<service NAME='KEY'/>", '<add key="NAME" value="KEY"/>'),
    "Python": ('os.environ["NAME"] = "KEY"', 'os.environ.setdefault("NAME", "KEY")', '{"NAME": "KEY",}'),
    "Ruby and JavaScript": ("ENV['NAME'] = 'KEY'", "{'NAME' => 'KEY'}", "process.env.NAME = `KEY`"),
    "types": (
        'NAME: str = "KEY"',
        "NAME: Final[str] = 'KEY'  # until March",
        'NAME: Final = "KEY"',
        'NAME: str | None = "KEY"',
        "NAME: Annotated[str, Field(min_length=43, pattern='[a-z]')] = \"KEY\"",
        'NAME: Annotated[\n    dict[str, list[str]],\n    Of("="),\n] = (\n    "KEY"\n)',
        'NAME: bytes = b"KEY"',
        'def f(NAME: str="KEY") -> None',
        "const NAME: string = 'KEY';",
        "NAME: string | undefined = `KEY`",
        "readonly NAME?: string = 'KEY'",
        "NAME: Record<string, string> = 'KEY'",
        'const NAME: &\'static str = "KEY";',
    ),
    "value first": (
        '{"value": "KEY", "name": "NAME"}',
        '{\n  "value" : "KEY",\n  "name" : "NAME"\n}',
        '{"a": 1, "Value": "KEY", "type": "SecureString", "b": [1, 2], "Name": "NAME"}',
        '{\\"value\\": \\"KEY\\", \\"name\\": \\"NAME\\"}',
        "- value: KEY\n  name: NAME\n- value: b\n  name: OTHER",
        "- value: 'KEY' # the value\n  # a\n  slot: true\n  name: \"NAME\"\n",
        "- value: >-\n    KEY\n  name: NAME\n",
        "{value: KEY, name: NAME}",
        "value: KEY\nname: NAME",
        "- value: KEY # one value of these\n  name: NAME",
        '<env value="KEY" name="NAME"/>',
        '[[env]]\nvalue = "KEY"\nname = "NAME"\n',
    ),
    "other": ("values, values, values, values, values\nNAME=KEY", "?NAME=KEY&a=b", "A=b\0NAME=KEY\0B=c"),
}
"""`NAME` is the variable, and `KEY` the key."""
NOT_ASSIGNED = {
    "nothing": ("NAME=", "NAME=\n", 'NAME=""', "NAME=null", "NAME=test", "NAME=\nOTHER=KEY", "NAME\nKEY"),
    "template": ("NAME=<replace-with-token_urlsafe>", "NAME=%NAME%", "NAME=$OTHER", "NAME: ${{ secrets.NAME }}"),
    "shell template": ("NAME=${NAME}", "NAME=${NAME:-}", "NAME=${NAME:?not set}", "NAME=$(openssl rand -base64 32)"),
    "Ansible": ("NAME={{ lookup('env', 'NAME') }}", "NAME: !vault |\n  $ANSIBLE_VAULT;1.1;AES256"),
    "Kubernetes": (
        "NAME: {valueFrom: {secretKeyRef: {name: radio, key: NAME}}}",
        "- name: NAME\n  valueFrom:\n    secretKeyRef: {name: a, key: NAME}\n- name: OTHER\n  value: KEY",
        '[{"name": "NAME", "valueFrom": "a"}, {"name": "OTHER", "value": "KEY"}]',
        '[{"name": "OTHER", "value": "KEY"}, {"name": "NAME"}]',
        '[{"value": "a", "name": "NAME"}, {"value": "KEY", "name": "OTHER"}]',
        "- name: OTHER\n  value: KEY\n- name: NAME\n",
        "- value: a\n  name: NAME\n- value: KEY\n  name: OTHER\n",
        '<env name="OTHER" value="KEY"/><env name="NAME"/>',
        "- value: KEY\n  name: NAME_FILE\n- value: KEY\n  name: MY_NAME\n",
        "avalue: KEY\nname: NAME",
    ),
    "placeholder": ("NAME=CHANGE_ME_CHANGE_ME_CHANGE_ME_Change_Me_0123456", "NAME=replace_with_a_generated_value"),
    "example": ("NAME=EXAMPLE-VALUE-THAT-IS-LONG-ENOUGH-for-any-rule-0123456789", f"NAME={'x' * 52}"),
    "little variety": ("NAME=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", f"NAME={'aB3' * 16}"),
    "prose": ('python -c "import secrets" > NAME', "NAME is the variable that delivers the key, and never in a file"),
    "another name": ("OTHER=KEY", "MY_NAME=KEY", "XNAME=KEY", "NAME_EXPIRES_AT=KEY", "NAME_FILE=KEY"),
    "another value": ("NAME=/run/secrets/KEY", "NAME=https://example.org/KEY", "NAME=KEY$MORE", "NAME=KEY()"),
    "no assignment": ("NAME=KEY.more", "NAME == KEY", "NAME=KEY==="),
}
HOSTILE = [
    *(("", each) for each in ("value: aNAME", 'value="a"', "NAME: a[", "NAME: [[[", "NAME: a|b<c>")),
    *(("NAME: ", each) for each in ("a[", "[a]", "<a>", "[[a]")),
    *(("", each) for each in ("NAME", "NAME=", "NAME" + "\n" * 200)),
    *(("NAME", each) for each in (" ", "\n ", '"', "])}", " ,", "=")),
    *(("NAME=", each) for each in ("\\\n", "a", "aB3dE5gH7-", "QUJD")),
    *(("NAME: ", "!a "), ("NAME: !", "a"), ("NAME: |", " "), ("NAME\n", "-"), ("NAME\nvalue", " ")),
    *(("", "NAME #"), ("", '"NAME","a":')),
    *(pytest.param("", each, marks=FULL) for each in ("NAME ", "NAME:NAME,", "NAME\n#", 'NAME,a:"b",')),
]
"""The beginning of a text, and the part that is repeated."""


class TestAssignments:
    """Assignments of declared variables."""

    @pytest.mark.parametrize("forms", ASSIGNED.values(), ids=ASSIGNED)
    def test_forms(self, forms: tuple[str, ...]) -> None:
        """An assignment is found in every format, at the beginning of the value."""
        for form, (policy, key) in itertools.product(forms, ((POLICY1, KEY1), (POLICY2, KEY2))):
            text = filled(form, policy.variable, key)
            assert assigned(text) == [(text.index(key), policy, SealedStr(key), ())]

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=ascii)
    def test_a_kubernetes_secret(self, end: str) -> None:
        """A base64 value of any length is decoded. Its line ending is not part of the key."""
        for policy, key in ((POLICY1, KEY1), (POLICY2, KEY2), (POLICY1, KEY2), (POLICY1, secrets.token_urlsafe(48))):
            text = f"data:\n  {policy.variable}: {encoded(key + end)}\n"
            assert assigned(text) == [(text.index(": ") + 2, policy, SealedStr(key), ("base64",))]
            text = text.replace(": ", ": QUJD-")  # a hyphen is not in base64
            assert not any(forms for *_, forms in assigned(text))

    @pytest.mark.parametrize("size", [32, 48, 64])
    def test_standard_base64(self, size: int) -> None:
        """A key in standard base64, or with padding, is the key without. A usual length needs no padding."""
        data = b"\xfb\xff" + secrets.token_bytes(size - 2)
        key, standard = (form(data).decode().rstrip("=") for form in (base64.urlsafe_b64encode, base64.b64encode))
        padding = "=" * (-len(key) % 4)
        for text in (f"{V1}={key}{padding}\n", f"{V1}: {standard}{padding}", f'"{V1}": "{standard}"'):
            assert [each.get_secret_value() for *_, each, _ in assigned(text)] == [canonical(key)]
        (*_, decoded, _), *_ = assigned(f"{V1}: {encoded(standard + padding)}")
        assert decoded.get_secret_value() == canonical(key)

    def test_paths(self) -> None:
        """A path with a component like a key is not in standard base64."""
        name = "aB3dE5gH7" * 5
        assert assigned("\n".join(f"{V1}={path}" for path in (f"/run/a/{name}", f"keys/{name}", f"a_b/{name}/"))) == []

    def test_each_variable_has_its_own_policy(self) -> None:
        """A value is judged by the policy of its variable."""
        assert assigned(f"{V2}={KEY1}") == []
        assert [policy for _, policy, *_ in assigned(f"{V1}={KEY2}\n{V2}={KEY2}")] == [POLICY1, POLICY2]
        assert [*assignments(f"{V1}={KEY1}".encode(), ())] == []

    def test_several(self) -> None:
        """Assignments are found in the order of the secrets and then of the text. An empty one has no value."""
        keys = [secrets.token_urlsafe(32) for _ in range(3)]
        text = f"{V2}={KEY2}\n{V1}=\n{V1}: <set it>\n" + "\n".join(f"export {V1}={key}" for key in keys)
        assert [key for *_, key, _ in assigned(text)] == [*map(SealedStr, keys), SealedStr(KEY2)]
        assert [text[offset:].split("\n")[0] for offset, *_ in assigned(text)] == [*keys, KEY2]

    @settings(max_examples=100)
    @given(before=st.text(string.printable, max_size=60), after=st.sampled_from(list(" \t\r\n,;)]}#&<>|\0")))
    def test_any_text_around_it(self, before: str, after: str) -> None:
        """An assignment is found on a line after any text, and before any character that ends a value."""
        text = f"{before}\n{V1}={KEY1}"
        assert (len(text) - len(KEY1), POLICY1, SealedStr(KEY1), ()) in assigned(text + after)

    @pytest.mark.parametrize("forms", NOT_ASSIGNED.values(), ids=NOT_ASSIGNED)
    def test_no_assignment(self, forms: tuple[str, ...]) -> None:
        """Templates, placeholders, and keys that are not the variable's value are not assignments of a key."""
        for form, (name, key) in itertools.product(forms, KEYS.items()):
            assert assigned(filled(form, name, key)) == []

    @pytest.mark.parametrize(
        "value",
        [
            *(KEY1[:-1], "é" * 50, f"é{KEY1}", KEY1[:-1].lower() + "0", KEY2[:50]),
            *(encoded(each) + "=" for each in ("é" * 30, f"{KEY1} {KEY1}", "", "replace_with_" + "aB3dE" * 10)),
            base64.b64encode(b"\xff" * 33).decode(),
        ],
        ids=range(10),
    )
    def test_a_weak_value(self, value: str) -> None:
        """A value that is not a valid key is not found, plain or in base64."""
        assert assigned(f"{V1}={value}") == []

    @settings(max_examples=50)
    @given(text=st.text(max_size=200) | st.lists(st.sampled_from([V1, V2, "=", ":", '"', " ", "\n", "a"])).map("".join))
    def test_any_text(self, text: str) -> None:
        """Text without a key has no assignment."""
        assert assigned(text) == []

    @pytest.mark.parametrize(("first", "unit"), HOSTILE)
    def test_hostile_text(self, first: str, unit: str) -> None:
        """Text that provokes backtracking takes linear time. Only the full run has the slow texts."""
        unit = filled(unit, V1, KEY1)
        assert assigned(filled(first, V1, KEY1) + unit * (BLOCK_BYTES // len(unit)) + ".") == []


class AnyText(Kind):
    """A kind that accepts any text of 12 characters or more."""

    def fault(self, text: str, variable: str = "") -> Fault | None:  # noqa: ARG002
        """Refuse shorter text."""
        return Fault("format", "is too short") if len(text) < 12 else None


TEXT = POLICY1._replace(name="vendor.key", variable="VENDOR_KEY", material=AnyText(), generator=None, issuer="vendor")
URL = f"postgresql://orders:{secrets.token_urlsafe(9)}@db.internal:5432/orders?sslmode=require"
LINES = base64.encodebytes(b"\x30\x5d\x02\x01\x00" + secrets.token_bytes(90)).decode()
PEM = f"-----BEGIN PRIVATE KEY-----\n{LINES}-----END PRIVATE KEY-----\n"
ISSUED = {
    "URL": (f"VENDOR_KEY={URL}\n", URL),
    "URL without a digit": ("VENDOR_KEY: redis://default:pass.word@cache/\n", "redis://default:pass.word@cache/"),
    "quoted URL": (f'"VENDOR_KEY": "{URL}",', URL),
    "blanks": ("VENDOR_KEY='some words and 1 digit'", "some words and 1 digit"),
    "another script": ('VENDOR_KEY="Много слов 77"', "Много слов 77"),
    "PEM": (f'VENDOR_KEY="{PEM}"', PEM),
    "PEM in JSON": (f'{{"VENDOR_KEY": {json.dumps(PEM)}}}', json.dumps(PEM)[1:-1]),
    "JSON": ('VENDOR_KEY=\'{"a": "b", "c": 1}\'\n', '{"a": "b", "c": 1}'),
    "typed": (f"VENDOR_KEY: Final[str] = '{URL}'", URL),
    "value first": (f'{{"value": "{URL}", "type": "a", "name": "VENDOR_KEY"}}', URL),
    "value first in YAML": (f"- value: {URL}\n  name: VENDOR_KEY\n", URL),
    "PEM first in JSON": (f'{{"value": {json.dumps(PEM)}, "name": "VENDOR_KEY"}}', json.dumps(PEM)[1:-1]),
    "lower case in quotes": ("VENDOR_KEY='some.dotted.words'", None),
    "both cases in quotes": ("VENDOR_KEY='Some.Dotted.Words'", "Some.Dotted.Words"),
    "sentence first": ('{"value": "The key of the vendor", "name": "VENDOR_KEY"}', None),
    "sentence": ('"VENDOR_KEY": "The key of the vendor"', None),
    "name": ("VENDOR_KEY=some.dotted.name.of.words", None),
    "URL without a user": ("VENDOR_KEY=redis://cache/zero", None),
    "Latin-1": (b"VENDOR_KEY='some \xe9 words 12'", "some \udce9 words 12"),
}
"""The value that is found in each text."""


class TestIssuedAssignments:
    """Assignments of secrets that others issue."""

    @pytest.mark.parametrize(("text", "value"), ISSUED.values(), ids=ISSUED)
    def test_which_values_are_found(self, text: str | bytes, value: str | None) -> None:
        """A URL is found, and in quotes text with blanks, with lines or of any script. Sentences and names are not."""
        data = text if isinstance(text, bytes) else text.encode()
        found = [key.get_secret_value() for *_, key, _ in assignments(data, [TEXT])]
        assert found == ([] if value is None else [value])

    def test_in_base64(self) -> None:
        """A value of any script is decoded from base64."""
        text = f"data:\n  VENDOR_KEY: {encoded('Много слов 77')}\n"
        assert [key.get_secret_value() for *_, key, _ in assignments(text.encode(), [TEXT])] == ["Много слов 77"]

    @pytest.mark.parametrize(
        ("first", "unit"), [*HOSTILE, ("NAME='", " "), ("", "NAME='NAME=\"NAME=`"), ("", "NAME='a")]
    )
    def test_hostile_text(self, first: str, unit: str) -> None:
        """Text that provokes backtracking takes linear time. Only the full run has the slow texts."""
        unit = filled(unit, "VENDOR_KEY", KEY1)
        text = filled(first, "VENDOR_KEY", KEY1) + unit * (BLOCK_BYTES // len(unit)) + "."
        assert len([*assignments(text.encode(), [TEXT])]) < BLOCK_BYTES

    def test_parts_are_hidden(self) -> None:
        """The parts of a value that was found in an assignment are not shown, whatever their characters are."""
        search = KeySearch([], [], [])
        ((*_, rule, key, _),) = ContentSearch(search, [TEXT]).find([b"VENDOR_KEY='some words and \\ud800 1 digit'"])
        assert (rule, key) == ("assigned-key", KnownKey(None, "vendor.key"))
        search.learn()
        assert search.shows_part(b"words and")


SMALL_OVERLAP = 2000
"""Longer than the longest text that these tests search for."""


def known(key: str) -> KnownKey:
    """Return the `KnownKey` of a key."""
    return KnownKey(fingerprint_of(key), known_by=("environment",))


LIVE = [(SealedStr(key), known(key)) for key in (KEY1, KEY2)]
SEARCH = ContentSearch(
    KeySearch(
        [each for _, each in LIVE],
        LIVE,
        [policy.generator for policy in POLICIES if policy.generator],
    ),
    POLICIES,
)


def hits(*blocks: bytes) -> list[Hit]:
    """Return the hits in a content."""
    return [*SEARCH.find(blocks)]


def places(*blocks: bytes) -> list[tuple[int, int, int]]:
    """Return the offset, line and column of each hit in a content."""
    return [hit[:3] for hit in hits(*blocks)]


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut bytes into blocks, some of them empty."""
    at = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


class TestPlaces:
    """The line and the column of a key."""

    @pytest.mark.parametrize("end", ["\n", "\r\n"], ids=ascii)
    @pytest.mark.parametrize(("lines", "before"), [(0, ""), (0, "key: "), (1, ""), (3, "\t\x7f"), (1000, "a" * 1000)])
    def test_ascii(self, end: str, lines: int, before: str) -> None:
        """Lines and columns are counted from one. A control character is one column."""
        text = f"some line{end}" * lines + before
        assert places(f"{text}{KEY1}{end}".encode()) == [(len(text), lines + 1, len(before) + 1)]

    @pytest.mark.parametrize("before", ["é", "ключ ", "鍵は", "🔑 ", "上", "Ċ", "e\u0301"])
    @pytest.mark.parametrize("lines", [0, 2])
    def test_unicode(self, before: str, lines: int) -> None:
        """Each character is one column, whatever its bytes. A byte order mark is not a column."""
        for mark in ("", "\ufeff"):
            text = mark + f"{before}\n" * lines + f"{before} "
            assert places((text + KEY1).encode()) == [(len(text.encode()), lines + 1, len(before) + 2)]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
    def test_marked_text(self, encoding: str) -> None:
        """A byte order mark is not a column. In UTF-16, each ASCII character is one."""
        for lines in (0, 1):
            data = ("\ufeff" + "key\n" * lines + f"key {KEY1}").encode(encoding)
            assert [each[1:] for each in places(data)] == [(lines + 1, 5)]

    def test_a_later_byte_order_mark(self) -> None:
        """A byte order mark that is not at the beginning is a character."""
        assert places(f"a\n\ufeff{KEY1}".encode()) == [(5, 2, 2)]

    def test_encoded_keys(self) -> None:
        """The position of an encoded key is the encoded character that holds its first byte."""
        data = b"\n  " + base64.b64encode(f"::::{KEY1}".encode())
        assert hits(data) == [(8, 2, 8, "known-key", known(KEY1), ("base64",))]
        assert [each[1:] for each in places(b"data:\n" + base64.encodebytes(b":" * 60 + KEY1.encode()))] == [(3, 5)]

    def test_binary_data(self) -> None:
        """In binary data, a newline ends a line, and columns are counted as in UTF-8."""
        assert places(b"\xfd\xfe\xff\n\x80\x81\xc0" + KEY1.encode() + b"\xff") == [(7, 2, 2)]


class TestRules:
    """The rule of each hit."""

    def test_an_assigned_key(self) -> None:
        """The fingerprint and the secret of an unknown assigned key are reported."""
        expected = KnownKey(fingerprint_of(UNKNOWN), "secret.key")
        assert hits(f"{V1}={UNKNOWN}".encode()) == [(18, 1, 19, "assigned-key", expected, ())]
        text = f"{V1}: {encoded(UNKNOWN)}".encode("utf-16-le")
        assert hits(text) == [(38, 1, 20, "assigned-key", expected, (UTF_16_FORM, "base64"))]

    @pytest.mark.parametrize("value", [KEY1, encoded(KEY1)], ids=["raw", "base64"])
    def test_a_known_key_that_is_assigned(self, value: str) -> None:
        """A known key that is assigned is reported once, as a known key."""
        assert [hit[3] for hit in hits(f"{V1}={value}".encode())] == ["known-key"]

    def test_the_order(self) -> None:
        """Hits are in the order of the content."""
        text = f"{KEY2}\n{V1}={UNKNOWN}\n{KEY1.encode().hex()}\n{KEY1}\n{V2}={KEY2}\n"
        assert [line for _, line, _ in places(text.encode())] == [1, 2, 3, 4, 5]

    def test_nothing(self) -> None:
        """Nothing is found in an empty content, or in one without a key."""
        assert [*hits(), *hits(b""), *hits(b"", b""), *hits(b"\n"), *hits(b"a" * 100)] == []


FORMS = {
    "raw": KEY1.encode(),
    "hexadecimal key": KEY2.encode(),
    "hexadecimal": KEY1.encode().hex().encode(),
    "base64": base64.b64encode(b":::" + KEY2.encode() + b":"),
    "base64 in base64": encoded(encoded(KEY1)).encode(),
    "wrapped": base64.encodebytes(b":" * 200 + KEY2.encode()),
    "UTF-16": f"\n{KEY1}\n".encode("utf-16-be"),
    "assigned": f"{V1}={UNKNOWN}".encode(),
    "assigned in UTF-16": f"{V2}: {KEY2}".encode("utf-16-le"),
    "Kubernetes": f"- name: {V1}\n  value: '{UNKNOWN}'".encode(),
}


class TestBlocks:
    """A content is read in blocks, and searched in overlapping windows."""

    @pytest.mark.parametrize("form", FORMS)
    def test_the_end_of_a_window(self, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
        """The hits do not depend on the end of a window."""
        monkeypatch.setattr(content, "OVERLAP_BYTES", SMALL_OVERLAP)
        data = b"a\nb" * 1000 + b" " + FORMS[form] + b" " + b"a\nb" * 1000
        expected = hits(data)
        assert len(expected) == 1
        for size in (*range(500, 500 + len(FORMS[form]) + 2, 7), len(data)):
            assert hits(*split(data, range(size, len(data), size))) == expected
        assert hits(*split(data, [3003])) == expected

    @pytest.mark.parametrize("blocks", [3, pytest.param(100, marks=FULL)])
    def test_a_long_line(self, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
        """At most one block and two overlaps are searched together, however long a line is. Its columns are correct.

        Only the full run has a line of 100 MiB.
        """
        searched: list[int] = []
        find = KeySearch.find

        def remembered(search: KeySearch, text: bytes, forms: Forms) -> Iterator[tuple[int, KnownKey, Forms]]:
            searched.append(len(text))
            return find(search, text, forms)

        monkeypatch.setattr(KeySearch, "find", remembered)
        assert places(*[b"." * BLOCK_BYTES] * blocks, KEY1.encode()) == [
            (blocks * BLOCK_BYTES, 1, blocks * BLOCK_BYTES + 1)
        ]
        assert max(searched) == BLOCK_BYTES + 2 * OVERLAP_BYTES == (1 << 20) + (1 << 16)
        assert sum(searched) <= 1.1 * (blocks + 1) * BLOCK_BYTES

    def test_holes(self) -> None:
        """A key beside a hole is found, with its offset in the file. A hole has no line and no column."""
        hole, key = 1 << 41, KEY1.encode()
        in_utf_16 = KEY1.encode("utf-16-be")  # its first byte is zero
        blocks: list[Block] = [b"\n ", key, hole, key + b"\n", in_utf_16, b"", hole, hole, in_utf_16[1:], 0, hole]
        found = [(offset, *place) for offset, *place, _, _, _ in SEARCH.find(blocks)]
        size = len(key)
        after = 2 + size + hole + size + 1
        assert found == [
            (2, 2, 2),
            (2 + size + hole, 2, 2 + size),
            (after + 1, 3, 1),
            (after + 2 * size + 2 * hole, 3, 1 + size),
        ]

    def test_nothing_is_held_back(self) -> None:
        """A key is reported before the end of the content is read."""
        read: list[int] = []

        def blocks() -> Iterator[bytes]:
            for number in range(10):
                read.append(number)
                yield (KEY1.encode() + b"\n").ljust(BLOCK_BYTES, b".")

        assert next(SEARCH.find(blocks()))[0] == 0
        assert read == [0, 1]
