"""docs/api.md: the signature and the docstring of each public name, as Markdown."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final

from robodj_secretguard.secret.frozen import NamedText

ALIASES: Final = {
    "Document": "dict[str, Any]",
    "Options": "Sequence[str]",
    "Policies": "Sequence[SecretPolicy]",
    "Records": "Sequence[Record]",
    "StrPath": "str | os.PathLike[str]",
}
"""Names of types that the page spells out, as no user imports them."""

CONTENT: Final = """
# Python API

Every public name, from its docstring. Names without a module are those of `robodj_secretguard`. "Policy section" refers
to [the policy](policy.md).

## Start

guard
check

## Declare secrets

`SecretSettings.secret_policies` has the policies of a model by field, in declared order.

RuntimeSecrets
SecretSettings
SecretPolicy: *
Material: opaque url pem json
Kind: *
Fault
Length: *
Generator: *

## Use the keys

[Use the keys](recipes.md) shows each adapter at work. A model of your own may have a field of the type `Secret`. It
takes a `Secret`, and never text.

Secret: current get_secret_value accepted verify find stored derive on_change
Key
SecretSettings.at_once
SecretSettings.refresh
adapters.django.secret_keys
adapters.flask.sign_sessions
adapters.itsdangerous.RingSerializer
adapters.itsdangerous.RingURLSafeSerializer
adapters.itsdangerous.RingSigner
adapters.fernet.RingFernet: *
adapters.aesgcm.RingAESGCM: *
adapters.jwt.RingJWT: *
adapters.starlette.RingSessionMiddleware
adapters.asyncpg.follow
adapters.django_database.follow
adapters.fastapi.ApiKey
adapters.sqlalchemy.follow
adapters.psycopg.follow
adapters.redis.follow
adapters.redis.FollowingCredentials: *
adapters.httpx.follow
adapters.httpx.FollowingAuth
adapters.requests.follow
adapters.requests.FollowingAuth
adapters.boto3.botocore_session
adapters.smtp.log_in

## Read a report

Report: *
Finding: *
SecretStatus: *
RevocationStatus: *
Check
Severity
State

## Test a service

The fixtures of the pytest plugin, and the function behind the second one. [Tests](testing.md) shows them at work.

pytest_robodj_secretguard.robodj_secrets
pytest_robodj_secretguard.bad_robodj_secret
pytest_robodj_secretguard.BadSecret: __call__
testing.bad_secret
testing.set_clock

## Redact logs

running.redact.SecretRedactor

## Say which keys a process runs on

[Start events](logs.md#start-events) has their fields.

running.heartbeat.send_heartbeat
running.heartbeat.send_end

## Serve a health endpoint

The response is [the state](monitoring.md#the-state) in one word.

running.state.RunningState
adapters.fastapi.ready
adapters.starlette.ready
adapters.flask.ready
adapters.django.ready

## Export metrics

adapters.prometheus.SecretCollector
adapters.prometheus.count_processes

## Read a secret manager

The commands with `--from` and `--to` call these functions.

managers.manager.load_sources
managers.manager.Sources: check
managers.manager.open_store

## Rotate

`rotate plan`, `rotate record` and `status` call the functions. `Rotator` takes the steps in a store, as
[`rotate`](rotation.md) does.

lifecycle.standing.record_rotation
lifecycle.standing.Recording: as_dict
lifecycle.standing.standing_of
lifecycle.standing.late_steps
lifecycle.records.Who
lifecycle.rotator.Wish
lifecycle.rotator.Rotator: take
lifecycle.rotator.StepResult: as_dict

## Revoke

lifecycle.revocation.draft_revocation
lifecycle.revocation.revoke
lifecycle.operations_log.OperationsLog: read locked append verify

## Scan

scan.scanner.scan
scan.result.Scan: as_dict

## Ask the fleet

fleet.verdict.parse_roster
fleet.verdict.Service
fleet.evidence.EventReader
fleet.evidence.ask
fleet.verdict.Evidence
fleet.verdict.Use
common.shapes.Slots
fleet.verdict.judge
fleet.verdict.Verdict

## Exceptions

errors.SecretGuardError
errors.SafeError
errors.CheckFailedError
errors.ManagerError
errors.RevokedKeyError
errors.UsageError
errors.RedactedError
errors.FileError
errors.ChangedError
errors.UnreadError

## Version

`robodj_secretguard.version.VERSION` is the version of the library, as text.
"""
NAME: Final = re.compile(r"^([a-z_]+\.)*\w+(?:\.\w+)?(?:: (?P<members>[\w *]+))?$")
"""A line of the content that is replaced by the description of a name, and of some of its members (`*`: of all)."""
_MEMBERS: Final = (FunctionType, classmethod, staticmethod, property)


def page_of_api() -> str:
    """Return the page."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_texts())).strip() + "\n"


def _texts() -> Iterator[str]:
    for line in CONTENT.splitlines():
        if not NAME.match(line):
            yield line
            continue
        name, _, members = line.partition(": ")
        owner = pkgutil.resolve_name(name if name.startswith("pytest_") else f"robodj_secretguard.{name}")
        yield from _described(name, owner)
        own = {each: member for each, member in vars(owner).items() if isinstance(member, _MEMBERS) and member.__doc__}
        fields = getattr(owner, "_fields", ())  # the docstring of a record describes its fields
        for member in (
            [each for each in own if each[0] != "_" and each not in fields] if members == "*" else members.split()
        ):
            yield from _described(f"{name}.{member}", own[member], level=4)


def _source(described: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(described))).body[0]


def _described(name: str, described: Any, level: int = 3) -> Iterator[str]:
    """Yield the heading, the signature and the docstring of a name."""
    yield from (f"{'#' * level} {name.replace('.__call__', '()')}", "")
    described = inspect.unwrap(getattr(described, "__func__", described))
    signature = "" if isinstance(described, property) else _signature(name.rpartition(".")[2], described)
    if signature:
        yield from (f"`{signature}`", "")
    yield from (_as_markdown(inspect.getdoc(described) or ""), "")
    if inspect.isclass(described) and issubclass(described, NamedText):
        yield from (f"Values: {', '.join(f'`{each.value}`' for each in described)}.", "")


def _signature(name: str, described: Any) -> str:
    """Return how a function is called, or how an object of a class is made."""
    if inspect.isclass(described) and "\nArgs:\n" not in (inspect.getdoc(described) or ""):
        return ""
    node, returns = _source(described), ""
    if isinstance(node, ast.ClassDef):
        parts = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        if hasattr(described, "_fields"):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            star = ["*"] if node.keywords else []
            return f"{name}({', '.join([*star, *(_spaced(ast.unparse(each)) for each in fields)])})"
        if "__init__" not in parts or hasattr(described, "model_fields"):
            return ""
        node = parts["__init__"]
    elif node.returns is not None:
        returns = f" -> {_spelled_out(ast.unparse(node.returns)).strip(chr(39))}"
    node.args.args = [each for each in node.args.args if each.arg not in {"self", "cls"}]
    return f"{name}({_spaced(ast.unparse(node.args))}){returns}"


def _spelled_out(text: str) -> str:
    """Return types without the names that only this library uses."""
    return re.sub(rf"\b({'|'.join(ALIASES)})\b", lambda found: ALIASES[found[1]], text)


def _spaced(text: str) -> str:
    """Return parameters with blanks around each default. A private default is shown as dots."""
    text = re.sub(r"(\w: [^=]+?) ?= ?(?!=)", r"\1 = ", _spelled_out(text))
    return re.sub(r"(?<= = )(_\w+|\w+\(_[\w.]+\))", "...", text)


def _as_markdown(text: str) -> str:
    """Return a docstring with lists in place of its sections."""
    lines, section = list[str](), ""
    for line in inspect.cleandoc(text).splitlines():
        item = re.match(r"    (\*{0,2}[\w.]+): ", line)
        if re.fullmatch("(Args|Attributes|Raises|Returns|Yields):", line):
            section = {"Args:": "Arguments:"}.get(line, line)
            lines += [section] if section in {"Returns:", "Yields:"} else [section, ""]
        elif not section:
            lines.append(line)
        elif section in {"Returns:", "Yields:"}:
            lines.append(line[4:])
        elif item:
            lines.append(f"- `{item[1]}`: {line[item.end() :]}")
        else:
            lines.append(line and f"  {line[8:]}")
    return "\n".join(lines)
