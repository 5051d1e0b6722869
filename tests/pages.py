"""The code in Markdown pages: run every block in order, and parse every command in a line.

An HTML comment directly before a block is its marker:

`<!-- status: 3 -->`: the expected status of a shell block, which is otherwise 0.
`<!-- env: NAME=VALUE OTHER= -->`: variables for this block alone. An empty one counts as unset.
`<!-- before: export NAME=$(COMMAND) -->`: a shell script that runs first, and that readers do not see.
`<!-- file: app/main.py -->`: the block is written to that file.
`<!-- output -->`: the output of the block that ran before. A line `...` stands for any lines.
`<!-- illustration: WHY -->`: the block is not run.
`<!-- tested: tests/test_x.py -->`: another test takes the block from the page, and runs it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from command_line import EVERY_COMMAND
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys
from detector import leaks
from forks import CLIENT, interpreter
from markdown_it import MarkdownIt
from repositories import SETTINGS, commit, git, made, program

from robodj_secretguard.cli.app import END_OF_OPTIONS, _parse_arguments
from robodj_secretguard.errors import SecretGuardError, UsageError

ROOT: Final = Path(__file__).parent.parent
SERVICE: Final = ROOT / "examples" / "robodj_service"
SERVER: Final = str(Path(__file__).with_name("page_server.py"))
REAL: Final = {"README.md", "docs/secret-managers.md"}
"""Pages that start real interpreters. In the others, `python` and the program are forks of one: see `forks`."""
EXCLUSIVE: Final = {"file", "output", "illustration", "tested"}
MARKERS: Final = EXCLUSIVE | {"status", "env", "before"}
ADD: Final = ("file: PATH", "output", "illustration: WHY", "tested: tests/test_x.py")
RUN: Final = {"sh", "python"}
PICTURES: Final = {"mermaid"}
"""The languages of blocks that a viewer draws."""
WORDS: Final = {
    "FINGERPRINT": f"sgfp1:{'0' * 32}",
    "HASH": f"sha256:{'0' * 64}",
    "CHECK": "expired",
    "SOURCE": "json:-",
}
"""Words that stand for something, where a command would refuse the word itself. A variable can replace the value."""
VARIES: Final = {
    r"\x1b\[[0-9;]*m": "",
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z| UTC|[+-]\d\d:\d\d)?)?": "DATE",
    r"sgfp1:[0-9a-f…]+": "FINGERPRINT",
    r"sha256:[0-9a-f…]+|\b(?=[a-f]*\d)[0-9a-f]{7,64}\b": "HASH",
    r"\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|minutes?|hours?|days?)\b": "DURATION",
    r"127\.0\.0\.1:\d+": "ADDRESS",
    r"\[\d+\]": "[PROCESS]",
    r"(?<=\S) {2,}": "  ",
}
"""What differs from run to run, and the word that replaces it."""
STAND_INS: Final = {
    "YOUR-SECRET-MANAGER": f"""
        if [ -c /dev/stdin ]; then cat "$MANAGER"/*; exit; fi
        keys=$(grep -oE '[A-Za-z0-9_-]{{43,}}') || exit
        for key in $keys; do [ ${{#key}} = 128 ] && name={V2} || name={V1}; echo "$key" >"$MANAGER/$name"; done
    """,
    **dict.fromkeys(("journalctl", "pip"), ":"),
    "python": '[ "$1 $2" = "-m pip" ] || exec $PYTHON "$@"',  # what pages install is here
    "robodj-secretguard": 'exec $PYTHON -m robodj_secretguard "$@"',
    "uvicorn": f'exec $PYTHON {shlex.quote(SERVER)} "$@"',
}
"""The shell scripts of programs that are not here, or that would not end."""
SAVE: Final = "import json, os, sys; json.dump([os.getcwd(), dict(os.environ)], open(sys.argv[1], 'w'))"


class Block(NamedTuple):
    """A fenced block: its line in the page, its language, its text, and its markers with their values."""

    line: int
    language: str
    text: str
    markers: dict[str, str]


class Page(NamedTuple):
    """A page: its blocks, its inline code with the lines, and the faults of its markers."""

    blocks: list[Block]
    inline: list[tuple[int, str]]
    faults: list[str]


def parsed(text: str) -> Page:
    """Parse a page."""
    page, pending = Page([], [], []), dict[str, str]()
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            pending |= dict(re.findall(r"<!--\s*([\w-]+)(?::\s*(.*?))?\s*-->", token.content, re.DOTALL))
            if re.search("<(?:pre|code)\\b", token.content):
                page.faults.append(f"{line}: code in HTML is not run; write a fenced block")
            continue
        if token.type in {"fence", "code_block"}:
            page.blocks.append(Block(line, token.info.strip(), token.content, pending))
        elif pending:
            page.faults.append(f"{line}: no block follows the marker {', '.join(pending)}")
        pending = {}
        code = (each.content for each in token.children or () if each.type == "code_inline")
        page.inline.extend((line, each) for each in code)
    return page


def substituted(text: str, environ: Mapping[str, str] = WORDS) -> str:
    """Replace the words that stand for something."""
    return re.sub(rf"\b(?:{'|'.join(WORDS)})\b", lambda word: environ.get(word[0], WORDS[word[0]]), text)


def simple_commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell script."""
    script = re.sub(r"\\\n", " ", re.sub(r"(?m)(^|\s)#.*$", r"\1", script))
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words = list[str]()
    for word in lexer:
        if set(word) <= set("();<>|&\n"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def faults_of_command(words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a command of this project, of pip or of nox. It is not run."""
    if "install" in words:
        known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        extras = {each for word in words for found in re.findall(r"\[([\w,-]+)\]", word) for each in found.split(",")}
        yield from (f"unknown extra: {each}" for each in sorted(extras - {*known}))
    elif words[:2] == ["nox", "-s"]:
        defined = re.findall(r"(?m)^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
        given = words[2 : words.index(END_OF_OPTIONS) if END_OF_OPTIONS in words else None]
        yield from (f"unknown session: {each}" for each in given if each not in defined)
    elif named := [word for word in words if re.fullmatch(r"(?:.*[/\\])?robodj[-_]secretguard", word)]:
        argv = words[words.index(named[0]) + 1 :]
        if any(command[: len(argv)] == tuple(argv) for command in EVERY_COMMAND):
            return  # the name of a command alone
        end = argv.index(END_OF_OPTIONS) if END_OF_OPTIONS in argv else len(argv)
        try:
            if not _parse_arguments(argv[:end]).takes_command and end < len(argv):
                yield "only exec takes a command after --"
        except UsageError as error:
            yield str(error)
        except SecretGuardError:
            pass  # the text of --help or --version


def faults_of_block(name: str, block: Block) -> Iterator[str]:
    """Yield the first thing that is wrong with the markers of a block."""
    markers, page = block.markers, os.path.basename(name)
    unknown, tested = sorted(markers.keys() - MARKERS), markers.get("tested", "")
    test = ROOT / tested
    is_test = re.fullmatch(r"tests/(?:\w+/)*test_\w+\.py", tested) and test.is_file()
    is_run = block.language in RUN | PICTURES or not markers.keys().isdisjoint(EXCLUSIVE)
    wrong = {
        f"unknown marker {', '.join(unknown)} (choose from {', '.join(sorted(MARKERS))})": unknown,
        f"more than one of {', '.join(sorted(EXCLUSIVE))}": len(markers.keys() & EXCLUSIVE) > 1,
        f"nothing runs {block.language or 'this'}; add {' or '.join(f'<!-- {each} -->' for each in ADD)}": not is_run,
        "the reason is missing; write <!-- illustration: WHY -->": markers.get("illustration") == "",
        "invalid env; write <!-- env: NAME=VALUE -->": (
            "env" in markers and not re.fullmatch(r"(?:\w+=\S* ?)+", markers["env"])
        ),
        "the output has no line": "output" in markers and not block.text.replace("...", "").strip(),
        f"{tested} does not exist, or does not name {page}": (
            "tested" in markers and not (is_test and page in test.read_text(encoding="utf-8"))
        ),
    }
    yield from [fault for fault, is_fault in wrong.items() if is_fault][:1]


# A command in a line may be written without the name of the program.
_NAMED: Final = re.compile(rf"(?:{'|'.join(' '.join(each) for each in EVERY_COMMAND)}) \S")


def faults_of_text(name: str, page: Page) -> Iterator[str]:
    """Yield what is wrong with a page without running it."""
    yield from page.faults
    for block in page.blocks:
        yield from (f"{block.line}: {fault}" for fault in faults_of_block(name, block))
    scripts = [(each.line, each.text) for each in page.blocks if each.language == "sh" and "tested" not in each.markers]
    shown = [
        (each.line, f"robodj-secretguard{command}")
        for each in page.blocks
        if each.language != "sh" and "illustration" in each.markers
        for command in re.findall("robodj-secretguard( [a-z][^`\"']*)", each.text)
    ]
    named = [(line, f"robodj-secretguard {code}") for line, code in page.inline if _NAMED.match(code)]
    for line, code in [*page.inline, *named, *shown, *scripts]:
        if re.search(r"\brobodj[-_]secretguard .|\bpip install |\bnox -s ", code):
            try:
                commands = [*simple_commands(substituted(code))]
            except ValueError as error:
                yield f"{line}: the shell cannot parse this: {error}"
                continue
            for words in commands:
                found = faults_of_command(words)
                if (line, code) in named:  # in a sentence, a command may lack its values
                    found = (fault for fault in found if " needs " not in fault)
                yield from (f"{line}: {' '.join(words)}: {fault}" for fault in found)


def masked(text: str, *, kept: str = "") -> str:
    """Replace what differs from run to run, except what has the word `kept`."""
    for pattern, word in VARIES.items():
        text = text if word == kept else re.sub(pattern, word, text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def is_output(shown: str, output: str) -> bool:
    """Return whether a page shows this output."""
    lines = (r"(?:.*\n)*?" if line == "..." else re.escape(f"{line}\n") for line in masked(shown).splitlines())
    return re.fullmatch("".join(lines), masked(output)) is not None


class Workspace:
    """The repository of a service in a directory, with a secret manager and the programs that pages name.

    Args:
        directory: an empty directory.
        is_real: whether each `python` is an interpreter of its own.
    """

    def __init__(self, directory: Path, *, is_real: bool = False) -> None:
        self.root, self._manager, self._state = directory / "service", directory / "manager", directory / "state"
        shutil.copytree(SERVICE, self.root, ignore=shutil.ignore_patterns("__pycache__", ".*_cache", "*.key"))
        git(made(self.root), "add", ".")
        commit(self.root)
        self._manager.mkdir()
        keys = good_keys()
        for name, key in keys.items():
            (self._manager / name).write_text(f"{key}\n", encoding="utf-8")
        self._python = sys.executable if is_real else shlex.join([*CLIENT, interpreter().address])
        for name, script in STAND_INS.items():
            if not (is_real and name == "robodj-secretguard"):
                program(directory / "bin" / name, script.replace("$PYTHON", self._python))
        path = os.pathsep.join([str(directory / "bin"), os.path.dirname(sys.executable), SETTINGS["PATH"]])
        fixed = {"PATH": path, "PYTHONUNBUFFERED": "1"}
        fixed |= {"MANAGER": str(self._manager), "SOURCE": f"directory:{self._manager}"}
        self._cwd, self._environ = str(self.root), clean_environment() | SETTINGS | keys | fixed

    def keys(self) -> list[str]:
        """Return the keys that no output may have."""
        stored = [path.read_text(encoding="utf-8").strip() for path in self._manager.iterdir() if path.is_file()]
        set_here = [self._environ.get(name, "") for name in (V1, V2)]
        return [key for key in {*stored, *set_here} if re.fullmatch(r"[\w-]{41,}", key)]  # no placeholders or records

    def substituted(self, block: Block) -> Block:
        """Replace the words that stand for something."""
        return block._replace(text=substituted(block.text, self._environ))

    def run(self, block: Block) -> tuple[int, str]:
        """Run a block, and return its status and output. The next shell block continues in its directory."""
        script = Path(self._cwd, "example.py")
        own = dict(each.split("=", 1) for each in block.markers.get("env", "").split())
        if block.language == "python":
            script.write_text(block.text, encoding="utf-8")
            argv = [*shlex.split(self._python), str(script)]
        else:
            save = shlex.join([sys.executable, "-ISc", SAVE, str(self._state)])
            argv = ["sh", "-euc", f"trap {shlex.quote(save)} EXIT\n{block.text}"]
        with subprocess.Popen(
            argv,
            cwd=self._cwd,
            env=self._environ | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=3 * TIMEOUT)  # it may run a whole suite, next to others
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        script.unlink(missing_ok=True)
        if self._state.exists():
            self._cwd, left = json.loads(self._state.read_text(encoding="utf-8"))
            before = {name: value for name, value in self._environ.items() if name in own}
            self._environ = {name: value for name, value in left.items() if name not in own} | before
            self._state.unlink()
        return process.returncode, output

    def write(self, name: str, text: str) -> None:
        """Write a file, relative to the directory of the last shell block."""
        path = Path(self._cwd, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def faults_of_blocks(blocks: list[Block], workspace: Workspace) -> Iterator[str]:
    """Run the blocks of a page in order, and yield the first fault."""
    output = ""
    for block in blocks:
        if "before" in block.markers:
            status, output = workspace.run(Block(block.line, "sh", block.markers["before"], {}))
            if status:
                yield f"{block.line}: the status of what runs before it is {status}:\n{output}"
                return
        if "file" in block.markers:
            workspace.write(block.markers["file"], block.text)
        elif "output" in block.markers:
            if not is_output(block.text, output):
                yield f"{block.line}: the output is different:\n{output}"
                return
        elif block.language in RUN and block.markers.keys().isdisjoint(EXCLUSIVE):
            status, output = workspace.run(workspace.substituted(block))
            if "secretguard generate" not in block.text and leaks(masked(output, kept="HASH"), workspace.keys()):
                yield f"{block.line}: the output has a part of a key"
                return
            if status != int(block.markers.get("status", 0)):
                yield f"{block.line}: the status is {status}:\n{output}"
                return


def faults(name: str, text: str, directory: Path) -> list[str]:
    """Return what is wrong with a page: with its markers and commands, or otherwise with what its blocks do.

    Args:
        name: the path of the page in this repository.
        text: its text.
        directory: an empty directory for the workspace.
    """
    page = parsed(text)
    return [*faults_of_text(name, page)] or [*faults_of_blocks(page.blocks, Workspace(directory, is_real=name in REAL))]
