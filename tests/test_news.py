"""What is written of a read: new findings, those that are back, and alerts that last."""

from __future__ import annotations

from robodj_secretguard.running.news import ALERT_AGAIN, News
from robodj_secretguard.startup.report import Finding, finding
from robodj_secretguard.startup.rules import Check, Problem, Severity


def found(check: Check, severity: Severity | None = None) -> Finding:
    """Return a finding."""
    return finding((), check, Problem("is wrong", "correct it", severity=severity))


ALERT, WARNING = found(Check.SOURCE), found(Check.EXPIRING)


class TestTake:
    """`News.take`."""

    def test_an_alert_that_lasts(self) -> None:
        """An alert is written when it begins, and once in each hour that it lasts. A warning is written once."""
        news, both = News(()), (ALERT, WARNING)
        times = (0.0, 1.0, ALERT_AGAIN - 1, ALERT_AGAIN, ALERT_AGAIN + 1, 2 * ALERT_AGAIN)
        assert [news.take(both, now) for now in times] == [both, (), (), (ALERT,), (), (ALERT,)]

    def test_what_is_back(self) -> None:
        """A finding that is gone is written again when it comes back."""
        news = News(())
        assert [news.take(each, 0.0) for each in ([ALERT], [], [ALERT], [ALERT])] == [(ALERT,), (), (ALERT,), ()]

    def test_what_the_start_has_written(self) -> None:
        """A finding of the start is not written again while it lasts."""
        assert News([WARNING]).take([WARNING], 0.0) == ()

    def test_a_note(self) -> None:
        """A note is never written."""
        assert News(()).take([found(Check.SETTING, Severity.NOTE)], 0.0) == ()

    def test_what_could_not_be_written(self) -> None:
        """What could not be written is written at the next read."""
        news = News(())
        news.forget(news.take([ALERT], 0.0))
        assert news.take([ALERT], 1.0) == (ALERT,)
