"""The parts of the documentation that are generated from the code. `python tests/generated.py` writes them."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import kinds
from api_page import page_of_api
from command_line import PARSERS
from documents import TEXTS
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from robodj_secretguard.cli.app import CommandParser, _parser
from robodj_secretguard.cli.explain import explanations
from robodj_secretguard.cli.output import wrapped
from robodj_secretguard.common import shapes
from robodj_secretguard.fleet import verdict as instances
from robodj_secretguard.lifecycle import records
from robodj_secretguard.scan import result
from robodj_secretguard.secret.texts import PROGRAM

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
SCHEMAS: Final = DOCS / "schemas"
KINDS: Final = kinds.KINDS
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_CODE: Final = re.compile(
    r"\bROBODJ_\w+(?:=true|=false)?|\bconfig/[\w.]+\w|\brobodj-secretguard (?:rotate )?[a-z]+(?: NAME)?|\bguard\(\)"
    r"|\b(?:scan|fleet --require [\w-]+) --format json|\bNO_COLOR\b|\b[\w/]+\.(?:toml|jsonl)\b"
    r"|(?:\bexec )?(?<![\w-])--[a-z][a-z-]+|\b(?:vault|aws|directory|envfile|exec|json):(?:[A-Z_/-]+|(?= or))"
    r"|'environment=\S+"
)
"""The code in the texts of the program."""
_CHECKS: Final = """\
# Checks

A run reports every finding at once. An alert refuses the start; a warning does not. A note is shown and not counted,
also with `--strict`. [`robodj-secretguard explain CHECK`](commands/explain.md) says what a finding means, how it
happens and how to fix it.

| check | severity | meaning | fix |
|---|---|---|---|
{rows}"""
_COMMANDS: Final = """\
# Commands

{commands}

`python -m robodj_secretguard check` is the same as `robodj-secretguard check`. If the directory has files named like
modules of the standard library, write `python -P -m`.

{statuses}

The page of a command, and its `--help`, say what each status means there. A usage error names the fault and the nearest
known word: `unknown command; did you mean check?`. It never repeats what was typed.

`check`, `exec` and `status` print one row for each secret, with a mark:

| mark | meaning |
|---|---|
| `ok` | the secret is usable |
| `warn` | it is usable, with a warning |
| `due` | in `status`: its rotation is overdue, incomplete or not recorded, or a stage of it is due |
| `FAIL` | it is not usable, whatever its state |
| `off` | it is optional (`required=False`), and nothing of it is set |

Every command says which model it used, and what named it: `model: service_secrets:ServiceSecrets (pyproject.toml)`.
`model: none is named` means that it did not use yours.
"""


_GUIDES: Final = {
    "init": "start",
    "check": "deployment",
    "exec": "deployment",
    "status": "rotation",
    "generate": "rotation",
    "rotate": "rotation",
    "store": "other-managers",
    "revoke": "incident",
    "log": "operations-log",
    "fleet": "monitoring",
    "incident": "incident",
    "scan": "scan",
    "explain": "incident",
}
"""The page that shows each command at work."""


def page_of_checks() -> str:
    """Return the page of the checks, with the first fix of each."""
    rows = []
    for check, texts in explanations().items():
        severity = "; ".join(filter(None, (texts["severity"], texts["otherwise"])))
        meaning, fix = map(_code, (texts["meaning"], texts["fixes"][0]))
        rows.append(f"| `{check}` | {severity} | {meaning} | {fix} |")
    return _CHECKS.format(rows="".join(f"{row}\n" for row in rows))


def pages() -> dict[str, str]:
    """Return each generated page, by its path in docs."""
    rows = [
        f"| [`{name}`](commands/{_file_of(name)}) | {_code(command.text.partition('.')[0])} |"
        f" [`{command.kind}`](schemas/{command.kind}.json) |"
        for name, command in PARSERS.items()
    ]
    return {
        "api.md": page_of_api(),
        "checks.md": page_of_checks(),
        "commands.md": _COMMANDS.format(
            commands="\n".join(["| command | what it does | JSON |", "|---|---|---|", *rows]),
            statuses=_table("exit status", _parser("").statuses),
        ),
        **{f"commands/{_file_of(name)}": _page_of(name, command) for name, command in PARSERS.items()},
    }


def _file_of(command: str) -> str:
    return f"{command.replace(' ', '-')}.md"


def _page_of(name: str, parser: CommandParser) -> str:
    """Return the page of a command."""
    parts = [f"# {name}", wrapped(_code(parser.text), "", 120), f"```text\n{' '.join(str(parser.usage).split())}\n```"]
    guide = f"{_GUIDES[name.partition(' ')[0]]}.md"
    parts.append(f"[How to use it](../{guide}).")
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no other way to list them
        options = {_shown(action): str(action.help) for action in group._group_actions}  # noqa: SLF001
        if options:
            parts += [f"## {str(group.title).capitalize()}", _table("option", options)]
    examples = "\n".join(f"{PROGRAM} {each}" for each in parser.examples)
    schema = f"[`{parser.kind}`](../schemas/{parser.kind}.json)"
    parts += [
        f"## Examples\n\n```sh\n{examples}\n```",
        f"## Exit statuses\n\n{_table('exit status', parser.statuses)}",
        f"## JSON\n\n`--format json` prints a document of the kind {schema}. See [JSON documents](../json.md).\n",
    ]
    return "\n\n".join(parts)


def _shown(action: argparse.Action) -> str:
    """Return an option or an argument, with the placeholder of its value."""
    value = action.metavar or (f"{{{','.join(action.choices)}}}" if action.choices else "")
    return f"{', '.join(action.option_strings)} {value}".strip()


def _table(title: str, rows: Mapping[str, str]) -> str:
    """Return a table of words and their meanings."""
    return "\n".join([f"| {title} | meaning |", "|---|---|", *(f"| `{word}` | {_code(rows[word])} |" for word in rows)])


def _code(text: str) -> str:
    return _CODE.sub(r"`\g<0>`", text)


class _Plain(GenerateJsonSchema):
    """Leave out titles, which repeat the names, and defaults, since every document has every field."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic passes it
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of document. The document and its parts may have further fields."""
    schema, parts = _described(KINDS[kind])
    if schema.get("required", [])[:1] == ["kind"]:  # the command adds the rest of the envelope
        envelope, parts_of_envelope = _described(kinds.Envelope)
        schema["properties"] = envelope["properties"] | schema["properties"]
        schema["required"] = [*schema["properties"]]
        parts |= parts_of_envelope
    return {"$schema": _DIALECT, **schema, "title": kind} | ({"$defs": dict(sorted(parts.items()))} if parts else {})


def _described(shape: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a document, and those of its parts by their names."""
    # As a list item: the schema of a document alone may be a reference or not.
    whole = TypeAdapter(list[shape]).json_schema(mode="serialization", schema_generator=_Plain)
    parts, schema = whole.get("$defs", {}), whole["items"]
    for name, part in parts.items():
        part.pop("additionalProperties", None)
        part["description"] = part["description"].partition("\n\n")[0]  # the rest is for programmers
        for field, text in _texts_of(name).items():
            part["properties"][field]["description"] = text
    if "$ref" in schema:
        schema = parts.pop(schema["$ref"].rpartition("/")[2])
    return schema, parts


def _texts_of(name: str) -> dict[str, str]:
    """Return the meaning of each field of a class: of one that the program has, the docstrings."""
    shape = next((vars(each)[name] for each in (shapes, records, result, instances) if name in vars(each)), None)
    if shape is None:
        return TEXTS.get(name, {})
    texts = dict[str, str]()
    for field, text in pairwise(ast.parse(inspect.getsource(shape)).body[0].body):  # type: ignore[attr-defined]
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return texts


def text_of(schema: dict[str, Any]) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    texts = pages() | {f"schemas/{name}.json": text_of(schema_of(name)) for name in KINDS}
    for path in (*SCHEMAS.glob("*.json"), *DOCS.glob("commands/*.md")):
        path.unlink()
    for name, text in texts.items():
        (DOCS / name).write_text(text, encoding="utf-8")
