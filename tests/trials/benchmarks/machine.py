"""The machine and the versions that the figures depend on, without a host name or path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime

PACKAGES = (
    "robodj-secretguard",
    "pydantic",
    "pydantic-settings",
    "structlog",
    "fastapi",
    "starlette",
    "environs",
    "python-decouple",
    "dynaconf",
    "django-environ",
    "pyperf",
)
"""What the benchmark needs: the library and the packages of the extra `bench`."""
ALSO_IMPORTED = ("Django", "Flask", "rich")
"""Packages that some of the above import if they are installed."""


def version(package: str) -> str | None:
    """Return the version of a package, or `None` where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing() -> list[str]:
    """Return the packages that the benchmark needs and that are not installed."""
    return [package for package in PACKAGES if version(package) is None]


def describe() -> dict[str, str]:
    """Describe the machine, the time and the versions."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    versions = ((package, version(package)) for package in PACKAGES + ALSO_IMPORTED)
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_system()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{package} {number}" for package, number in versions if number),
        "installed packages": str(len({each.name for each in importlib.metadata.distributions()})),
        "load at the start": load,
        "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        found = ""
    return found or platform.processor() or platform.machine()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
    return f"{platform.system()} {platform.release()} ({name})"
