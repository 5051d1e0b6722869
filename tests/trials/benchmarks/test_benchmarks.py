"""The benchmark: its programs do their jobs, and its report is correct. No test here depends on a clock."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import cold
import machine
import pytest
import report
from cases import CASES, GUARD_MODEL, among, of
from cold import PROGRAMS, RIVALS, Program, Run
from conftest import V1, V2, Ran, marker, run
from figures import Figures
from targets import TARGETS
from variables import FEW, MANY, environment, good_keys

from robodj_secretguard import check

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.full

BENCHMARKS = os.path.dirname(os.path.abspath(__file__))
REQUIRED = "SECRETGUARD_BENCH_REQUIRED"
"""If this variable is set, a library that is not installed is a failure."""
RIVALS_PACKAGES = {rival: {"starlette.config": "starlette"}.get(rival, rival) for rival in RIVALS}
EXPIRY = f"{V2}_EXPIRES_AT"
FAULTS: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "the first key is missing": (V1, lambda _: None),
    "the second key is missing": (V2, lambda _: None),
    "a key is empty": (V1, lambda _: ""),
    "a key is a placeholder": (V1, lambda _: "REPLACE_WITH_A_GENERATED_SECRET_KEY_FROM_THE_MANAGER"),
    "the first key is cut short": (V1, lambda key: key[:42]),
    "the second key is cut short": (V2, lambda key: key[:127]),
    "a key ends with a newline": (V1, lambda key: f"{key}\n"),
    "a key has expired": (EXPIRY, lambda _: "2026-01-01T00:00:00Z"),
    "an expiry is a number": (EXPIRY, lambda _: "20270101"),
    "an expiry has no timezone": (EXPIRY, lambda _: "2099-01-01T00:00:00"),
}
"""The bad variable, and how its value is made from a good key."""


def ahead() -> str:
    """Return an expiry marker in the future."""
    return marker(timedelta(days=20), now=datetime.now(UTC).replace(microsecond=0))


def need(*packages: str) -> None:
    """Skip a test that needs missing packages of the extra `bench`; fail where they are required."""
    if absent := [package for package in packages if machine.version(package) is None]:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed: {', '.join(absent)}")


def run_program(name: str, changes: dict[str, str | None], tmp_path: Path) -> Ran:
    """Run a program as the benchmark does, with some variables changed, and make sure that it shows no key."""
    need(*([RIVALS_PACKAGES[name]] if name in RIVALS_PACKAGES else []))
    keys = good_keys() if PROGRAMS[name].has_keys else {}
    changed = {variable: value for variable, value in (keys | changes).items() if value is not None}
    return run(
        PROGRAMS[name].command, env=environment(FEW, changed), cwd=tmp_path, keys=tuple(keys.values()), python=False
    )


class TestPrograms:
    """The programs, as processes."""

    @pytest.mark.parametrize("name", PROGRAMS)
    def test_each_does_its_job(self, name: str, tmp_path: Path) -> None:
        """Each program ends with the expected status, and only the refusing one writes alerts."""
        ran = run_program(name, {}, tmp_path)
        assert (ran.status, bool(ran.alerts)) == (PROGRAMS[name].status, name == cold.REFUSAL), ran.err

    @pytest.mark.parametrize("name", [cold.GUARD, cold.GATE, *RIVALS])
    def test_an_expiry_ahead_is_accepted(self, name: str, tmp_path: Path) -> None:
        """An expiry marker in the future is accepted."""
        ran = run_program(name, {EXPIRY: ahead()}, tmp_path)
        assert (ran.status, ran.alerts) == (0, []), ran.err

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("name", [cold.GUARD, *RIVALS])
    def test_a_bad_secret_is_refused(self, name: str, fault: str, tmp_path: Path) -> None:
        """A bad secret is refused with an ALERT line and status 3, and the key is not shown."""
        variable, change = FAULTS[fault]
        ran = run_program(name, {variable: change(good_keys().get(variable, ""))}, tmp_path)
        assert (ran.status, bool(ran.alerts)) == (3, True), ran.err
        assert "Traceback" not in ran.err

    def test_every_library_is_one_that_the_benchmark_needs(self) -> None:
        """The benchmark needs every library, so it leaves out none that is not installed."""
        assert {*RIVALS_PACKAGES.values()} <= {*machine.PACKAGES}


@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_environment_is_clean(count: int, tmp_path: Path) -> None:
    """The environment has that many variables, no variables for Python, and none that leads to a finding."""
    environ = environment(count, good_keys())
    assert len(environ) == count
    assert {name for name in environ if name.startswith(("ROBODJ", "PYTHON"))} == {V1, V2}
    assert check(environ=environ, config_dir=tmp_path).findings == ()


def test_every_figure_has_its_own_name() -> None:
    """Every case has a different name."""
    assert len({case.name for case in CASES}) == len(CASES)


class TestCold:
    """The figures of whole processes."""

    @staticmethod
    def only(monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
        """Replace the programs by these."""
        monkeypatch.setattr(
            cold, "PROGRAMS", {name: Program((sys.executable, "-c", script)) for name, script in scripts.items()}
        )

    def test_every_round_runs_every_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The figures leave out the first round, which writes bytecode."""
        counting = "import os\nwith open('runs', 'a+') as runs: print(runs.write('x') * runs.tell())\n"
        self.only(monkeypatch, one="", two=counting)
        measured = cold.measure(2)
        assert {name: len(runs) for name, runs in measured.items()} == {"one": 2, "two": 2}
        assert [each.added for each in measured["two"]] == [2, 3]
        assert all(each.milliseconds > 0 for runs in measured.values() for each in runs)

    @pytest.mark.parametrize("script", ["raise SystemExit(5)", "import os; os.abort()"])
    def test_a_failure_is_not_measured(self, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A program that does not do its job ends the benchmark, which names it."""
        self.only(monkeypatch, broken=script)
        with pytest.raises(SystemExit, match=r"^broken ended with status .*: nothing was measured$"):
            cold.measure(1)

    @pytest.mark.skipif(os.name == "nt", reason="Windows does not report the memory of a child")
    def test_memory_that_may_be_inherited_is_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child inherits its parent's peak memory, so a figure is known only above that."""
        known = []
        for own in (0.0, float("inf")):
            monkeypatch.setattr(cold, "own_mib", lambda own=own: own)
            known.append(cold.start((sys.executable, "-c", ""), {})[0].mib is not None)
        assert known == [True, False]


def figures(guard_ms: float, *, mib: float | None = 50.0) -> Figures:
    """Make figures that are all the same, except those of a successful `guard()`."""
    runs = {name: [Run(100.0, 90.0, mib, 10.0)] * 3 for name in PROGRAMS}
    runs[cold.GUARD] = [Run(guard_ms, guard_ms, mib)] * 3
    return Figures(runs, {case.name: [float(case.declared or 10)] for case in CASES})


class TestTargets:
    """The table of targets."""

    @staticmethod
    def rows(made_of: Figures, *, smoke: bool = False) -> list[list[str]]:
        """Return the cells of the first table."""
        table = report.document(made_of, {}, smoke=smoke).split("\n\n| ")[1].split("\n\n")[0]
        return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]

    @pytest.mark.parametrize(("ms", "reached"), [(108.0, "yes"), (108.1, "**no**")])
    def test_a_target_includes_its_limit(self, ms: float, reached: str) -> None:
        """The exact figure is compared, not the rounded one."""
        assert self.rows(figures(ms))[0][1:] == ["1.08", f"{ms / 100:.3f}", reached]

    def test_each_target_compares_its_figures(self) -> None:
        """Every row compares the figures that it names."""
        ms = {name: float(number) for number, name in enumerate(PROGRAMS, start=2)}
        us = {case.name: float(number) for number, case in enumerate(CASES, start=2)}
        runs = {name: [Run(each, None, each**3, each**2)] for name, each in ms.items()}
        made_of = Figures(runs, {name: [each] for name, each in us.items()})
        assert [each.measured(made_of) for each in TARGETS] == [
            (ms[cold.GUARD] / ms[cold.FLOOR],),
            (ms[cold.FASTAPI_GUARD] ** 2 / ms[cold.FASTAPI_FLOOR] ** 2,),
            (ms[cold.REFUSAL] / ms[cold.FLOOR_STRUCTLOG],),
            (ms[cold.GATE] / ms[cold.FLOOR],),
            tuple(us[among(count, cold.GUARD)] / us[among(count, cold.FLOOR)] for count in (FEW, MANY)),
            ((us[of(200, GUARD_MODEL)] / 200) / (us[of(2, GUARD_MODEL)] / 2),),
            (ms[cold.GUARD] ** 3 - ms[cold.FLOOR] ** 3,),
        ]

    def test_every_figure_must_be_within_the_limit(self) -> None:
        """One of two figures above the limit misses the target."""
        made_of = figures(100.0)
        made_of = Figures(made_of.cold, {**made_of.warm, among(FEW, cold.GUARD): [1.0]})
        assert self.rows(made_of)[4][2:] == ["0.100 and 1.000", "**no**"]

    def test_an_unknown_figure_reaches_no_target(self) -> None:
        """Where memory is unknown, it is unknown whether its target is reached."""
        assert self.rows(figures(100.0, mib=None))[-1][2:] == ["unknown", "unknown"]

    def test_a_smoke_run_reaches_nothing(self) -> None:
        """A smoke run neither reaches nor misses a target."""
        assert {row[-1] for row in self.rows(figures(100.0), smoke=True)} == {"unknown"}

    def test_the_added_time_is_the_printed_one(self) -> None:
        """The program measures the added time itself: the difference of two whole starts would be noise."""
        runs = {cold.FASTAPI_GUARD: [Run(100.0, None, None, added) for added in (9.0, 30.0, 10.0)]}
        assert Figures(runs, {}).added(cold.FASTAPI_GUARD) == 10.0


class TestCommand:
    """`python tests/trials/benchmarks`."""

    def test_a_smoke_run_prints_every_table(self, clean_env: dict[str, str], tmp_path: Path) -> None:
        """The output begins with a note that it measures nothing, and has no host name or path."""
        need(*machine.PACKAGES)
        ran = run([BENCHMARKS, "--smoke", "--json", "raw.json"], env=clean_env, cwd=tmp_path, timeout=600)
        assert ran.status == 0, ran.err
        assert ran.out.startswith(report.SMOKE)
        assert [line for line in ran.out.splitlines() if line.startswith("### ")] == [
            "### Targets and figures",
            "### A process from its start to its end, rounds: 1",
            "### Added to a FastAPI service, measured in its process",
            "### One call in a running process, in µs",
            "### One call with a model of many secrets, in µs",
            "### Compared with other libraries, in µs, 35 variables",
        ]
        for name in PROGRAMS:
            assert f"| {name} |" in ran.out
        raw = json.loads((tmp_path / "raw.json").read_text(encoding="utf-8"))
        assert {name: len(runs) for name, runs in raw["cold"].items()} == dict.fromkeys(PROGRAMS, 1)
        assert {name: len(values) for name, values in raw["warm"].items()} == {case.name: 1 for case in CASES}
        if os.name != "nt":
            assert raw["cold"][cold.FLOOR][0]["mib"] > 10
        for text in (ran.out, json.dumps(raw)):
            assert not [path for path in (BENCHMARKS, sys.prefix, str(tmp_path)) if path in text]

    def test_no_host_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The description of the machine does not have its host name."""
        named = platform.uname()._replace(node="a-host-of-ours")
        monkeypatch.setattr(platform, "uname", lambda: named)
        assert platform.node() == "a-host-of-ours"
        assert "a-host-of-ours" not in str(machine.describe())

    def test_a_missing_package_is_named(self, clean_env: dict[str, str], tmp_path: Path) -> None:
        """One line names the missing packages and how to install them."""
        ran = run(["-S", BENCHMARKS], env={**clean_env, "PYTHONPATH": ""}, cwd=tmp_path)
        assert (ran.status, ran.out) == (2, "")
        (line,) = ran.err.splitlines()
        assert line.startswith("Not installed: ")
        assert line.endswith('. Install with: python -m pip install ".[bench]"')
        assert all(package in line for package in machine.PACKAGES)

    def test_too_few_rounds_are_refused(self, clean_env: dict[str, str], tmp_path: Path) -> None:
        """Fewer than 20 rounds are refused."""
        ran = run([BENCHMARKS, "--rounds", "19"], env=clean_env, cwd=tmp_path)
        assert (ran.status, ran.out) == (2, "")
        assert "fewer than 20 rounds" in ran.err
