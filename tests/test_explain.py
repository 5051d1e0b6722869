"""`explain`: the texts of the table of checks, and their output."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import Machine, machine_at, rotated
from conftest import NOW, V1, V2

from robodj_secretguard import cli
from robodj_secretguard.cli import EXIT_CLEAN
from robodj_secretguard.cli.app import COMMAND_TABLE
from robodj_secretguard.cli.explain import SECTIONS, explanations
from robodj_secretguard.cli.output import WIDTH
from robodj_secretguard.startup.rules import Check

ALL = [str(check) for check in Check]
EXPLANATIONS = explanations()
PATH = Path(cli.__file__).with_name("explanations.toml")
NOT_PLAIN = re.compile(
    r"\b(mend|remedy|beside|thus|therein|thereof|throw-away|for ever|so that|not known|rule out|near miss|stranger)\b"
    r"|\b(is no (?!longer|more|need|such|key)|by itself|of its own|was given|nor (does|do|is|are))|(^|[.:] )Else\b",
    re.IGNORECASE,
)
"""Words for which plain English has a better one."""

POLICY = (Path(__file__).parent.parent / "docs" / "policy.md").read_text(encoding="utf-8")
MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import Material, SecretPolicy, SecretSettings

ONE = SecretPolicy(
    name="webhook.key",
    variable="WEBHOOK_KEY",
    owner="Integrations",
    backup_owner="Release Manager",
    cadence=timedelta(days=60),
    warn_before=timedelta(days=1),
)

class Own(SecretSettings, file_fallback=False):
    webhook: Annotated[SecretStr, ONE]
    mail: Annotated[SecretStr, SecretPolicy(name="mail.password", variable="MAIL_PASSWORD", material=Material.opaque())]
"""


def texts_of(check: Mapping[str, Any]) -> list[str]:
    """Return the texts that `explain` prints for a check."""
    return [check["meaning"], check["why"], *check["causes"], *check["fixes"]]


TEXTS = [text for check in EXPLANATIONS.values() for text in texts_of(check)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a model that no other test has imported."""
    machine = machine_at(tmp_path)
    machine.put("explained.py", MODEL)
    monkeypatch.delitem(sys.modules, "explained", raising=False)
    return machine


class TestTexts:
    """The texts of explanations.toml, for an operator in a hurry whose first language is not English."""

    def test_every_check_has_every_text(self) -> None:
        """Each check has each text and a short title. No text is of an unknown check, or under an unknown key."""
        texts = tomllib.loads(PATH.read_text(encoding="utf-8"))
        keys = {"title", "meaning", "why", "causes", "fixes", "commands", "policy_section"}
        assert [*texts["checks"]] == ALL
        assert {check: texts["checks"][check].keys() - {"otherwise"} for check in ALL} == dict.fromkeys(ALL, keys)
        assert {name for check in texts["checks"].values() for name in check["commands"]} == texts["commands"].keys()
        assert [check for check, text in EXPLANATIONS.items() if not 0 < len(text["title"]) <= 50] == []
        assert [check for check, text in EXPLANATIONS.items() if not (text["causes"] and text["fixes"])] == []

    @pytest.mark.parametrize("check", ALL)
    def test_every_text_is_plain(self, check: str) -> None:
        """A text has whole sentences of at most 25 words, in ASCII, with plain words. It is unique within its check."""
        texts = texts_of(EXPLANATIONS[check])
        assert len({*texts}) == len(texts)
        for text in texts:
            assert text.isascii()
            assert text.endswith(".")
            assert not {*"{}"} & {*text}  # only commands have placeholders
            assert max(len(sentence.split()) for sentence in re.split(r"(?<=\.)\s", text)) <= 25, text
            assert not NOT_PLAIN.search(text), text

    def test_first_fix_has_no_condition(self) -> None:
        """The first fix suits everybody, since the reference shows only this one."""
        assert [name for name, check in EXPLANATIONS.items() if check["fixes"][0].startswith("If ")] == []

    def test_named_commands_exist(self) -> None:
        """Every command and every check that a text names exists."""
        named = {name for text in TEXTS for name in re.findall(r"robodj-secretguard ([a-z-]+)", text)}
        assert named
        assert named <= COMMAND_TABLE.keys()
        assert {name for text in TEXTS for name in re.findall(r"The check ([a-z-]+) ", text)} <= {*ALL}

    def test_sections_are_those_of_the_policy(self) -> None:
        """The sections are those of docs/policy.md, and each check is in one of them."""
        headings = re.findall(r"^## (\d)\. (.+)$", POLICY, re.MULTILINE)
        assert {int(number): title for number, title in headings} == SECTIONS
        assert {check["policy_section"] for check in EXPLANATIONS.values()} <= {*SECTIONS}


class TestCommand:
    """The output."""

    def test_every_check_is_listed(self, machine: Machine) -> None:
        """Without a name, every check is listed with its severity and its title, aligned."""
        ran = machine.call("explain")
        assert (ran.status, ran.err) == (EXIT_CLEAN, "")
        *rows, blank, last = ran.out.splitlines()
        checks = [*EXPLANATIONS.values()]
        assert [row.split(maxsplit=2) for row in rows] == [[c["check"], c["severity"], c["title"]] for c in checks]
        assert {row.index(check["title"]) for row, check in zip(rows, checks, strict=True)} == {27}
        assert (blank, last) == ("", "Run robodj-secretguard explain CHECK for its causes and fixes.")

    def test_no_line_is_too_long(self, machine: Machine) -> None:
        """No line is longer than 80 columns, all are ASCII, and every text is shown whole."""
        out = machine.call("explain", *ALL).out
        assert out.isascii()
        assert max(map(len, out.splitlines())) <= WIDTH
        words = " ".join(out.split())
        assert not [text for text in TEXTS if text not in words]

    def test_parts_of_an_explanation_are_in_order(self, machine: Machine) -> None:
        """An explanation has its parts in a fixed order."""
        assert machine.call("explain", "cadence").out == (
            "cadence: the expiry marker is too far ahead\n"
            "Severity: warning\n"
            "\n"
            "What it means\n"
            "  The expiry marker is more than one day further ahead than the cadence. The\n"
            "  cadence is how often the secret is rotated.\n"
            "\n"
            "Why it warns\n"
            "  The key would be in use for longer than the policy allows.\n"
            "\n"
            "How it happens\n"
            "  - Somebody moved the date, and did not rotate the key.\n"
            "  - The marker has a wrong year.\n"
            "  - The date of a secret with a longer cadence was copied.\n"
            "\n"
            "How to fix it\n"
            "  - Set the marker to the date of the last rotation plus the cadence.\n"
            "  - If you do not know the date of the last rotation: the log has it.\n"
            "  - If the last rotation is longer ago than the cadence: rotate the secret now.\n"
            "\n"
            "Policy\n"
            "  Section 3 of RoboDJ's policy: Rotation\n"
            "\n"
            "Commands\n"
            "  Show when each key was recorded:\n"
            "    robodj-secretguard log show --secret secret.key\n"
            "    robodj-secretguard log show --secret secret_v2.key\n"
            "  Print the steps of a rotation (SOURCE is the store of the keys):\n"
            "    robodj-secretguard rotate plan secret.key --from SOURCE\n"
            "    robodj-secretguard rotate plan secret_v2.key --from SOURCE\n"
            "\n"
        )

    def test_checks_are_explained_once_each(self, machine: Machine) -> None:
        """Several checks are explained once each, in the order given, with the other severity and its condition."""
        out = machine.call("explain", "ephemeral", "near-miss", "format", "ephemeral").out
        assert re.findall("^([a-z-]+): ", out, re.MULTILINE) == ["ephemeral", "near-miss", "format"]
        assert "Severity: alert; warning for a key, the config directory or the operations log\n" in out
        assert (out.count("\nCommands\n"), "Why it refuses\n" in out) == (2, True)

    def test_document_has_every_check_or_the_named_ones(self, machine: Machine) -> None:
        """The JSON document has every check, or the named checks, with a command for each secret."""
        checks = machine.call("explain", "--format", "json").document["checks"]
        assert [check["check"] for check in checks] == ALL
        (expired,) = machine.call("explain", "expired", "--format", "json").document["checks"]
        assert expired == checks[ALL.index("expired")]
        assert expired == EXPLANATIONS["expired"] | {"commands": expired["commands"]}
        assert expired["commands"][1] == {
            "purpose": "Print the steps of a rotation (SOURCE is the store of the keys)",
            "commands": [
                f"robodj-secretguard rotate plan {name} --from SOURCE" for name in ("secret.key", "secret_v2.key")
            ],
        }

    def test_every_command_runs_as_it_is(self, machine: Machine) -> None:
        """Every command has no field left to fill in. Each command of this program succeeds."""
        machine.record(rotated(NOW, machine.fingerprint()))
        checks = machine.call("explain", "--format", "json").document["checks"]
        commands = {line for check in checks for each in check["commands"] for line in each["commands"]}
        assert not [command for command in commands if re.search("[{}]", command)]
        store = f"directory:{machine.root}.keys"
        valid = [shlex.split(command.replace("SOURCE", store))[1:] for command in commands if command[:7] == "robodj-"]
        assert {words[0] for words in valid} == {"check", "rotate", "log", "scan"}
        for words in sorted(valid, key=lambda words: ("put" not in words, words)):  # the others need the keys
            ran = machine.call(*[word for word in words if word != "--git-history"])
            assert ran.status == EXIT_CLEAN, (words, ran.err)

    def test_commands_are_for_the_declared_secrets(self, machine: Machine) -> None:
        """The commands name the secrets that the model declares, and have its `--model` option. Others are issued."""
        out = machine.call("explain", "weak", "missing", "--model", "explained:Own").out
        for line in (
            "robodj-secretguard rotate plan webhook.key --from SOURCE --model explained:Own",
            "robodj-secretguard rotate put mail.password --to SOURCE --model explained:Own",
            'python -c "import secrets; print(secrets.token_urlsafe(32))"  # webhook.key',
            "# mail.password: issue a new one",
        ):
            assert f"    {line}\n" in out
        assert "secret.key" not in out

    def test_explain_reads_no_secret(self, machine: Machine) -> None:
        """The result does not depend on secrets, key files or the log."""
        good = machine.call("explain", *ALL)
        bad = {V1: "changeme", V2: "x", "ROBODJ_CONFIG_DIR": "nowhere", "ROBODJ_PROTECTED_ENV": "perhaps"}
        machine.environ.update(bad, ROBODJ_OPERATIONS_LOG="nowhere")
        assert machine.call("explain", *ALL) == good
