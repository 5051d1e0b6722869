"""The set-up of a project: the texts, what `init` writes, what it keeps, and what it refuses to touch."""

from __future__ import annotations

import contextlib
import errno
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from conftest import posix_only, root_only, umask
from repositories import GIT, git, made

from robodj_secretguard.cli import project as module
from robodj_secretguard.cli.project import (
    GATE,
    MAX_BYTES,
    Change,
    Plan,
    default_settings,
    flat_layout,
    git_faults,
    has_hook,
    hook,
    is_installed,
    module_of,
    new_files,
    plan,
    with_hook,
    with_ignored,
    with_model,
    writable_by_others,
    write,
)
from robodj_secretguard.common import files
from robodj_secretguard.errors import FileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Path(__file__).parent.parent / "examples" / "robodj_service"
COMMENT = "# Every command that runs in this repository checks the service's own model.\n"

SETTINGS = "service_secrets.py"
MODEL = "service_secrets:ServiceSecrets"
TABLE = f'{COMMENT}[tool.robodj-secretguard]\nmodel = "{MODEL}"\n'
OTHER = "repo: https://example.org/hooks\n"
LIST = "config/revoked.fingerprints"
CONFIG = ("config/secret.key.example", "config/secret_v2.key.example", "config/check_runtime_secrets.py", LIST)
EXTENDED = (".gitignore", ".pre-commit-config.yaml", "pyproject.toml")
FILES = (".gitignore", SETTINGS, *CONFIG, ".pre-commit-config.yaml", "pyproject.toml")
OTHERS_MAY_WRITE = 0o002


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    """The working directory: an empty project."""
    directory = tmp_path / "project"
    directory.mkdir()
    with contextlib.chdir(directory):
        yield directory


def put(path: str, content: str | bytes = "text\n") -> None:
    """Write a file below the project."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def done(settings: str | None = SETTINGS, model: str | None = None) -> Plan:
    """Plan and write."""
    planned = plan(settings, model)
    write(planned.changes)
    return planned


def contents() -> dict[str, bytes]:
    """Return the content of each regular file below the project."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


class TestWritten:
    """What is written."""

    def test_empty_directory(self) -> None:
        """Every file is new in an empty directory, and pyproject.toml is the last. A second run changes nothing."""
        planned = done()
        assert tuple(each.file for each in planned.changes) == FILES
        assert {name.replace(os.sep, "/") for name in contents()} == {*FILES}
        again = plan(SETTINGS, MODEL)
        assert (again.changes, again.kept, again.by_hand) == ((), FILES, "")

    def test_added_lines(self) -> None:
        """The added lines of a change are all lines of a new file, and the new lines of an existing one."""
        assert Change("a", None, b"1\n\n2").added == ["1", "", "2"]
        assert Change("a", b"1\n4", b"1\n2\n3\n4\n").added == ["2", "3"]
        assert Change("a", b"1", b"1\n2\n").added == ["2"]

    def test_empty_files(self) -> None:
        """An empty or blank file is filled, as an interrupted run may have left it."""
        for file in FILES:
            put(file, b"\n" if file in CONFIG else b"")
        done()
        filled = contents()
        for file in FILES:
            Path(file).unlink()
        done()
        assert contents() == filled

    @pytest.mark.parametrize("file", [SETTINGS, *CONFIG])
    def test_existing_file(self, file: str) -> None:
        """A file that exists stays byte for byte, whatever it contains."""
        put(file, b"class ServiceSecrets: ...\r\n\xff")
        assert file in done().kept
        assert Path(file).read_bytes() == b"class ServiceSecrets: ...\r\n\xff"

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            (".gitignore", b"\xff\r\n*.pyc"),
            (".pre-commit-config.yaml", b"\xef\xbb\xbfrepos:\r\n- repo: local # \xe9"),
            ("pyproject.toml", b"[a]\r\nb = 1"),
        ],
    )
    def test_extended_file(self, file: str, content: bytes) -> None:
        """Existing bytes stay in a file that gets more lines, in any encoding that keeps ASCII."""
        put(file, content)
        done()
        after = Path(file).read_bytes()
        assert after != content
        first, _, rest = content.partition(b"\r\n")
        assert after.startswith(first + b"\r\n")
        assert rest in after
        assert after.count(b"\n") == after.count(b"\r\n")

    def test_own_model(self) -> None:
        """If pyproject.toml names a model, it stays, and the hook has that model. Its config directory may be another
        one: there is no new settings module, template or revocation list.
        """
        put("pyproject.toml", '[tool.robodj-secretguard]\nmodel = "app.own:Own"\n')
        planned = done(None, "app.own:Own")
        assert "pyproject.toml" in planned.kept
        assert [str(path) for path in Path("config").iterdir()] == [GATE]
        assert not Path(SETTINGS).exists()
        assert "--model app.own:Own\n" in Path(".pre-commit-config.yaml").read_text(encoding="utf-8")

    def test_lost_list(self) -> None:
        """In a project that is set up, a lost revocation list is not replaced by an empty one."""
        done()
        Path(LIST).unlink()
        assert done(model=MODEL).changes == ()
        assert not Path(LIST).exists()

    def test_hook_by_hand(self) -> None:
        """A pre-commit configuration of another form stays, and the lines to add are returned."""
        put(".pre-commit-config.yaml", "repos: []\n")
        planned = done()
        assert ".pre-commit-config.yaml" in planned.kept
        assert planned.by_hand.startswith("- repo: local\n")
        assert Path(".pre-commit-config.yaml").read_text(encoding="utf-8") == "repos: []\n"

    @pytest.mark.parametrize(("git", "top"), [(None, None), ("project", "."), (".", "..")])
    def test_repository(self, project: Path, git: str | None, top: str | None) -> None:
        """Below the root of its repository, a project gets no pre-commit configuration, which nothing would read."""
        if git is not None:
            (project.parent / git / ".git").mkdir()
        planned = plan(SETTINGS, None)
        assert planned.top == top
        assert any(each.file == ".pre-commit-config.yaml" for each in planned.changes) == (top != "..")
        assert ("cd ./project && exec robodj-secretguard scan" in planned.by_hand) == (top == "..")

    def test_unreadable_root(self, project: Path) -> None:
        """If the configuration in the root of the repository cannot be read, the hook is added by hand."""
        for name in (".git", ".pre-commit-config.yaml"):
            (project.parent / name).mkdir()
        assert plan(SETTINGS, None).by_hand.startswith("- repo: local\n")

    @posix_only
    def test_links_that_stay(self, project: Path) -> None:
        """A link to a complete file stays, also in a linked directory."""
        done()
        outside = project.parent / "outside"
        outside.mkdir()
        for name in ("config", ".gitignore"):
            (project / name).rename(outside / name)
            (project / name).symlink_to(outside / name)
        assert plan(None, MODEL).changes == ()

    @posix_only
    @pytest.mark.parametrize("mask", [0, 0o002, 0o077])
    def test_modes(self, mask: int) -> None:
        """Others cannot write a new file or directory, with any umask. Others may not write an extended file either."""
        put("pyproject.toml", "")
        put(".gitignore", "a\n")
        os.chmod(".gitignore", 0o666)  # noqa: S103 - as in a checkout with umask 0
        with umask(mask):
            done()
        modes = {file: os.stat(file).st_mode for file in (*FILES, "config")}
        assert {file for file, mode in modes.items() if mode & OTHERS_MAY_WRITE} == set()
        assert modes[".gitignore"] & 0o777 == 0o664

    @root_only
    def test_owner(self, project: Path) -> None:
        """Root gives new files and directories to the owner of the project."""
        os.chown(project, 4321, 4321)
        done()
        assert {os.stat(path).st_uid for path in (*FILES, "config")} == {4321}

    @posix_only
    def test_writable_by_others(self, project: Path) -> None:
        """Files and directories that every user can write are named, so that somebody runs chmod."""
        done()
        assert writable_by_others(FILES) == []
        for path in (project, Path(LIST)):
            path.chmod(0o777)
        assert writable_by_others(FILES) == [".", LIST]
        with patch.object(os, "name", "nt"):
            assert writable_by_others(FILES) == []


def link(path: str, target: str) -> Callable[[], None]:
    """Return a function that makes a link."""

    def make() -> None:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).symlink_to(target)

    return make


def directory(path: str, mode: int = 0o755) -> Callable[[], None]:
    """Return a function that makes a directory."""

    def make() -> None:
        Path(path).mkdir(parents=True)
        Path(path).chmod(mode)

    return make


def file(path: str, content: str | bytes = "text\n", mode: int = 0o644) -> Callable[[], None]:
    """Return a function that makes a file."""

    def make() -> None:
        put(path, content)
        Path(path).chmod(mode)

    return make


def linked_config() -> None:
    """Make a config directory that is a link to another directory."""
    Path("../outside").mkdir()
    Path("config").symlink_to("../outside")


class TestRefused:
    """What cannot be written."""

    REGULAR = "it is not a regular file; rename it or delete it"
    LINK = "it is a symbolic link; replace it with a regular file"

    @pytest.mark.parametrize(
        ("make", "refusal"),
        [
            (file("config"), ", config/revoked.fingerprints: config is not a directory; rename it"),
            (directory("config/revoked.fingerprints"), f"{LIST}: {REGULAR}"),
            (directory("pyproject.toml"), f"pyproject.toml: {REGULAR}"),
            (directory(".gitignore"), f".gitignore: {REGULAR}"),
            (
                directory("Config"),
                ", config/revoked.fingerprints: Config exists, in other letter case; rename it to config",
            ),
            (
                file("PyProject.toml"),
                "pyproject.toml: PyProject.toml exists, in other letter case; rename it to pyproj",
            ),
            (file(".gitignore", "a\n".encode("utf-16")), ".gitignore: it is UTF-16; save it as UTF-8"),
            (
                file(".gitignore", b"#" * (MAX_BYTES + 1)),
                f".gitignore: it is larger than {MAX_BYTES} bytes; shorten it",
            ),
            (
                file("pyproject.toml", "tool = {}\n"),
                "pyproject.toml: its TOML cannot be extended; write model = ",
            ),
            (
                file(SETTINGS),
                f"{SETTINGS}: it exists and has no class ServiceSecrets; pass --settings FILE with another",
            ),
            (file("service_secrets/__init__.py"), f"{SETTINGS}: a package has the same name; pass --settings FILE"),
            (
                file(".gitignore", mode=0o444),
                ".gitignore: this user cannot write .gitignore; run chmod u+w .gitignore as",
            ),
            pytest.param(
                linked_config,
                ", config/revoked.fingerprints: config is a symbolic link; replace it with a dir",
                marks=posix_only,
            ),
            pytest.param(
                link("config", "nowhere"),
                ", config/revoked.fingerprints: config is not a directory; rename it",
                marks=posix_only,
            ),
            pytest.param(link(LIST, "nowhere"), f"{LIST}: {REGULAR}", marks=posix_only),
            pytest.param(link(".gitignore", __file__), f".gitignore: {LINK}", marks=posix_only),
            pytest.param(lambda: os.mkfifo(".gitignore"), f".gitignore: {REGULAR}", marks=posix_only),
            pytest.param(lambda: os.mkfifo(SETTINGS), f"{SETTINGS}: {REGULAR}", marks=posix_only),
            pytest.param(
                directory("config", 0o555),
                f"{LIST}: this user cannot write config; run chmod u+w config as its owner",
                marks=posix_only,
            ),
        ],
        ids=[
            *(
                "config is a file",
                "the list is a directory",
                "pyproject.toml is a directory",
                ".gitignore is a directory",
            ),
            *(
                "Config",
                "PyProject.toml",
                "UTF-16",
                "huge",
                "inline table",
                "other settings",
                "package of the same name",
            ),
            *("read-only file", "config is a link", "config is a dangling link", "the list is a dangling link"),
            *(".gitignore is a link", ".gitignore is a FIFO", "the settings are a FIFO", "read-only directory"),
        ],
    )
    def test_nothing_is_written(self, make: Callable[[], None], refusal: str) -> None:
        """If one file cannot be written, nothing is written. The refusal names the file and the fix."""
        make()
        before = [*Path().rglob("*")]
        with pytest.raises(UsageError, match=r"^nothing was written: ") as refused:
            done()
        assert refusal in str(refused.value)
        assert [*Path().rglob("*")] == before

    @posix_only
    def test_git_directory(self, project: Path) -> None:
        """In a bare repository, nothing is written."""
        for name in ("HEAD", "objects", "refs"):
            (project / name).touch()
        with pytest.raises(UsageError, match="this is a git directory; run the command in the working tree"):
            plan(SETTINGS, None)

    def test_project_directory(self, project: Path) -> None:
        """A directory that nobody may write is refused before anything is tried, with one fix for all files."""
        project.chmod(0o555)
        with pytest.raises(UsageError) as refused:
            plan(SETTINGS, None)
        project.chmod(0o755)
        why = "this user cannot write the project's directory; run chmod u+w . as its owner"
        assert str(refused.value) == f"nothing was written: {', '.join(FILES)}: {why}"

    def test_unreadable(self) -> None:
        """An error of the operating system is named without a path."""
        put(".gitignore")
        with (
            patch.object(module, "read_unlinked", side_effect=PermissionError(errno.EACCES, "")),
            pytest.raises(
                UsageError, match=r"^nothing was written: \.gitignore: it cannot be used: Permission denied$"
            ),
        ):
            plan(None, MODEL)


class TestInterrupted:
    """Errors and other programs during the writing."""

    def failing(self, name: str, at: str, error: BaseException) -> Any:
        """Return a patch of a function that fails for one file."""
        real = getattr(module, name)

        def function(*arguments: Any, **named: Any) -> Any:
            if arguments[-1 if name == "put_in_place" else 0] == at:
                raise error
            return real(*arguments, **named)

        return patch.object(module, name, function)

    def test_disk_full(self) -> None:
        """If one file cannot be prepared, no file is left."""
        full = OSError(errno.ENOSPC, "")
        with self.failing("prepared_file", "pyproject.toml", full), pytest.raises(UsageError) as failed:
            done()
        assert str(failed.value) == (
            f"nothing was written; pyproject.toml: it cannot be used: {os.strerror(errno.ENOSPC)};"
            " fix that, then run this command again"
        )
        assert contents() == {}

    @pytest.mark.parametrize("at", [file for file in FILES if file != ".gitignore"])
    def test_stopped(self, at: str) -> None:
        """After a stop in the middle, another run completes the project."""
        with self.failing("put_in_place", at, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            done()
        assert not Path("pyproject.toml").exists()
        done()
        assert {name.replace(os.sep, "/") for name in contents()} == {*FILES}

    def test_part_written(self) -> None:
        """An error in the middle names the files that were written."""
        with self.failing("put_in_place", LIST, OSError(errno.EIO, "")), pytest.raises(UsageError) as failed:
            done()
        written = ", ".join([".gitignore", SETTINGS, *CONFIG[:-1]])
        assert str(failed.value).startswith(f"these files were written: {written}; {LIST}: it cannot be used: ")

    @pytest.mark.parametrize("at", [".gitignore", SETTINGS, LIST])
    def test_changed_before(self, at: str) -> None:
        """If another program changed a file since the plan, nothing is written."""
        put(".gitignore")
        planned = plan(SETTINGS, None)
        put(at, "its text\n")
        before = contents()
        with pytest.raises(UsageError, match=rf"^nothing was written; {at}: another program changed it; fix that"):
            write(planned.changes)
        assert contents() == before

    def test_created_in_between(self) -> None:
        """A file that another program creates at the last moment stays."""
        real = files.put_in_place

        def late(prepared: str, path: str, *, replace: bool) -> None:
            if path == SETTINGS:
                put(SETTINGS, "its text\n")
            real(prepared, path, replace=replace)

        with patch.object(module, "put_in_place", late), pytest.raises(UsageError) as failed:
            done()
        assert f"; {SETTINGS}: another program created it; " in str(failed.value)
        assert Path(SETTINGS).read_text(encoding="utf-8") == "its text\n"


class TestNewFiles:
    """`new_files`."""

    def test_the_example(self) -> None:
        """The files of the example service are what `init` writes."""
        files = new_files("service_secrets.py")
        assert {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in files} == files
        assert {path.name for path in (EXAMPLE / "config").iterdir() if path.is_file()} == {
            name.rpartition("/")[2] for name in files if "/" in name
        }
        assert (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8") == with_model("", MODEL)
        assert (EXAMPLE / ".gitignore").read_text(encoding="utf-8") == f"{with_ignored('')}\n__pycache__/\n"

    def test_root(self) -> None:
        """The settings module finds the root of the project from its own depth."""
        text = new_files("src/shop/service_secrets.py")["src/shop/service_secrets.py"]
        assert "\nROOT = Path(__file__).resolve().parent.parent.parent\n" in text

    def test_no_settings_module(self) -> None:
        """Without a path, there is no settings module."""
        assert all(name.startswith("config/") for name in new_files(None))


class TestModuleOf:
    """`module_of`."""

    @pytest.mark.parametrize(
        ("file", "module"),
        [
            ("service_secrets.py", "service_secrets"),
            ("app/core/own.py", "app.core.own"),
            ("src/shop/own.py", "shop.own"),
            ("src.py", "src"),
            ("service_secrets", None),
            ("app/__init__.py", None),
            ("app/__main__.py", None),
            ("config/check_runtime_secrets.py", None),
            ("../own.py", None),
            ("/app/own.py", None),
            ("my-app/own.py", None),
            ("app/class.py", None),
            ("\u00fcber/own.py", None),
            ("secrets.py", None),
            ("src/logging/own.py", None),
            (f"{'a' * 500}.py", None),
        ],
    )
    def test_name(self, file: str, module: str | None) -> None:
        """The name follows from the path, without `src`. A name that cannot be imported is invalid."""
        assert module_of(file) == module

    def test_installed(self, project: Path) -> None:
        """A name of an installed package would hide it; one of the project does not."""
        (project / "a_package").mkdir()
        assert [is_installed(name) for name in ("pydantic.own", "no_such_module", "a_package.own")] == [
            True,
            False,
            False,
        ]

    def test_package_src(self, project: Path) -> None:
        """If `src` is a package, its name stays."""
        (project / "src").mkdir()
        (project / "src" / "__init__.py").touch()
        assert module_of("src/own.py") == "src.own"


class TestDefaultSettings:
    """`default_settings`."""

    @pytest.mark.parametrize(
        ("files", "settings"),
        [
            ([], "service_secrets.py"),
            (["src/shop/__init__.py", "src/shop.egg-info/PKG-INFO"], "src/shop/service_secrets.py"),
            (["src/shop/__init__.py", "src/other/__init__.py"], "service_secrets.py"),
            (["src/main.py"], "service_secrets.py"),
            (["src/__init__.py", "src/shop/__init__.py"], "service_secrets.py"),
            (["src/shop/__init__.py", "service_secrets.py"], "service_secrets.py"),
            (["src/my-shop/__init__.py"], "service_secrets.py"),
        ],
    )
    def test_layout(self, project: Path, files: list[str], settings: str) -> None:
        """It is in the only package below `src`. Otherwise it is next to pyproject.toml."""
        for file in files:
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            (project / file).touch()
        assert default_settings() == settings


class TestIgnored:
    """`with_ignored`."""

    @pytest.mark.parametrize("text", ["", "*.pyc\n", "*.pyc", "a\r\nb\r\n", "\n"])
    def test_added(self, text: str) -> None:
        """The lines come after the present text, with its line ending. A second call adds none."""
        done = with_ignored(text)
        newline = "\r\n" if "\r\n" in text else "\n"
        assert done.startswith(text)
        assert done.endswith(f"{newline}config/*.new{newline}")
        assert done.count("\n") == done.count(newline)
        assert "*.pyc# " not in done
        assert with_ignored(done) == done

    def test_only_missing_lines(self) -> None:
        """A line that exists is not added again."""
        assert with_ignored(f"{with_ignored('').replace('config/logs/', '')}")[len(with_ignored("")) - 12 :] == (
            "\n# Files that the lifecycle commands write on a machine. config/revoked.fingerprints is versioned.\n"
            "config/logs/\n"
        )

    @pytest.mark.skipif(not GIT, reason="needs git")
    @pytest.mark.parametrize(
        "text",
        ["!config/*.key.example\n", "!config/*.key.example\nconfig/*.key*\n", f"{with_ignored('')}!config/*\n"],
    )
    def test_order(self, project: Path, text: str) -> None:
        """Git keeps the templates and ignores the keys, also where other lines with ! or in another order exist."""
        (project / ".gitignore").write_text(with_ignored(text), encoding="utf-8")
        paths = ("config/secret.key", "config/secret.key.example")
        assert git(made(project), "--no-literal-pathspecs", "check-ignore", *paths).split() == ["config/secret.key"]


class TestModel:
    """`with_model`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", TABLE),
            ("[a]\n", f"[a]\n\n{TABLE}"),
            ("[tool]\na = 1", f"[tool]\na = 1\n\n{TABLE}"),
            ("[a]\r\nb = 1\r\n", "[a]\r\nb = 1\r\n\r\n" + TABLE.replace("\n", "\r\n")),
        ],
    )
    def test_added(self, text: str, expected: str) -> None:
        """The table is appended, with the line ending of the file."""
        assert with_model(text, MODEL) == expected
        assert tomllib.loads(expected)["tool"]["robodj-secretguard"]["model"] == MODEL

    @pytest.mark.parametrize(
        "text",
        [
            "tool = 1\n",
            "tool = {}\n",
            "[[tool]]\n",
            "[tool.robodj-secretguard]\nstrict = true\n",
            "tool.robodj-secretguard.strict = true\n",
        ],
    )
    def test_other_forms(self, text: str) -> None:
        """Where TOML does not allow the table, nothing is added."""
        with pytest.raises(FileError, match="its TOML cannot be extended; write"):
            with_model(text, MODEL)


class TestGitFaults:
    """`git_faults`."""

    def test_no_git(self, project: Path) -> None:
        """Outside of a repository, and where git is not installed, nothing is known."""
        assert git_faults([".gitignore"]) == ([], [])
        with patch.dict(os.environ, {"PATH": str(project)}):
            assert git_faults([".gitignore"]) == ([], [])


class TestFlatLayout:
    """What setuptools needs in a project whose packages it finds by itself."""

    PROJECT = '[project]\nname = "shop"\n'

    @pytest.mark.parametrize("build", ["", '[build-system]\nbuild-backend = "setuptools.build_meta"\n'])
    def test_automatic_discovery(self, build: str) -> None:
        """The packages that exist are listed, or otherwise the modules; config/ is none of them."""
        text = f"{build}{self.PROJECT}"
        assert flat_layout(text, ["shop"], ["a"]) == ["[tool.setuptools.packages.find]", 'include = ["shop*"]']
        assert flat_layout(text, [], ["a", "b"]) == ["[tool.setuptools]", 'py-modules = ["a", "b"]']

    @pytest.mark.parametrize(
        "text",
        [
            "",
            f'{PROJECT}[build-system]\nbuild-backend = "hatchling.build"\n',
            f'{PROJECT}[tool.setuptools]\npackages = ["shop"]\n',
            f"{PROJECT}[tool.setuptools]\npy-modules = []\n",
        ],
    )
    def test_nothing_to_add(self, text: str) -> None:
        """Nothing is needed without a project, with another builder, or where the packages are listed."""
        assert flat_layout(text, ["shop"], []) == []


class TestHook:
    """`with_hook`, `has_hook` and `hook`."""

    @pytest.mark.parametrize("indent", ["", "  ", "    "])
    @pytest.mark.parametrize("before", ["repos:\n", "# ours\nrepos: # all\n\n# first\n", "\ufeffrepos:\n"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_inserted(self, indent: str, before: str, newline: str) -> None:
        """The hook is the first item of `repos`, with the indentation and the line ending of the others."""
        text = f"{before}{indent}-   {OTHER}ci: {{}}\n"
        top, repos, rest = text.partition(next(line for line in before.splitlines(keepends=True) if "repos:" in line))
        expected = f"{top}{repos}{hook(MODEL, indent=indent)}{rest}".replace("\n", newline)
        assert with_hook(text.replace("\n", newline), MODEL) == expected

    @pytest.mark.parametrize("text", ["", "\n"])
    def test_new(self, text: str) -> None:
        """A missing file, and one without text, gets a list of one hook."""
        assert with_hook(text, MODEL) == f"{text}repos:\n{hook(MODEL, indent='  ')}"

    @pytest.mark.parametrize(
        "text", ["repos: []\n", "{repos: []}\n", "ci: {}\n", "repos:\n", "repos:\na:\nrepos:\n- b"]
    )
    def test_other_forms(self, text: str) -> None:
        """Text of another form is left alone."""
        assert with_hook(text, MODEL) is None

    def test_present(self) -> None:
        """The hook is found by its id, other than in a comment."""
        assert has_hook(hook(MODEL))
        assert not has_hook(f"# {hook(MODEL)}".replace("\n", "\n# "))
        assert not has_hook("ci:\n  skip: [robodj-secretguard-scan]\nname: not robodj-secretguard-scan\n")

    @pytest.mark.parametrize(
        ("directory", "place"), [("services/api", "services/api"), ("my service", "DIRECTORY"), ("a'b", "DIRECTORY")]
    )
    def test_directory(self, directory: str, place: str) -> None:
        """For a service below the root of its repository, the hook changes to its directory."""
        command = f"robodj-secretguard scan --staged --fingerprints --model {MODEL}"
        assert f"      entry: sh -c 'cd ./{place} && exec {command}'\n" in hook(MODEL, directory)
