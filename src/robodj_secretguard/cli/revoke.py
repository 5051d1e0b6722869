"""`revoke`: stop guarded services from starting with a key (policy section 4)."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.log import find_log, recorded_line, who_of
from robodj_secretguard.cli.options import (
    LOG_OPTIONS,
    Commands,
    Request,
    add_command,
    directory_of,
    given,
    given_set_up,
    given_sources,
    judged,
    policy_of,
    read_input,
    read_sources,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    failed_result,
    finding_text,
)
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Document, Record, Records, recorded_keys
from robodj_secretguard.lifecycle.revocation import (
    draft_revocation,
    known_of,
    revocable_key,
    revoke,
    steps_after,
)
from robodj_secretguard.lifecycle.runbook import PlannedStep, Steps, plan_lines
from robodj_secretguard.lifecycle.standing import expected_keys
from robodj_secretguard.secret.material import FORM, Kind, canonical, fingerprint, is_fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import PROGRAM, count
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS
from robodj_secretguard.startup.readings import REVOKED_FILE, shown_path
from robodj_secretguard.startup.report import Report
from robodj_secretguard.startup.rules import Check

if TYPE_CHECKING:
    from robodj_secretguard.managers.manager import Sources


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "revoke",
        _revoke_key,
        required=("--reason",),
        options=(
            "--from",
            "--environment",
            "--operator",
            "--ticket",
            *LOG_OPTIONS,
        ),
        own={
            "name": {"nargs": "?", "metavar": "NAME", "help": "the secret whose current key is revoked"},
            "--key-from": (
                "FILE",
                "revoke the key in this file, as it was found (- for stdin), instead of the current one",
            ),
            "--fingerprint": {
                "dest": "listed_as",
                "metavar": "SGFP1",
                "help": "revoke the key with this fingerprint (sgfp1:...), instead of the current one",
            },
            "--unknown": "revoke the key even if neither the operations log nor a source knows it",
            "--without-replacement": "revoke a current key that nothing can replace yet: no service starts until"
            " something does",
            "--yes": "revoke the key (without --yes, only print which key that is)",
        },
        kind="revocation",
        description="Revoke a key. Guarded services refuse to start on it. The key is added to the revocation list, and"
        " the revocation is recorded in the operations log.",
        examples=(
            "revoke secret.key --reason 'posted in a chat'",
            "revoke secret.key --reason leaked --from directory:secrets",
        ),
        statuses={
            "0": "revoked",
            "1": "not revoked: --yes is missing, or the source of --from refused",
            "2": "usage error, or not revoked or recorded",
            "75": "not revoked: the secret manager of --from did not answer in time",
        },
    )


def _revoke_key(
    request: Request,
    *,
    name: str | None,
    key_from: str | None,
    listed_as: str | None,
    unknown: bool,
    without_replacement: bool,
    yes: bool,
) -> Result:
    meant = leaked_key(request, listed_as, key_from)
    if not meant and name is None:
        fail("revoke needs NAME, for the current key of a secret, or else --key-from FILE or --fingerprint SGFP1")
    if unknown and not meant:
        fail("--unknown works only with --fingerprint or --key-from; leave it out")
    policy = None if name is None else policy_of(request.model_class, name)
    sources = read_sources(request)
    report = judged(request, sources)
    if sources and sources.failed:
        what = f"{PROGRAM}: nothing was revoked; leave out --from to revoke without the secret manager"
        return failed_result(report, what)
    log = find_log(request).read()  # an unreadable log does not prevent a revocation
    key, known = _described(request, report, log.records, policy, meant)
    where = f"in {' and '.join(each.name for each in sources.deliveries)}" if sources else "here"
    of_plan = [*given_sources(request), *given(request, "operator", "ticket"), *given_set_up(request)]
    what = _description(key, known, where)
    steps = steps_after(known, of_plan)
    lacking = _lacking(known, where, steps, unknown=unknown, bare=without_replacement)
    if not yes:
        how = "first do what is said above; to revoke the key without that" if lacking else "to revoke the key"
        others = recorded_keys([each for each in log.records if each.fingerprint != key.fingerprint], key.secret)
        return Result(
            EXIT_ALERTS,
            [
                f"Would revoke: {what}",
                *lacking.values(),
                *([] if meant else [f"Other keys for --fingerprint: {others}."]),
                MODEL,
            ],
            lambda: _document(known, revoked=False, recorded=False),
            [*log.complaint, f"{PROGRAM}: nothing was revoked; {how}, add {' '.join(['--yes', *lacking])}"],
        )
    if lacking:
        fail(f"nothing was revoked: {' '.join(lacking.values())}; to revoke it without that, add {' '.join(lacking)}")
    return _carry_out(request, log, key, known, what=what, steps=steps, sources=sources)


def _carry_out(
    request: Request,
    log: OperationsLog,
    key: Record,
    known: Document,
    *,
    what: str,
    steps: Steps,
    sources: Sources | None,
) -> Result:
    """Revoke the key. Return what was done, and what is next."""
    directory, named_by = directory_of(request)
    name_of_list = f"the revocation list {shown_path(REVOKED_FILE, named_by)}"
    is_new, appended, problems = revoke(key, log, directory, model=request.model_class, name_of_list=name_of_list)
    lines = [
        f"{'Revoked' if is_new else 'Already revoked'}: {what}",
        *map(recorded_line, appended),
        (
            f"The fingerprint is on {name_of_list}. Deploy this list with every service, or add the fingerprint to"
            f" {REVOKED_FINGERPRINTS} there."
        ),
        # With other faults in the list, the revocation may not be effective.
        *[
            finding_text(finding)
            for finding in judged(request, sources).findings
            if finding.check is Check.REVOCATION_LIST
        ],
        "",
        "What to do next:",
        *plan_lines(steps),
        "",
        MODEL,
    ]
    events = [record.as_dict() for record in appended]
    return Result(
        EXIT_USAGE if problems else EXIT_CLEAN,
        lines,
        lambda: _document(known, revoked=True, recorded=not problems, steps=steps, records=events),
        [f"{PROGRAM}: {problem}" for problem in problems],
        events=events,
    )


def _document(
    known: Document,
    *,
    revoked: bool,
    recorded: bool,
    steps: Sequence[PlannedStep] = (),
    records: Sequence[Document] = (),
) -> Document:
    return {
        "kind": "revocation",
        "revoked": revoked,
        "recorded": recorded,
        "key": known,
        "steps": [step.as_dict() for step in steps],
        "records": [*records],
    }


def _description(key: Record, known: Document, where: str) -> str:
    of_whom = ", ".join(filter(None, (key.subject, key.environment)))
    since = f"recorded at {known['recorded_at']}" if known["recorded_at"] else "no rotation recorded"
    slots = [f"the {each['slot']} key of {each['secret']}" for each in known["delivered_as"]]
    stops = " No service starts with a revoked current key, and a service that refreshes its keys stops."
    return (
        f"{key.fingerprint} ({of_whom}; {since}). This key is {' and '.join(slots) or 'not set'} {where}."
        f"{stops if known['is_current'] else ''}"
    )


# Next to such a symbol, it is a part of a key with symbols.
_WORD: Final = "(?<![A-Za-z0-9+/_!#$%^*@-])[A-Za-z0-9+/_-]++(?![!#$%^*@])"


def _found_in(word: str) -> str:
    """Return the key that a word encodes in base64, as Kubernetes stores it; otherwise the word."""
    try:
        text = b64decode(word + "=" * (-len(word) % 4)).decode("ascii").strip()
    except ValueError:
        return word
    return text if re.fullmatch("[A-Za-z0-9+/_=-]+", text) else word


def _keys_in_lines(text: SealedStr, kinds: Sequence[Kind]) -> set[str]:
    """Return the fingerprints of the lines that are a key of any alphabet, also after a name or in quotes."""
    if not kinds:
        return set()
    from robodj_secretguard.secret.issued import unnamed  # noqa: PLC0415 - few services declare such a kind

    lines = [unnamed(line.strip(), "").strip("\"'") for line in text.get_secret_value().splitlines()]
    return {fingerprint(SealedStr(line)) for line in lines if any(kind.accepts(line) for kind in kinds)}


def fingerprint_in(path: str, kinds: Sequence[Kind]) -> str:
    """Return the fingerprint of the one key in a file, whatever is around it."""
    text = SealedStr(read_input("--key-from", path, most=1 << 16).replace(b"\0", b"").decode("ascii", "replace"))
    # In a URL, a slash is between two words.
    words = "[A-Za-z0-9+_-]+" if "://" in text.get_secret_value() else _WORD
    found = contain(
        lambda: (
            {
                fingerprint(SealedStr(part))
                for part in map(_found_in, re.findall(words, text.get_secret_value()))
                if any(kind.accepts(canonical(part)) for kind in kinds)
                and not (part.isupper() and "_" in part)  # a variable's name
            }
            | _keys_in_lines(text, [kind for kind in kinds if kind.is_taken_whole])
        )
    )
    if len(found) != 1:
        fail(
            f"--key-from: the file has {count(len(found), 'strong key')}; write the one key in one line of it (what"
            " has no fingerprint, such as a passphrase, cannot be revoked: replace it)"
        )
    return found.pop()


def leaked_key(request: Request, key: str | None, key_from: str | None) -> str:
    """Return the fingerprint of a leaked key, from its option or from its text in a file; empty where none is given."""
    if key is not None and key_from is not None:
        fail("pass --key-from or --fingerprint, not both")
    if key_from is not None:
        kinds = [each.material for each in request.policies if each.material.has_fingerprint]
        return fingerprint_in(key_from, kinds)
    if key is not None and not is_fingerprint(key):
        fail(f"--fingerprint: invalid fingerprint; use {FORM}")
    return key or ""


def _described(
    request: Request,
    report: Report,
    records: Records,
    policy: SecretPolicy | None,
    meant: str,
) -> tuple[Record, Document]:
    """Return the draft of the record, and what is known about the key. Refuse another secret or environment."""
    meant = revocable_key(policy, meant, report, records) if policy else meant
    who = who_of(request)
    name = policy.name if policy else None
    key = draft_revocation(meant, name, report, records, request.policies, who=who)
    expected = expected_keys(report, records, key.environment).get(key.secret or "", Slots())
    known = known_of(key, report, records, expected)
    if name not in {None, key.secret, *(each["secret"] for each in known["delivered_as"])}:
        fail(f"nothing was revoked: this is a key of {key.secret}, and not of {name}")
    if who.environment not in {None, key.environment}:
        fail(f"nothing was revoked: the log has this key in {key.environment}; leave out --environment")
    return key, known


def _lacking(known: Document, where: str, steps: Steps, *, unknown: bool, bare: bool) -> dict[str, str]:
    """Return the options without which the key is not revoked, and why."""
    plan = next((step.command for step in steps if step.command), "")
    lacking = {}
    if not (known["is_known"] or unknown):
        lacking["--unknown"] = f"Neither the operations log nor what is set {where} has this key. Compare its text"
    if known["is_current"] and not (known["has_replacement"] or known["is_revoked"] or bare):
        lacking["--without-replacement"] = (
            f"No other key of {known['secret']} is known {where}. Follow this plan, which replaces and revokes the key:"
            f" {plan}"
        )
    return lacking
