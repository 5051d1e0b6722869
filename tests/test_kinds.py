"""Every kind of JSON document: its published schema, and the commands that print it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from command_line import PARSERS, machine_at, rotated
from conftest import NOW, V1, good_keys, posix_only, run, schema_of
from fleets import line
from generated import KINDS, ROOT, SCHEMAS, text_of
from generated import schema_of as generated
from jsonschema import Draft202012Validator

PAGE = ROOT / "docs" / "json.md"
WHO = ("--environment", "prod", "--operator", "Ada")
WHY = ("--reason", "leaked")
# The kind, a command that prints it, and the command's status if a key file is in use.
PRINTED_BY: list[tuple[str, str, int]] = [
    ("init", "init", 1),
    ("report", "check", 0),
    ("report", "check --strict", 1),
    ("report", "exec --require-env-only -- true", 3),
    ("explanation", "explain format", 0),
    ("status", "status", 0),
    ("keys", "generate secret.key", 0),
    ("rotation-plan", "rotate plan secret.key", 2),
    ("rotation-record", f"rotate record secret_v2.key {' '.join(WHO)}", 1),
    ("rotation-steps", f"rotate put secret.key --to directory:keys {' '.join(WHO)}", 1),
    ("revocation", f"revoke secret_v2.key {' '.join(WHY)}", 1),
    ("log", "log show", 0),
    ("log-verification", "log verify", 0),
    ("incident", "incident --since 2026-11-30", 0),
    ("fleet", "fleet --roster roster --events events --require moved --secret secret.key", 1),
    ("scan", "scan", 0),
    ("store-check", "store check --to directory:store", 0),
]


@pytest.mark.parametrize(("kind", "command", "status"), PRINTED_BY, ids=[command for _, command, _ in PRINTED_BY])
def test_command_prints_a_document_of_its_kind(tmp_path: Path, kind: str, command: str, status: int) -> None:
    """Each command prints a document of its kind. Except for `keys`, it begins with the schema and the kind."""
    if "vault:" in command:
        pytest.importorskip("hvac")
    machine = machine_at(tmp_path)
    machine.record(rotated(NOW, machine.fingerprint()))
    machine.write("secret.key", machine.environ.pop(V1))
    machine.put("roster", "[api]\ninstances = ['web-1']\n")
    machine.put("events", line())
    words, dashes, program = command.partition(" -- ")
    ran = machine.call(*words.split(), "--format", "json", *f"{dashes}{program}".split())
    assert ran.status == status
    head = [] if kind == "keys" else [("schema", 1), ("kind", kind), ("ok", not status)]
    assert [*ran.document.items()][: len(head)] == head
    if kind not in {"keys", "scan"}:
        assert [*ran.document][3] == "model"


def test_every_command_is_listed_with_its_kind() -> None:
    """Each parser names the kind that its command prints, and every kind is printed."""
    named = {(command.kind, name) for name, command in PARSERS.items()}
    words = {name for _, name in named}
    assert {
        (kind, next(w for w in words if f"{command} ".startswith(f"{w} "))) for kind, command, _ in PRINTED_BY
    } <= named
    assert {kind for kind, _, _ in PRINTED_BY} == {kind for kind, _ in named} == {*KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_published_schema_is_valid_and_up_to_date(kind: str) -> None:
    """Each published schema is valid and up to date. `python tests/generated.py` writes it."""
    text = (SCHEMAS / f"{kind}.json").read_text(encoding="utf-8")
    assert text == text_of(generated(kind))
    Draft202012Validator.check_schema(json.loads(text))
    Draft202012Validator.check_schema(schema_of(kind).schema)


def test_each_kind_has_one_schema() -> None:
    """Each kind has one published schema."""
    assert {path.stem for path in SCHEMAS.iterdir()} == {*KINDS}


@posix_only
@pytest.mark.skipif(shutil.which("jq") is None, reason="the example needs jq, which is not installed")
@pytest.mark.parametrize(
    ("environ", "project", "outcome"),
    [
        ({V1: "changeme"}, "", (1, "alert: secret.key: placeholder\n")),
        ({}, "model = 1", (2, "")),
    ],
    ids=["fails", "no report"],
)
def test_ci_commands_of_the_page_fail_like_the_check(
    clean_env: dict[str, str], tmp_path: Path, environ: dict[str, str], project: str, outcome: tuple[int, str]
) -> None:
    """The CI commands of docs/json.md print the findings, and pass or fail like the check."""
    *_, shown = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(f"[tool.robodj-secretguard]\n{project}\n", encoding="utf-8")
    path = os.pathsep.join([os.path.dirname(sys.executable), clean_env.get("PATH", os.defpath)])
    env = clean_env | good_keys() | {"PATH": path} | environ
    ran = run(["bash", "-euc", shown], env=env, cwd=tmp_path, python=False)
    assert (ran.status, ran.out) == outcome
