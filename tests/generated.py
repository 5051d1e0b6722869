"""The parts of the documentation that are generated from the code. `python tests/generated.py` writes them."""

from __future__ import annotations

import ast
import inspect
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import documents
import kinds
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from robodj_secretguard.cli.explain import explanations
from robodj_secretguard.common import shapes
from robodj_secretguard.fleet import verdict as instances
from robodj_secretguard.lifecycle import records
from robodj_secretguard.scan import result

ROOT: Final = Path(__file__).parent.parent
REFERENCE: Final = ROOT / "docs" / "reference.md"
SCHEMAS: Final = ROOT / "docs" / "schemas"
KINDS: Final = kinds.KINDS
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEADER: Final = "| check | severity | meaning | fix |\n|---|---|---|---|\n"
_NAMES: Final = re.compile(
    r"\bROBODJ_\w+(?:=true|=false)?|\bconfig/[\w.]+\w|\brobodj-secretguard (?:rotate )?[a-z]+(?: NAME)?|\bguard\(\)"
)
"""The code in the texts of the table."""


def table_of_checks() -> str:
    """Return the table of checks, with the first fix of each."""
    rows = []
    for check, texts in explanations().items():
        severity = "; ".join(filter(None, (texts["severity"], texts["otherwise"])))
        meaning, fix = (_NAMES.sub(r"`\g<0>`", text) for text in (texts["meaning"], texts["fixes"][0]))
        rows.append(f"| `{check}` | {severity} | {meaning} | {fix} |")
    return _HEADER + "".join(f"{row}\n" for row in rows)


def reference_with_table() -> str:
    """Return the reference with the table of the present checks."""
    text = REFERENCE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_HEADER)
    after = rest.lstrip("|").partition("\n\n")[2]
    return f"{before}{table_of_checks()}\n{after}"


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
        for field, text in _texts_of(_class_of(name)).items():
            part["properties"][field]["description"] = text
    if "$ref" in schema:
        schema = parts.pop(schema["$ref"].rpartition("/")[2])
    return schema, parts


def _class_of(name: str) -> Any:
    modules = (shapes, records, result, documents, instances, kinds)
    return next(vars(module)[name] for module in modules if isinstance(vars(module).get(name), type))


def _texts_of(shape: Any) -> dict[str, str]:
    """Return the docstrings of a class's fields."""
    texts = dict[str, str]()
    for base in getattr(shape, "__orig_bases__", ()):
        texts |= _texts_of(base) if isinstance(base, type) else {}
    (node,) = ast.parse(inspect.getsource(shape)).body
    assert isinstance(node, ast.ClassDef)
    for field, text in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return texts


def text_of(schema: dict[str, Any]) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference_with_table(), encoding="utf-8")
    for path in SCHEMAS.glob("*.json"):
        path.unlink()
    for name in KINDS:
        (SCHEMAS / f"{name}.json").write_text(text_of(schema_of(name)), encoding="utf-8")
