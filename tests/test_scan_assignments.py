"""The pattern rule: which assignments of a declared variable are found, and that templates never are."""

from __future__ import annotations

import base64
import secrets
import string
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import V1, V2, good_keys
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.scan.content import assignments
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from robodj_secretguard.policy import SecretPolicy

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
POLICY1, POLICY2 = POLICIES
KEYS = good_keys()
KEY1, KEY2 = KEYS[V1], KEYS[V2]
MIB = 1 << 20


class Assignment(NamedTuple):
    """A declared variable, and what it is given."""

    offset: int
    policy: SecretPolicy
    key: SealedStr
    forms: tuple[str, ...]


def found(text: str | bytes) -> list[Assignment]:
    """Return the assignments in text."""
    data = text.encode() if isinstance(text, str) else text
    return [Assignment(*each) for each in assignments(data, POLICIES)]


def encoded(text: str) -> str:
    """Write text in base64."""
    return base64.b64encode(text.encode()).decode()


ASSIGNED = {
    "env-file": "NAME=KEY",
    "env-file-quoted": 'NAME="KEY"',
    "env-file-single-quotes": "NAME='KEY'",
    "env-file-blanks": "NAME = KEY # until March",
    "env-file-crlf": "A=b\r\nNAME=KEY\r\nB=c\r\n",
    "env-file-last-line": "A=b\nNAME=KEY",
    "shell": "export NAME=KEY && run",
    "shell-quoted": 'export NAME="KEY"; run',
    "shell-prefix": "A=b NAME=KEY python -m service",
    "shell-default": '${NAME:-KEY}"',
    "shell-quoted-default": '"${NAME:-"KEY"}"',
    "shell-assigned-default": ": ${NAME:=KEY}",
    "shell-default-of-unset": "${NAME-KEY}",
    "shell-appended": "NAME+=KEY",
    "shell-goes-on": "NAME=\\\n  KEY",
    "shell-subshell": "(NAME=KEY)",
    "shell-piped": "NAME=KEY|tee",
    "shell-option": "docker run -e NAME=KEY image",
    "shell-long-option": "docker run --env=NAME=KEY image",
    "shell-quoted-option": "docker run -e 'NAME=KEY' image",
    "csh": "setenv NAME KEY",
    "fish": "set -gx NAME KEY",
    "cmd": "set NAME=KEY",
    "setx": 'setx NAME "KEY"',
    "powershell": '$env:NAME = "KEY"',
    "make": "NAME := KEY",
    "make-conditional": "NAME ?= KEY",
    "yaml": "NAME: KEY",
    "yaml-quoted": "NAME: 'KEY'",
    "yaml-quoted-name": '"NAME": "KEY"',
    "yaml-comment": "  NAME: KEY   # until March\n",
    "yaml-block": "NAME: |\n  KEY\n",
    "yaml-folded-block": "NAME: >-\r\n  KEY\r\n",
    "yaml-tag": "NAME: !!str KEY",
    "yaml-own-tag": "NAME: !vault KEY",
    "yaml-flow": "{A: b, NAME: KEY}",
    "yaml-complex-key": "? NAME\n: KEY",
    "yaml-next-line": "NAME:\n  KEY",
    "json": '{"NAME": "KEY"}',
    "json-compact": '{"NAME":"KEY","A":"b"}',
    "json-in-lines": '{"NAME" :\n    "KEY"\n}',
    "json-in-json": '"{\\"NAME\\": \\"KEY\\"}"',
    "dockerfile-env": "ENV NAME=KEY",
    "dockerfile-env-quoted": 'ENV A=b NAME="KEY" B=c',
    "dockerfile-env-blank": "ENV NAME KEY",
    "dockerfile-env-goes-on": "ENV A=b \\\n    NAME=KEY \\\n    B=c",
    "dockerfile-arg": "ARG NAME=KEY",
    "compose-mapping": "services:\n  radio:\n    environment:\n      NAME: KEY\n",
    "compose-list": "    environment:\n      - NAME=KEY\n      - A=b\n",
    "compose-quoted-list": '    environment:\n      - "NAME=KEY"\n',
    "compose-default": "      NAME: ${NAME:-KEY}\n",
    "kubernetes": "- name: NAME\n  value: KEY\n",
    "kubernetes-quoted": '- name: "NAME"\n  value: "KEY"\n',
    "kubernetes-flow": '{name: NAME, value: "KEY"}',
    "kubernetes-json": '{"name": "NAME", "value": "KEY"}',
    "task-definition": '{\n  "name" : "NAME",\n  "value" : "KEY"\n}',
    "systemd": 'Environment="NAME=KEY" "A=b"',
    "ini": "[env]\nNAME = KEY ; until March",
    "toml": 'NAME = "KEY"',
    "xml": "<NAME>KEY</NAME>",
    "xml-attribute": "<service NAME='KEY'/>",
    "xml-add": '<add key="NAME" value="KEY"/>',
    "python": 'os.environ["NAME"] = "KEY"',
    "python-setdefault": 'os.environ.setdefault("NAME", "KEY")',
    "python-dict": '{"NAME": "KEY",}',
    "ruby": "ENV['NAME'] = 'KEY'",
    "ruby-hash": "{'NAME' => 'KEY'}",
    "javascript": "process.env.NAME = `KEY`",
    "url": "?NAME=KEY&a=b",
    "environ": "A=b\0NAME=KEY\0B=c",
}
"""`NAME` is the variable, and `KEY` the value."""

TEMPLATES = (
    "NAME=",
    "NAME=\n",
    'NAME=""',
    "NAME=replace_with_a_generated_value_from_the_secret_manager",
    "NAME=CHANGE_ME_CHANGE_ME_CHANGE_ME_Change_Me_0123456",
    "NAME=<replace-with-token_urlsafe>",
    "NAME=${NAME}",
    "NAME=${NAME:-}",
    "NAME=${NAME:?not set}",
    "NAME=$OTHER",
    "NAME=$(openssl rand -base64 32)",
    "NAME={{ lookup('env', 'NAME') }}",
    "NAME: !vault |\n  $ANSIBLE_VAULT;1.1;AES256",
    "NAME=%NAME%",
    "NAME=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "NAME=EXAMPLE-KEY-THAT-IS-LONG-ENOUGH-for-any-rule-0123456789",
    "NAME=null",
    "NAME=test",
    "NAME: ${{ secrets.NAME }}",
    "NAME: {valueFrom: {secretKeyRef: {name: radio, key: NAME}}}",
    'python -c "import secrets; print(secrets.token_urlsafe(32))" > NAME',
    "NAME=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "NAME=aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3",
    "NAME is the variable that delivers the key, and it must never be in version control",
)

NONE = {
    "another-variable": "OTHER=KEY",
    "a-longer-name": "MY_NAME=KEY",
    "a-longer-name-without-underscore": "XNAME=KEY",
    "a-name-that-goes-on": "NAME_EXPIRES_AT=KEY",
    "a-name-of-a-file": "NAME_FILE=KEY",
    "no-value": "NAME\nKEY",
    "a-value-of-another": "NAME=\nOTHER=KEY",
    "within-a-path": "NAME=/run/secrets/KEY",
    "a-url": "NAME=https://example.org/KEY",
    "an-interpolated-value": "NAME=KEY$MORE",
    "a-function": "NAME=KEY()",
    "a-longer-value": "NAME=KEY.more",
    "compared": "NAME == KEY",
    "three-equals-signs": "NAME=KEY===",
}


def filled(text: str, name: str, key: str) -> str:
    """Put a name and a key into a text."""
    return text.replace("NAME", "\1").replace("KEY", key).replace("\1", name)


class TestAssigned:
    """What is an assignment of a key."""

    @pytest.mark.parametrize(("policy", "key"), [(POLICY1, KEY1), (POLICY2, KEY2)], ids=["base64url", "hexadecimal"])
    @pytest.mark.parametrize("form", ASSIGNED)
    def test_forms(self, form: str, policy: SecretPolicy, key: str) -> None:
        """In every form in which a variable is given a value, it is found where the value begins."""
        text = filled(ASSIGNED[form], policy.variable, key)
        assert found(text) == [Assignment(text.index(key), policy, SealedStr(key), ())]

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=ascii)
    @pytest.mark.parametrize(
        ("policy", "key"),
        [(POLICY1, KEY1), (POLICY2, KEY2), (POLICY1, KEY2), (POLICY1, secrets.token_urlsafe(48))],
        ids=["base64url", "hexadecimal", "hexadecimal-for-the-first", "of-another-length"],
    )
    def test_a_kubernetes_secret(self, policy: SecretPolicy, key: str, end: str) -> None:
        """Its values are in base64, perhaps with the end of a line: the key is what is in it, whatever its length."""
        text = f"data:\n  {policy.variable}: {encoded(key + end)}\n"
        assert found(text) == [Assignment(text.index(": ") + 2, policy, SealedStr(key), ("base64",))]

    def test_the_value_of_each_variable_is_judged_by_its_own_policy(self) -> None:
        """What passes as one secret's key may not pass as another's."""
        assert found(f"{V2}={KEY1}") == []
        assert [each.policy for each in found(f"{V1}={KEY2}\n{V2}={KEY2}")] == [POLICY1, POLICY2]

    def test_several(self) -> None:
        """Each is found, in the order of the declared secrets and then of where they stand."""
        keys = [secrets.token_urlsafe(32) for _ in range(3)]
        text = f"{V2}={KEY2}\n" + "\n".join(f"export {V1}={key}" for key in keys)
        assert [each.key for each in found(text)] == [*map(SealedStr, keys), SealedStr(KEY2)]
        assert [text[each.offset :].split("\n")[0] for each in found(text)] == [*keys, KEY2]

    def test_a_template_before_it(self) -> None:
        """An assignment of nothing takes nothing of the next one."""
        assert [each.key for each in found(f"{V1}=\n{V1}={KEY1}\n")] == [SealedStr(KEY1)]
        assert [each.key for each in found(f"{V1}: <set it>\n{V1}: {KEY1}\n")] == [SealedStr(KEY1)]

    @given(before=st.text(string.printable, max_size=60), after=st.sampled_from(list(" \t\r\n,;)]}#&<>|\0")))
    def test_anything_before_it(self, before: str, after: str) -> None:
        """It is found after any text that does not end in a character of a name."""
        text = f"{before}\n{V1}={KEY1}{after}"
        assert Assignment(len(text) - 44, POLICY1, SealedStr(KEY1), ()) in found(text)


class TestNone:
    """What is none."""

    @pytest.mark.parametrize("text", TEMPLATES)
    @pytest.mark.parametrize("name", [V1, V2])
    def test_templates(self, text: str, name: str) -> None:
        """A template or a placeholder never is, nor what is plainly no key."""
        assert found(text.replace("NAME", name)) == []

    @pytest.mark.parametrize("form", NONE)
    def test_other_text(self, form: str) -> None:
        """Nor is a key that is not what the variable is given."""
        assert found(filled(NONE[form], V1, KEY1)) == []

    @pytest.mark.parametrize(
        "value",
        [KEY1[:-1], "é" * 50, "é" + KEY1, KEY1.lower(), KEY2[:50], encoded(KEY1[:-2])],
        ids=["short", "no-ascii", "begins-with-no-ascii", "lower", "short-hexadecimal", "short-in-base64"],
    )
    def test_what_would_not_pass_as_a_key(self, value: str) -> None:
        """A value that the format and the strength rules refuse is none, as it is and in base64."""
        assert found(f"{V1}={value}") == []

    @pytest.mark.parametrize(
        "value",
        [b"\xff" * 33, "é" * 30, f"{KEY1} {KEY1}", "", "replace_with_" + "aB3dE" * 10],
        ids=["no-text", "no-ascii", "two", "nothing", "placeholder"],
    )
    def test_what_is_no_key_in_base64(self, value: bytes | str) -> None:
        """Nor is base64 of anything else."""
        data = value if isinstance(value, bytes) else value.encode()
        assert found(f"{V1}={base64.b64encode(data).decode()}=") == []

    @given(text=st.text(max_size=200) | st.lists(st.sampled_from([V1, V2, "=", ":", '"', " ", "\n", "a"])).map("".join))
    def test_any_text(self, text: str) -> None:
        """Where no key is, none is assigned."""
        assert found(text) == []

    def test_nothing_declared(self) -> None:
        """Without declared secrets there is none."""
        assert [*assignments(f"{V1}={KEY1}".encode(), ())] == []


HOSTILE = {
    "names": (b"", V1.encode() + b" "),
    "names-joined": (b"", V1.encode()),
    "names-given": (b"", V1.encode() + b"="),
    "names-given-themselves": (b"", V1.encode() + b":" + V1.encode() + b","),
    "blanks": (V1.encode(), b" "),
    "lines": (V1.encode(), b"\n "),
    "lines-after-names": (b"", V1.encode() + b"\n" * 200),
    "quotes": (V1.encode(), b'"'),
    "brackets": (V1.encode(), b"])}"),
    "commas": (V1.encode(), b" ,"),
    "hyphens": (V1.encode() + b"\n", b"-"),
    "value-without-end": (V1.encode() + b"\nvalue", b" "),
    "tag": (V1.encode() + b": !", b"a"),
    "tags": (V1.encode() + b": ", b"!a "),
    "block": (V1.encode() + b": |", b" "),
    "backslashes": (V1.encode() + b"=", b"\\\n"),
    "equals-signs": (V1.encode(), b"="),
    "one-value": (V1.encode() + b"=", b"a"),
    "one-value-that-does-not-end": (V1.encode() + b"=", b"aB3dE5gH7-"),
    "base64-that-does-not-end": (V1.encode() + b"=", b"QUJD"),
}
"""What comes first, and what is repeated."""


class TestHostileText:
    """Text that somebody made to take long: a search that goes back over it would not end within a day."""

    @pytest.mark.parametrize("form", HOSTILE)
    def test_a_whole_window(self, form: str) -> None:
        """As much as is looked at together is looked at once."""
        first, unit = HOSTILE[form]
        assert found(first + unit * (MIB // len(unit)) + b".") == []
