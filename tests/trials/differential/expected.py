"""The differences that are meant: each rule belongs to a line of CHANGELOG.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Rule:
    """Differences that are meant, in the output or the files of some commands.

    Attributes:
        entry: words of the line in CHANGELOG.md.
        command: a pattern for the command.
        part: a pattern for the part: `status`, `out`, `err` or `files`.
        ignored: a pattern for lines that either side may have alone.
        same: patterns and their replacements, which make the remaining lines of both sides the same.
        may_lose: whether the new side may leave out lines.
        needs: a pattern for the whole results of the old side.
    """

    entry: str
    command: str
    part: str = "out"
    ignored: str = "(?!)"
    same: tuple[tuple[str, str], ...] = ()
    may_lose: bool = False
    needs: str = ""

    def applies(self, command: str, part: str, results: str) -> bool:
        """Check whether the rule is about this part of the results."""
        is_part = re.fullmatch(self.command, command) and re.fullmatch(self.part, part)
        return bool(is_part and re.search(self.needs, results))

    def explains(self, old: Sequence[str], new: Sequence[str]) -> bool:
        """Check whether these lines of the old side may have become these of the new side."""
        before, after = self._compared(old), self._compared(new)
        return {*after} <= {*before} if self.may_lose else before == after

    def _compared(self, lines: Iterable[str]) -> list[str]:
        compared = list[str]()
        for line in lines:
            if not re.fullmatch(self.ignored, line):
                for pattern, replacement in self.same:
                    line = re.sub(pattern, replacement, line)  # noqa: PLW2901 - one replacement after another
                compared.append(line)
        return compared


RULES: Final = (
    Rule(
        "Records of the operations log have no `sealed`",
        ".*",
        "out|err|files",
        ignored=r' *"sealed": null,',
        same=(('"sealed":null,|, sealed', ""),),
    ),
    Rule(
        "`log show` says on stderr what is wrong with a log",
        "log show",
        "err",
        ignored=".*the operations log.* does not verify.*",
    ),
    Rule(
        "`--watch`, `--splay` and `--stop-timeout` of `exec`",
        "exec",
        "out|err",
        ignored=r" +--(watch|splay|stop-timeout) .*| +(restart COMMAND|with --watch|\(default: (0|30)\)).*"
        r"|stays, and restarts the command\.| +robodj-secretguard exec --watch .*",
        same=((r" With --watch this process|, --(watch|splay|stop-timeout)", ""),),
    ),
    Rule(
        "`--watch`, `--splay` and `--stop-timeout` of `exec`",
        "log show",
        "out|err",
        ignored=" +applied, refused, restored, stopped",
        same=((", applied, refused, restored, stopped|,$", ""),),
    ),
    Rule("The steps that `revoke` prints", "revoke", ".*", ignored=".*"),
    Rule(
        "The steps after `revoke`",
        "revoke",
        same=((r"A revocation (does not stop a running service|stops only those that refresh their keys)\.", ""),),
    ),
    Rule(
        "A revoked next or previous key is a warning at a start",
        ".*",
        ".*",
        needs=r"\w+_(NEXT|PREVIOUS)( is revoked:|_UNTIL is later than .*, when the key is revoked)",
        ignored=".*",
    ),
    Rule(
        "A revoked next or previous key is a warning at a start",
        "explain",
        needs="previous-until|revoked",
        ignored=".*",
    ),
    Rule(
        "A torn first record that the head file knows as acknowledged is damage",
        ".*",
        ".*",
        needs=r'"event":"continued".*"sealed":"sha256:|\.jsonl: \{"schema":1,"sequence":1,[^\n]*[^}\n]\n\S+\.head ',
        ignored=".*",
    ),
    Rule(
        "So is a line that cannot be parsed but has its line end",
        ".*",
        ".*",
        needs=r"\.jsonl: \0?\n",
        ignored=".*",
    ),
    Rule(
        "The next record of the operations log replaces the rest of an interrupted write",
        ".*",
        "out|err",
        ignored=r' +"notes": \[\],?',
        same=(("the next record (seals|replaces) the line", "the next record follows"),),
    ),
    Rule(
        "The next record of the operations log replaces the rest of an interrupted write",
        ".*",
        "out|err|files",
        needs='"event":"sealed"|"sealed":"sha256:|"event": "sealed"',
        ignored=r'Recorded the end of an interrupted write.*|.*"event": ?"sealed".*|\S+: |\S+\.jsonl: .*[^}]',
        same=(
            (r'(record |"sequence": ?)[0-9]+', r"\1N"),
            (r"sha256:[0-9a-f]{64}", "HASH"),
            ('"(previous|sealed)": ?(null|"HASH")', r"\1"),
        ),
        may_lose=True,
    ),
    Rule(
        "`rotate plan` prints the steps from the stage that comes next",
        "rotate( plan)?",
        ignored=r' +"done": (true|false),|Continue with step .*|Replace these words with your own values: .*'
        r"|( +plan +)?Print the steps of a rotation.*|done\.",
        same=(
            (r"^ *[0-9]+\. (\[[ x]\] )?", ""),
            (r'^( +"number": )[0-9]+', r"\1N"),
            (r"Run the check (there|in [\w-]+):", "Run the check:"),
        ),
        may_lose=True,
    ),
    Rule(
        "`incident report` has no boxes",
        "incident report",
        ignored=r"- (\[[ x]\] )?(Previous key versions revoked|Emergency rotation recorded).*",
        same=(
            (r"^- \[[ x]\] ", "- "),
            (r"(:|; the workloads are missing \(--fleet\)|;) \.\.\.$|; the workloads are missing \(--fleet\)$", ""),
            (" recorded$|,$", ""),
        ),
        may_lose=True,
    ),
    Rule("`init` only appends", "init", "out|err|status", ignored=".*"),
    Rule(
        "`init` only appends",
        "init|check",
        "files",
        ignored=r"\.pre-commit-config\.yaml: .*|config/revoked\.fingerprints: # .*|\S+ -rw-\S+",
    ),
    Rule("`init` only appends", "init|check", ".*", ignored=".*", needs="its TOML cannot be extended"),
    Rule(
        "A usage error names no other command that has an option",
        ".*",
        "err",
        ignored=r"robodj-secretguard: ([a-z ]+: unexpected argument|([a-z]+: )?unknown (option|command|check)).*"
        r"|robodj-secretguard: .*( has no option | goes after the command|: invalid |needs ).*",
    ),
    Rule(
        "The `model` of a start event is `robodj_secretguard:RuntimeSecrets`",
        "program",
        "out|err|files",
        same=((r"robodj_secretguard\.models:RuntimeSecrets", "robodj_secretguard:RuntimeSecrets"),),
    ),
)
"""The first rule that explains a difference counts."""
