"""What all secret managers share: the time limits, and what is kept of an answer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from conftest import NO_FAILURE, NOW, V1, Failure, failure_of

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers import manager as module
from robodj_secretguard.managers.manager import Manager, Stored, sealed, time_of
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.directory import Delivery, delivery_of
from robodj_secretguard.startup.textfile import MAX_CHARACTERS
from robodj_secretguard.startup.variables import ROTATION_RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

AWAY = Failure("is away", "wait", is_temporary=True)
DENIED = Failure("denies it", "log in")


class Scripted(Manager):
    """A manager that gives one answer after the other, and then the last one again."""

    def __init__(self, *answers: Mapping[str, object] | Failure | Callable[[], Mapping[str, object]]) -> None:
        super().__init__("scripted:x")
        self.answers = [*answers]
        self.attempts: list[float] = []
        self.said: list[str] = []
        self.delivery = Delivery("", {}, frozenset())

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        self.attempts.append(seconds)
        answer = self.answers.pop(0) if self.answers[1:] else self.answers[0]
        if isinstance(answer, Failure):
            raise ManagerError(answer.what, answer.fix, is_temporary=answer.is_temporary)
        return answer() if callable(answer) else answer

    def read(self, seconds: float = 60) -> Failure:
        """Load two variables within some seconds."""
        least = module.FIRST_PAUSE if seconds else module.ATTEMPT_SECONDS

        def load() -> None:
            self.delivery = self.load(["A", "B", "D"], time.monotonic() + seconds, self.said.append, least=least)

        return failure_of(load)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.002)


class TestLoad:
    """Attempts, until one succeeds or the time has passed."""

    def test_a_temporary_error_is_tried_again_and_reported_once(self) -> None:
        """A temporary failure is followed by another attempt, and only the first one is reported."""
        manager = Scripted(AWAY, AWAY, {"A": "x"})
        assert manager.read() == NO_FAILURE
        assert manager.delivery.get("A") == SealedStr("x")
        assert [round(each) for each in manager.attempts] == [60] * 3  # a slow answer may use all the time
        assert manager.said == ["scripted:x is away; trying again"]

    def test_any_other_error_is_final(self) -> None:
        """Another failure is final."""
        manager = Scripted(AWAY, DENIED, {"A": "x"})
        assert manager.read() == DENIED
        assert len(manager.attempts) == 2

    def test_without_time_to_wait_there_is_one_attempt(self) -> None:
        """Without time to wait there is one attempt, with the usual limit."""
        manager = Scripted(AWAY)
        assert manager.read(0) == AWAY
        assert (manager.attempts, manager.said) == ([5.0], [])

    def test_the_attempts_end_with_the_time(self) -> None:
        """The attempts end with the time, and none gets more than the rest of it."""
        manager = Scripted(AWAY)
        assert manager.read(0.5) == AWAY
        assert len(manager.attempts) > 2
        assert max(manager.attempts[:-1]) < 0.5

    def test_what_cannot_be_read_again_has_one_attempt(self) -> None:
        """A source that cannot be read again has one attempt."""
        manager = Scripted(AWAY)
        manager.is_repeatable = False
        assert manager.read() == AWAY
        assert len(manager.attempts) == 1

    def test_an_error_of_a_client_shows_its_type_alone(self) -> None:
        """An error of a client is a final failure, with its type alone."""

        def fail() -> Mapping[str, object]:
            raise LookupError(V1)

        failure = Scripted(fail).read()
        assert failure == Failure("cannot be read (LookupError)", "report a bug with this line")

    def test_a_late_answer_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer after the limit of its attempt is not used, and does not replace a later one."""
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
        monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.02)
        late, done = threading.Event(), threading.Event()

        def slow() -> Mapping[str, object]:
            late.wait()
            done.set()
            return {"A": "old"}

        manager = Scripted(slow, {"A": "new"})
        assert manager.read(0).what == "did not answer in time"
        assert manager.read() == NO_FAILURE
        late.set()
        done.wait()
        assert manager.delivery.get("A") == SealedStr("new")


class TestAnswer:
    """What is kept of an answer."""

    def test_only_wanted_variables_are_kept(self) -> None:
        """Only wanted variables are kept. An empty one is unset, and so is null."""
        manager = Scripted({"A": "x", "B": "", "C": "secret", "D": None})
        assert manager.read() == NO_FAILURE
        assert [manager.delivery.get(name) for name in "ABCD"] == [SealedStr("x"), None, None, None]
        assert sorted(manager.delivery.names()) == ["A", "B", "C", "D"]

    @pytest.mark.parametrize("value", [1, True, ["x"], {"x": "y"}, 0, False, []])
    def test_a_wanted_variable_must_be_a_string(self, value: object) -> None:
        """A wanted variable is a string. Another value is not converted: nobody knows how it was stored."""
        failure = Failure("has B, but it is not a string", "store B as a JSON string, in quotes")
        assert Scripted({"A": "x", "B": value}).read() == failure

    def test_a_value_has_a_limit(self) -> None:
        """The systems limit the length of a variable."""
        assert Scripted({"A": "x" * MAX_CHARACTERS}).read() == NO_FAILURE
        failure = Scripted({"A": "x" * (MAX_CHARACTERS + 1)}).read()
        assert failure.what == "has A of more than 65536 characters"

    @pytest.mark.parametrize(("name", "lost"), [("A", "\n"), ("A", "\r\n"), ("B", "")])
    def test_a_value_that_is_taken_whole_loses_one_newline(self, name: str, lost: str) -> None:
        """The value of an issued secret loses one newline at its end. A generated key with one is a format error."""
        value, rest = "x" * MAX_CHARACTERS + lost, f"\n# y \n{lost}"
        found = [delivery_of("x:y", {name: each}, ["A", "B"], ["A"]).get(name) for each in (value, rest)]
        assert found == [SealedStr(value.removesuffix(lost)), SealedStr(rest.removesuffix(lost))]

    def test_a_value_has_no_zero_byte(self) -> None:
        """No variable of a command can have a zero byte."""
        failure = Failure("has B, but it has a zero byte", "store B again, without that byte")
        assert Scripted({"A": "x", "B": "x\0"}).read() == failure


@pytest.mark.parametrize("record", [5, {"secret.key": []}, "x\0", None])
def test_an_invalid_record_of_a_rotation_is_ignored(record: object) -> None:
    """No start depends on the record of a rotation, so an invalid one is none."""
    manager = Scripted({"A": "x", ROTATION_RECORD: record})
    delivery = manager.load(["A", ROTATION_RECORD], time.monotonic(), pytest.fail)
    assert (delivery.get("A"), delivery.get(ROTATION_RECORD)) == (SealedStr("x"), None)


@pytest.mark.parametrize("number", ["1.0000000000000000001", "1e400", "1e-400", "1.50", "NaN"])
def test_a_number_that_is_rounded_is_not_written(number: str) -> None:
    """A number that would have another form is read, but never written back."""
    kept, fields = '{"A": [1.5, -0.0, 123456789012345678901234567890]}', f'{{"A": {{"B": [{number}]}}}}'
    assert sealed(Stored(SealedStr(kept), "1").opened(), is_new=True).get_secret_value() == kept
    what = "has a number that would be rounded, so nothing was written"
    assert failure_of(lambda: sealed(Stored(SealedStr(fields), "1").opened(), is_new=True)).what == what


def test_a_field_that_is_nested_too_deeply_is_an_error() -> None:
    """Fields that are nested too deeply are not kept."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert failure_of(lambda: sealed({"A": "x", "DEEP": deep})).what == "has a field that is nested too deeply"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Tue, 01 Dec 2026 12:00:00 GMT", NOW),
        ("Tue, 01 Dec 2026 12:00:00 -0000", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_time_of_a_manager_is_that_of_its_answer(text: str | None, time: datetime | None) -> None:
    """The time is that of the header `Date`, if it is valid and has a timezone."""
    assert time_of(text) == time
