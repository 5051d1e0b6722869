"""Writers that are half way: whatever a read finds, nothing signs or verifies what no complete set does."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from conftest import posix_only, process_environment, put
from publications import (
    EXPIRES,
    Files,
    Set,
    ahead,
    back,
    first,
    promoted,
    renamed,
    replaced,
    retired,
    revoking,
    staged,
    volume,
)
from running_service import slots, slots_of

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.running.store import forget_stores
from robodj_secretguard.startup import directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

Change = tuple[str, str | bytes | None]
"""The name of a file, and its new content; `None` removes it."""
MOST_ORDERS: Final = 720


def dated(step: Callable[[Files], Set]) -> Callable[[Files], Set]:
    """Return a step that writes a new expiry marker, too."""
    return lambda files: {**step(files), EXPIRES: ahead(days=80)}


ROTATING: Final = promoted(staged(first()))
STEPS: Final[dict[str, tuple[Files, Callable[[Files], Set]]]] = {
    "stage": (first(), staged),
    "promote": (staged({**first(), EXPIRES: ahead(days=20)}), dated(promoted)),
    "revoke and retire": (ROTATING, lambda files: retired(revoking(files, "ROBODJ_SECRET_KEY_PREVIOUS"))),
    "back": (promoted(staged({**first(), EXPIRES: ahead(days=20)})), dated(back)),
    "emergency": (staged(ROTATING), dated(replaced)),
}
"""By name: the set before a step, and the step."""


def changes(before: Files, after: Files) -> list[Change]:
    """Return the files that differ, those that are gone last."""
    names = [*after, *[name for name in before if name not in after]]
    return [(name, after.get(name)) for name in names if before.get(name) != after.get(name)]


def write(path: Path, change: Change, parts: int) -> Iterator[None]:
    """Write a file in its place, whole or in two parts, or remove it. Stop after each part."""
    name, content = change
    if content is None:
        (path / name).unlink()
        yield
        return
    data = content if isinstance(content, bytes) else content.encode()
    for part in range(1, parts + 1):
        put(path / name, data[: len(data) * part // parts])
        yield


class Watched:
    """A process that reads a directory, and what its secret did at each moment.

    Attributes:
        seen: the roles and ids of the accepted keys, and the key that signs; `None` for none.
    """

    def __init__(self, path: Path, files: Files, engine: Callable[[Path, Files], None] = renamed, **more: str) -> None:
        engine(path, files)
        with process_environment({"ROBODJ_SECRETS_DIR": str(path)} | more):
            self.secrets = RuntimeSecrets()
        self.seen: list[tuple[dict[str, str], str | None]] = []

    def look(self) -> None:
        """Note what the secret does now."""
        try:
            signs = self.secrets.secret_key.current.kid
        except RevokedKeyError:
            signs = None
        self.seen.append((slots(self.secrets.secret_key), signs))

    def read(self) -> None:
        """Read the directory, and look."""
        with process_environment({}):
            self.secrets.refresh()
        self.look()

    def faults(self, before: Files, after: Files) -> list[object]:
        """Return each moment at which the secret did what neither of two sets does, or refused what signed until then.

        Between the revocation of a current key and the good one, nothing is accepted.
        """
        known = {*slots_of(before).values(), *slots_of(after).values()}
        signed = slots_of(before)["current"]
        is_kept = signed in slots_of(after).values()
        found = list[object]()
        for accepted, signs in self.seen:
            if signs is None and not accepted and not is_kept:
                continue
            is_signing = f"sgfp1:{signs}" in (signed, slots_of(after)["current"])
            if not is_signing or {*accepted.values()} - known or (is_kept and signed not in accepted.values()):
                found.append((accepted, signs))
        return found

    def refused(self, before: Files, after: Files) -> int:
        """Count the moments at which a key was refused that both sets accept: its file was not there."""
        both = {*slots_of(before).values()} & {*slots_of(after).values()}
        return sum(bool(both - {*accepted.values()}) for accepted, _ in self.seen)


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read takes the files as they are: the worst case."""
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0.0)


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", STEPS)
def test_each_order_of_the_files(name: str, parts: int, tmp_path: Path) -> None:
    """Whatever the order in which a step's files are written, with a read after each part, the keys are of one set."""
    before, step = STEPS[name]
    after = step(before)
    orders = list(itertools.permutations(changes(before, after)))
    random.Random(41).shuffle(orders)  # noqa: S311 - no key
    reads, refusing, refused = 0, 0, 0
    for number, order in enumerate(orders[:MOST_ORDERS]):
        path = tmp_path / str(number)
        watched = Watched(path, before)
        for change in order:
            for _ in write(path, change, parts):
                watched.read()
        assert watched.faults(before, after) == [], [each for each, _ in order]
        assert slots(watched.secrets.secret_key) == slots_of(after), [each for each, _ in order]
        reads += len(watched.seen)
        refusing += any(signs is None for _, signs in watched.seen)
        refused += watched.refused(before, after)
        forget_stores()
    print(  # noqa: T201 - its figures
        f"{name}, in {parts} parts: {min(len(orders), MOST_ORDERS)} orders, {reads} reads; after {refused} of them,"
        f" a key that both sets accept was refused; {refusing} orders in which nothing signed for a while"
    )


@pytest.mark.parametrize("function", ["read_text_file", "_stats_of", "_variables_in", "_version_of"])
def test_a_swap_in_the_middle_of_a_read(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the link of a volume is replaced at any moment of a read, the keys are of one version; then of the newest."""
    before = staged(first())
    after = promoted(before)
    real: Any = getattr(directory, function)
    moments = 0
    for moment in itertools.count():
        path = tmp_path / str(moment)
        watched = Watched(path, before, volume)
        calls = itertools.count()

        def swapping(*arguments: Any, **more: Any) -> Any:
            if next(calls) == moment:  # noqa: B023 - called in this round only
                volume(path, after)  # noqa: B023
            return real(*arguments, **more)

        monkeypatch.setattr(directory, function, swapping)
        watched.read()
        monkeypatch.setattr(directory, function, real)
        if next(calls) <= moment:  # the read had fewer calls
            break
        moments += 1
        assert slots(watched.secrets.secret_key) in (slots_of(before), slots_of(after))
        watched.read()
        assert slots(watched.secrets.secret_key) == slots_of(after)
        forget_stores()
    assert moments
    print(f"{function}: {moments} moments")  # noqa: T201


def test_one_file_a_second(tmp_path: Path) -> None:
    """While a step is written one file a second, in sixteen orders, the keys are of one set at each moment."""
    before, step = STEPS["promote"]
    after = step(before)
    orders = random.Random(41).sample(list(itertools.permutations(changes(before, after))), 16)  # noqa: S311 - no key
    services = [Watched(tmp_path / str(number), before, ROBODJ_SECRETS_REFRESH="1") for number in range(len(orders))]
    stopped = threading.Event()

    def follow() -> None:
        while not stopped.wait(0.005):
            for each in services:
                each.look()

    with process_environment({}):
        for each in services:
            reader = each.secrets._store.reader  # type: ignore[attr-defined]  # noqa: SLF001 - as guard() begins it
            reader.follow_directory(None, lambda *_: None, None)
        watcher = threading.Thread(target=follow)
        watcher.start()
        began = time.monotonic()
        for number, written in enumerate(zip(*orders, strict=True), 1):
            for order, change in enumerate(written):
                for _ in write(tmp_path / str(order), change, 2):
                    pass
            time.sleep(max(0.0, began + number - time.monotonic()))
        until_all(services, after)
        stopped.set()
        watcher.join()
    moments = sum(len(each.seen) for each in services)
    used = {str(seen) for each in services for seen, _ in each.seen}
    print(f"{len(services)} orders, {moments} moments, {len(used)} sets of accepted keys in use")  # noqa: T201
    assert [each.faults(before, after) for each in services] == [[]] * len(services)


def until_all(services: Sequence[Watched], files: Files) -> None:
    """Wait until all have a set."""
    deadline = time.monotonic() + 10
    while any(slots(each.secrets.secret_key) != slots_of(files) for each in services):
        assert time.monotonic() < deadline, [slots(each.secrets.secret_key) for each in services]
        time.sleep(0.01)
