"""Compare an old wheel with the present code on generated set-ups: `python tests/trials/differential/differential.py`.

Both sides run in the same directory, one after the other, so that no path differs. A difference that does not come
again is reported as unstable. `--only NUMBER` repeats a set-up of the seed, and shows every difference.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import secrets
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from expected import RULES, Rule
from setups import PATH, Maker, SetUp, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60
ATTEMPTS = 3
HUNG = -1000
LATEST_CHANGE = 1_790_000_000
"""When each file of a set-up was changed: a directory that is changing would be read again."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]{5})|sha256:[0-9a-f]{64}")
_KEY = re.compile(r"(?![A-Z0-9_]+\b)[A-Za-z0-9_-]{22,}[!=]*")
_FINGERPRINT = re.compile(r"sgfp1:[0-9a-f]{32}")
_PROCESS = re.compile(r"(\binstance\b.{1,5}[\w.-]+:)[0-9]+")
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+", re.MULTILINE)
_VARYING = re.compile(
    r"sgfp1:\w+|sha256:\w+|[A-Z][A-Z0-9_]{6,}|\b\w+\.(?:key|password)[0-9]?|[0-9]+|[A-Za-z0-9_-]{22,}"
)


def shared(one: str, other: str) -> int:
    """Return how many characters at the beginning are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def show(*lines: str) -> None:
    """Print lines at once."""
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def unpacked(wheel: Path, directory: Path) -> Path:
    """Unpack a wheel. A directory is returned as it is."""
    if wheel.is_dir():
        return wheel.resolve()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def build(tree: Path, directory: Path) -> Path:
    """Build the wheel of a source tree."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = directory.glob("*.whl")
    return wheel


def built(revision: str, directory: Path) -> Path:
    """Build the wheel of a git revision."""
    tree = directory / "tree"
    tree.mkdir()
    archive = directory / "tree.tar"
    subprocess.run(["git", "archive", "--output", str(archive), revision], cwd=ROOT, check=True)  # noqa: S607
    shutil.unpack_archive(archive, tree, filter="data")
    return build(tree, directory)


class Side:
    """An interpreter that has imported one version, and runs each step in a fork.

    Args:
        package: the directory with the package.
        streams: the directory for the streams.
    """

    def __init__(self, package: Path, streams: Path) -> None:
        self._package, self._streams = package, streams
        self._server: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None:
            environ = {"PATH": PATH, "PYTHONPATH": str(self._package), "LANG": "C.UTF-8"}
            command = [sys.executable, str(Path(__file__).with_name("side.py"))]
            pipe = subprocess.PIPE
            self._server = subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True)
        return self._server

    def stop(self) -> None:
        """End the interpreter."""
        if self._server:
            self._server.communicate()

    def run(self, step: Step, directory: Path, *, is_process: bool) -> tuple[str, str, str]:
        """Return the status and the output of a step."""
        source, out, err = (self._streams / name for name in ("in", "out", "err"))
        source.write_bytes(step.stdin)
        for path in (out, err):
            path.unlink(missing_ok=True)
        status = (self._run if is_process else self._fork)(step, directory, (source, out, err))
        texts = [path.read_bytes().decode("utf-8", "backslashreplace") for path in (out, err)]
        return str(status), texts[0], texts[1]

    def _fork(self, step: Step, directory: Path, streams: tuple[Path, Path, Path]) -> int:
        server = self._started()
        assert server.stdin is not None
        assert server.stdout is not None
        request = {"argv": step.argv, "program": step.program, "environ": step.environ, "now": step.now.isoformat()}
        request |= {"directory": str(directory), **dict(zip(("in", "out", "err"), map(str, streams), strict=True))}
        server.stdin.write(f"{json.dumps(request)}\n")
        server.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(server.stdout, selectors.EVENT_READ)
            if selector.select(SECONDS):
                return int(server.stdout.readline())
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
        for child in children.split():
            os.killpg(int(child), signal.SIGKILL)
        server.stdout.readline()
        return HUNG

    def _run(self, step: Step, directory: Path, streams: tuple[Path, Path, Path]) -> int:
        program = [step.program] if step.program else ["-m", "robodj_secretguard", *step.argv]
        environ = step.environ | {"PYTHONPATH": str(self._package), "PYTHONDONTWRITEBYTECODE": "1"}
        with contextlib.ExitStack() as stack:
            source, out, err = (
                stack.enter_context(open(path, mode)) for path, mode in zip(streams, ("rb", "wb", "wb"), strict=True)
            )
            process = subprocess.Popen(
                [sys.executable, *program],
                cwd=directory,
                env=os_environ(environ),
                stdin=source,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                return process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return HUNG


def os_environ(environ: dict[str, str]) -> dict[bytes, bytes]:
    """Return variables as bytes, since they may have single surrogates."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}


def make(setup: SetUp, directory: Path) -> None:
    """Write the files of a set-up into a new directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
    made = [directory]
    for file in setup.files:
        path = directory / file.path
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if file.target:
                path.symlink_to(file.target)
                continue
            if file.is_pipe:
                os.mkfifo(path)
            elif file.content is None:
                path.mkdir(exist_ok=True)
            elif not path.is_dir():
                path.write_bytes(file.content)
            path.chmod(file.mode)
            if file.owner and not os.geteuid():
                os.chown(path, file.owner, -1)
            made.append(path)
    if setup.repository:
        commit(directory)
    for path in reversed([*directory.rglob("*"), directory]):
        os.utime(path, (LATEST_CHANGE, LATEST_CHANGE), follow_symlinks=False)


def commit(directory: Path) -> None:
    """Make the directory a repository. Some of its files are committed, and the others are staged."""
    environ = {"PATH": PATH, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        environ |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@example.org"}
        environ[f"GIT_{role}_DATE"] = "2026-11-01T00:00:00Z"
    for words in ("init -q -b main", "add src notes.txt0", "commit -q --allow-empty -m first", "add -f ."):
        command = ["git", *words.split()]
        subprocess.run(command, cwd=directory, env=environ, check=False, capture_output=True)


def tree_of(directory: Path) -> str:
    """Return the modes and the texts of all files, without git's own."""
    lines = list[str]()
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if name == ".git" or name.startswith(".git/") or "__pycache__" in name:
            continue
        state = path.lstat()
        lines.append(f"{name} {stat.filemode(state.st_mode)}")
        if stat.S_ISREG(state.st_mode):
            text = path.read_bytes().decode("utf-8", "backslashreplace")
            lines += [f"{name}: {line}" for line in text.splitlines()]
    return "\n".join(lines)


def masked(text: str, setup: SetUp) -> str:
    """Replace what differs between two runs of the same code."""
    text, words = (
        _PROCESS.sub(r"\1PID", _TRACEBACK.sub("Traceback\n", text)),
        {word for step in setup.steps for word in step.argv},
    )
    if "generate" in words:
        text = _KEY.sub(lambda found: f"<{len(found[0])} characters>", text)
    if words & {"generate", "--ephemeral"}:
        text = _FINGERPRINT.sub("<fingerprint>", text)
    return _TIME.sub("<time or hash>", text) if setup.is_process else text


@dataclass(frozen=True)
class Difference:
    """A part of the results of both sides that differs."""

    command: str
    part: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Return a text that is most often the same for the same cause."""
        old, new = "\n".join(self.old), "\n".join(self.new)
        start = max(0, shared(old, new) - 20)
        end = -shared(old[start:][::-1], new[start:][::-1]) or None
        changed = f"{old[start:end][:120]} -> {new[start:end][:120]}"
        return _VARYING.sub("#", f"{self.command}, {self.part}: {changed}")

    def lines(self) -> Iterator[str]:
        """Yield the first lines that differ, from shortly before the first character that differs."""
        start = max(0, shared(self.old[0], self.new[0]) - 150) if self.old and self.new else 0
        for sign, lines in (("-", self.old), ("+", self.new)):
            yield from (f"  {sign} {'...' * bool(start)}{line[start : start + 300]}" for line in lines[:8])


def command_of(step: Step) -> str:
    """Return the name of a command, or of a program's function."""
    if step.program:
        return "program"
    words = [word for word in step.argv if not word.startswith("-")]
    groups = {"rotate", "log", "incident"}
    return " ".join(words[: 2 if words[:1] and words[0] in groups else 1])


def differences(step: Step, old: dict[str, str], new: dict[str, str]) -> Iterator[Difference]:
    """Yield each difference between two results."""
    for part, text in old.items():
        lines, others = text.splitlines(), new[part].splitlines()
        if text != new[part] and lines == others:
            yield Difference(command_of(step), part, (repr(text[-20:]),), (repr(new[part][-20:]),))
        for tag, a, b, c, d in difflib.SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
            if tag != "equal":
                yield Difference(command_of(step), part, tuple(lines[a:b]), tuple(others[c:d]))


def rule_for(difference: Difference, results: str) -> Rule | None:
    """Return the rule that explains a difference."""
    rules = (rule for rule in RULES if rule.applies(difference.command, difference.part, results))
    return next((rule for rule in rules if rule.explains(difference.old, difference.new)), None)


@dataclass
class Summary:
    """What a run has found.

    Attributes:
        examples: the first set-up with a difference of each kind, and the difference.
    """

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, Difference]] = field(default_factory=dict)
    expected: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Runner:
    """Run set-ups on both sides, in a directory of its own."""

    def __init__(self, packages: Sequence[Path], directory: Path) -> None:
        directory.mkdir()
        self._directory, streams = directory / "service", directory / "streams"
        streams.mkdir()
        self.sides = [Side(package, streams) for package in packages]

    def results(self, side: Side, setup: SetUp) -> list[dict[str, str]]:
        """Run the steps of a set-up on one side."""
        make(setup, self._directory)
        results = list[dict[str, str]]()
        for step in setup.steps:
            status, out, err = side.run(step, self._directory, is_process=setup.is_process)
            parts = {"out": out, "err": err, "files": tree_of(self._directory)}
            results.append({"status": status} | {
                part: masked(text, setup) for part, text in parts.items()
            })  # fmt: skip
        return results

    def compare(self, setup: SetUp, summary: Summary) -> None:
        """Compare both sides."""
        attempts = 0
        while True:
            attempts += 1
            old, new = (self.results(side, setup) for side in self.sides)
            if old == new or attempts == ATTEMPTS:
                break
        found = list[Difference]()
        explained = set[str]()
        unexpected = dict[str, Difference]()
        results = "\n".join(text for result in old for text in result.values())
        for step, before, after in zip(setup.steps, old, new, strict=True):
            for difference in differences(step, before, after):
                found.append(difference)
                if rule := rule_for(difference, results):
                    explained.add(rule.entry)
                else:
                    unexpected[difference.kind] = difference
        with summary.lock:
            summary.counts["set-ups"] += 1
            summary.counts["steps"] += len(setup.steps)
            summary.counts["as processes"] += setup.is_process
            summary.counts["unstable"] += attempts > 1 and not found
            summary.counts["with a difference"] += bool(unexpected)
            for step, result in zip(setup.steps, old, strict=True):
                summary.statuses[f"{command_of(step)}: {result['status']}"] += 1
            summary.expected.update(explained)
            summary.kinds.update([*unexpected])
            for kind, difference in unexpected.items():
                summary.examples.setdefault(kind, (setup.number, difference))
            if summary.counts["set-ups"] % 500 == 0:
                show(f"{summary.counts['set-ups']:,} set-ups, {len(summary.kinds)} kinds of unexpected differences")


def work(runner: Runner, make_setup: Callable[[int], SetUp], numbers: Iterator[int], summary: Summary) -> None:
    """Compare one set-up after another."""
    while True:
        with summary.lock:
            number = next(numbers, None)
        if number is None:
            break
        runner.compare(make_setup(number), summary)
    for side in runner.sides:
        side.stop()


def reported(summary: Summary, seed: str, seconds: float, most: int) -> Iterator[str]:
    """Yield the lines of the summary."""
    for kind, count in summary.kinds.most_common(most):
        number, difference = summary.examples[kind]
        yield f"\n{count} times, first in --seed {seed} --only {number}: {difference.command}, {difference.part}"
        yield from difference.lines()
    if len(summary.kinds) > most:
        yield f"\nand {len(summary.kinds) - most} other kinds of difference"
    yield ""
    for entry in dict.fromkeys(rule.entry for rule in RULES):
        yield f"expected {summary.expected[entry]:>6} times: {entry}"
    counts = ", ".join(f"{count:,} {what}" for what, count in summary.counts.items())
    yield f"seed {seed}: {counts}; {len(summary.kinds)} kinds of unexpected differences; {seconds:.0f} seconds"


def failures(summary: Summary) -> list[str]:
    """Return what makes the run fail."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("\n  ", " ")
    failed = [f"{len(summary.kinds)} kinds of difference are not expected"] if summary.kinds else []
    failed += [f"this rule has no entry in CHANGELOG.md: {rule.entry}" for rule in RULES if rule.entry not in changes]
    if summary.counts["set-ups"] >= 1000:
        failed += [
            f"this difference never occurred: {rule.entry}" for rule in RULES if not summary.expected[rule.entry]
        ]
    return failed


def main() -> int:
    """Run the comparison. Return 1 if there is a difference that no rule explains."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("revision", nargs="?", default="c34a482", help="the git revision of the old code (%(default)s)")
    parser.add_argument("--old", type=Path, help="an old wheel, instead of the revision")
    parser.add_argument("--new", type=Path, help="a wheel or a directory, instead of the wheel of this tree")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of the set-ups (default: a new one)")
    parser.add_argument("--count", type=int, default=20_000, help="how many set-ups (%(default)s)")
    parser.add_argument("--every", type=int, default=40, help="one in so many runs as processes (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most", type=int, default=40, help="how many kinds of difference are shown (%(default)s)")
    parser.add_argument("--only", type=int, help="only the set-up with this number")
    parser.add_argument("--statuses", action="store_true", help="also print how often each status occurred")
    given = parser.parse_args()
    numbers = iter(range(given.count) if given.only is None else [given.only])

    def make_setup(number: int) -> SetUp:
        return Maker(given.seed, number, is_process=number % given.every == given.every - 1).make()

    summary, began = Summary(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name).resolve()
        places = [directory / side for side in ("old", "new", "build old", "build new")]
        for place in places:
            place.mkdir()
        old = given.old or built(given.revision, places[2])
        packages = [unpacked(old, places[0]), unpacked(given.new or build(ROOT, places[3]), places[1])]
        jobs = 1 if given.only is not None else given.jobs
        with ThreadPoolExecutor(jobs) as pool:
            runners = [Runner(packages, directory / f"job {job}") for job in range(jobs)]
            workers = [pool.submit(work, runner, make_setup, numbers, summary) for runner in runners]
        for worker in workers:
            worker.result()
    show(*reported(summary, given.seed, time.monotonic() - began, given.most))
    if given.statuses:
        show(*(f"{count:>6} {what}" for what, count in sorted(summary.statuses.items())))
    failed = failures(summary)
    show(*failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
