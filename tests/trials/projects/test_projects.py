"""Each shape of project: `init --yes`, its own tests, its wheel, and the service that starts from that wheel."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from command_line import Machine, fingerprint_of
from conftest import V1, clean_environment, good_keys, run
from repositories import made
from shapes import MODULES, SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shapes import Shape

OWN = ("--secret", "session.key=SESSION_KEY", "--secret", "database.url=DATABASE_URL:url")
FAST = {("hatchling-src", "own"), ("setuptools-flat", "robodj")}
CASES = [
    pytest.param(shape, kind, id=f"{name}-{kind}", marks=[] if (name, kind) in FAST else [pytest.mark.full])
    for name, shape in SHAPES.items()
    for kind in ("own", "robodj")
]


def place_of(shape: Shape) -> tuple[str, ...]:
    """Return the option for a package in a namespace package, which `init` does not find."""
    return ("--settings", f"{shape.prefix}service_secrets.py") if "." in shape.name else ()


def keys_of(kind: str) -> dict[str, str]:
    """Make a good value of each secret."""
    if kind == "robodj":
        return good_keys()
    password = secrets.token_urlsafe(16)
    return {"SESSION_KEY": secrets.token_urlsafe(32), "DATABASE_URL": f"postgresql://shop:{password}@db/shop"}


def build(root: Path) -> set[str]:
    """Build the wheel from a source distribution, and return its files."""
    for name in ("build", "dist"):
        shutil.rmtree(root / name, ignore_errors=True)
    env = clean_environment()
    env["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), env["PATH"]])  # for uv_build
    ran = run(["-m", "build", "--no-isolation", str(root)], env=env, cwd=root)
    assert ran.status == 0, ran.out + ran.err
    (wheel,) = root.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}


def own_tests(root: Path, shape: Shape) -> None:
    """Run the project's own tests."""
    path = {"PYTHONPATH": str(root / shape.package.removesuffix(shape.name.replace(".", "/")))}
    ran = run(["-m", "pytest", "-q"], env=clean_environment() | path, cwd=root)
    assert ran.status == 0, ran.out + ran.err


def installed(root: Path, target: Path) -> Path:
    """Install the wheel into a directory, as an installer does: it unpacks it."""
    (wheel,) = root.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def begin(root: Path, shape: Shape, printed: str) -> None:
    """Begin the service main with the printed lines."""
    lines = printed.partition("Begin the service main with these lines")[2].splitlines()[2:5]
    main = root / f"{shape.prefix}main.py"
    main.write_text("\n".join([*(line.strip() for line in lines), "", main.read_text(encoding="utf-8")]), "utf-8")


def start(shape: Shape, path: Path, cwd: Path, keys: Mapping[str, str]) -> tuple[int, str]:
    """Start the service from a directory of modules, and return its status and its output."""
    env = clean_environment() | {"PYTHONPATH": str(path)} | dict(keys)
    ran = run(["-m", shape.main], env=env, cwd=cwd, keys=[*keys.values()])
    return ran.status, ran.out + ran.err


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_place(tmp_path: Path, shape: Shape) -> None:
    """The settings module and the list are in the package, and the model has its name."""
    machine = Machine(made(tmp_path / "project"))
    for file, text in shape.all_files().items():
        machine.put(file, text)
    document = machine.call("init", "--format", "json", *OWN, *place_of(shape)).document
    files = {each["file"] for each in document["changes"]}
    assert {f"{shape.prefix}service_secrets.py", f"{shape.prefix}config/revoked.fingerprints"} <= files
    (table,) = (each["added"] for each in document["changes"] if each["file"] == "pyproject.toml")
    assert f'model = "{shape.name and f"{shape.name}."}service_secrets:ServiceSecrets"' in table


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_project(tmp_path: Path, shape: Shape, kind: str) -> None:
    """After `init --yes`, the tests pass, and the service from the wheel needs good keys that are not revoked."""
    machine = Machine(made(tmp_path / "project"))
    root = machine.root
    for file, text in shape.all_files().items():
        machine.put(file, text)
    before = build(root) if shape.is_built else set[str]()
    ran = machine.call("init", *(OWN if kind == "own" else ()), *place_of(shape), "--yes")
    assert ran.status == 0, ran.err
    if "setup.py by hand" in ran.out:
        line = next(line for line in ran.out.splitlines() if line.startswith("package_data="))
        setup = root / "setup.py"
        setup.write_text(setup.read_text(encoding="utf-8").replace("\nsetup(", f"\nsetup({line} "), "utf-8")
    assert f"from {shape.name and f'{shape.name}.'}service_secrets import ServiceSecrets" in ran.out
    keys, revoked = keys_of(kind), keys_of(kind)
    signs = V1 if kind == "robodj" else "SESSION_KEY"
    revocations = root / f"{shape.prefix}config/revoked.fingerprints"
    with revocations.open("a", encoding="utf-8") as stream:
        stream.write(f"{fingerprint_of(revoked[signs])}\n")
    path = root / shape.package.removesuffix(shape.name.replace(".", "/"))
    begin(root, shape, ran.out)
    own_tests(root, shape)
    if shape.is_built:
        after, place = build(root), shape.name.replace(".", "/")
        new = {f"{place}/service_secrets.py", f"{place}/config/revoked.fingerprints"}
        assert {name for name in after - before if not name.endswith(".key.example")} == new
        assert before <= after
        path = installed(root, tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert start(shape, path, elsewhere, {})[0] == 3
    status, out = start(shape, path, elsewhere, keys)
    assert (status, out.splitlines()[-1:]) == (0, ["up"]), out
    status, out = start(shape, path, elsewhere, keys | {signs: revoked[signs]})
    assert (status, "revoked" in out) == (3, True)
    env = clean_environment() | {"PYTHONPATH": str(path)} | keys
    gate = run(["-m", "robodj_secretguard", "check", "--require-env-only"], env=env, cwd=root)
    assert gate.status == 0, gate.out + gate.err


@pytest.mark.full
@pytest.mark.parametrize("files", MODULES.values(), ids=MODULES)
def test_single_module(tmp_path: Path, files: dict[str, str]) -> None:
    """A wheel of one module has no place for the list: nothing is written, and its fix works."""
    machine = Machine(made(tmp_path / "project"))
    for file, text in files.items():
        machine.put(file, text)
    before = build(machine.root)
    ran = machine.call("init", "--yes")
    assert ran.status == 2
    assert "no package was found" in ran.err
    assert build(machine.root) == before
