"""The time of a repeated call. This is a pyperf script, so each case runs in separate processes."""

from __future__ import annotations

import contextlib
import functools
import os
import pkgutil
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyperf
from cases import CASES
from cold import PROGRAMS_DIRECTORY
from variables import environment, good_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from cases import Case

    from robodj_secretguard import SecretSettings

TEMPLATES = Path(__file__).parents[3] / "examples" / "robodj_service" / "config"
PASSES = 4
"""All cases are measured this often in turn, so a slow moment of the machine does not affect only one case."""
OPTIONS = ("--processes=2", "--values=5", "--warmups=1", "--min-time=0.02")
"""The options of each pass. Pyperf chooses how many calls make a value."""
SMOKE = ("--debug-single-value",)


def measure(*, smoke: bool) -> dict[str, list[float]]:
    """Run this script, and return the microseconds of one call, by the name of the case.

    Args:
        smoke: whether each case is called once, which measures nothing.

    Raises:
        SystemExit: a call failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "warm.json")
        options = ("--quiet", "--append", file, *(SMOKE if smoke else OPTIONS))
        command = (sys.executable, os.path.abspath(__file__), *options)
        for _ in range(1 if smoke else PASSES):
            if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
                sys.exit("a call failed, as the lines above say: nothing was measured")
        suite = pyperf.BenchmarkSuite.load(file)
    return {each.get_name(): [value * 1e6 for value in each.get_values()] for each in suite.get_benchmarks()}


def seconds(loops: int, case: Case) -> float:
    """Make a call so many times, with the secrets that it needs, and return the seconds that it took."""
    variables = [f"ROBODJ_SERVICE_{number}_KEY" for number in range(case.declared)]
    keys = {variable: secrets.token_urlsafe(32) for variable in variables} or good_keys()
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        if case.has_config:
            os.mkdir("config", mode=0o700)
            for template in TEMPLATES.glob("*.example"):
                shutil.copy(template, "config")
        os.environ.clear()
        os.environ.update(environment(case.variables, keys))
        call: Callable[..., Any] = pkgutil.resolve_name(case.call)
        if variables:
            call = functools.partial(call, declare(variables))
        call()  # the first call imports modules and fills caches
        began = time.perf_counter()
        for _ in range(loops):
            call()
        return time.perf_counter() - began


def declare(variables: list[str]) -> type[SecretSettings]:
    """Make a model that declares a secret for each variable."""
    from pydantic import SecretStr, create_model  # noqa: PLC0415 - the other libraries' cases are without it

    from robodj_secretguard import SecretPolicy, SecretSettings  # noqa: PLC0415

    fields: dict[str, Any] = {}
    for variable in variables:
        policy = SecretPolicy(
            name=f"{variable.lower()}.key",
            variable=variable,
            owner="Security Operations",
            backup_owner="Release Manager",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=14),
        )
        fields[variable.lower()] = (Annotated[SecretStr, policy], ...)
    return create_model("Declared", __base__=SecretSettings, **fields)


if __name__ == "__main__":
    sys.path.append(PROGRAMS_DIRECTORY)
    runner = pyperf.Runner()
    for each in CASES:
        runner.bench_time_func(each.name, seconds, each)
