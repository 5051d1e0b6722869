"""The scan as a whole: every place is looked at, what was not is told, and nothing of a key is shown."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from command_line import Machine, fingerprint_of, machine_at, rotated, without_objects
from conftest import NOW, V1, V2, good_keys
from detector import leaks
from repositories import NO_CONFIGURATION, commit, git, made, object_file, put

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.scan.git import TOO_EARLY
from robodj_secretguard.scan.result import KnownKey, Where, parse
from robodj_secretguard.scan.search import KEYS_FROM, given_value, known_keys, live_values
from robodj_secretguard.scan.walk import content
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.shapes import Event, draft, hash_of
from robodj_secretguard.sources import MAX_FILE_BYTES, Environment, read, variables_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, links and such names are POSIX's")

CLEAN, FOUND, INCOMPLETE = 0, 1, 2
GIT_VARIABLES = NO_CONFIGURATION | {"PATH": os.environ["PATH"]}
FORMATS = ("text", "json", "sarif")
UNUSUAL = ("two\nlines", "\x1b[2J", "\udcff", "   ", "back\\slash", "a\ttab", "é", "a:b", "%41", "\u202e")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A service's directory, with a good key of each kind and what git needs."""
    return machine_at(tmp_path)


@pytest.fixture
def repository(machine: Machine) -> Machine:
    """The same in a repository."""
    made(machine.root)
    return machine


def scanned(machine: Machine, *options: str, keys: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the result of a scan, which reads the same back, and of which no form shows a key."""
    machine.environ.update(GIT_VARIABLES)
    delivered = [machine.environ[name] for name in (V1, V2) if machine.environ.get(name)]
    statuses = set()
    for form in FORMATS:
        ran = machine.call("scan", *options, f"--format={form}")
        assert leaks(without_objects(ran.out + ran.err), [*delivered, *keys]) == []
        assert (ran.out + ran.err).isascii()
        statuses.add(ran.status)
        if form == "json":
            assert parse(ran.out.encode()) is not None
            result: dict[str, Any] = json.loads(ran.out)
        elif form == "sarif":
            assert json.loads(ran.out)["version"] == "2.1.0"
    (status,) = statuses
    return status, result


def found(result: dict[str, Any], *fields: str) -> list[tuple[Any, ...]]:
    """Reduce the findings to some of their fields."""
    return [tuple(each[field] for field in fields) for each in result["findings"]]


def missed(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Reduce what was not looked at to that of which something may have been missed."""
    return [(each["place"], each["why"]) for each in result["unread"] if each["matters"]]


class TestKnown:
    """Which keys are looked for, and how they are known."""

    def test_values_at_hand(self, tmp_path: Path) -> None:
        """Each variable's is one, and each line of a fallback file, but no placeholder."""
        machine = machine_at(tmp_path)
        lines = [secrets.token_urlsafe(32), secrets.token_urlsafe(32), "CHANGE_ME"]
        machine.write("secret.key", "\n".join(lines))
        machine.environ[V2] = "replace_with_a_key"
        policies = tuple(RuntimeSecrets.secret_policies.values())
        readings = read(
            policies,
            variables_read(policies),
            environment=Environment(machine.environ),
            config_dir=machine.config,
            now=NOW,
        )
        assert [(key.get_secret_value(), *rest) for key, *rest in live_values(readings)] == [
            (machine.environ[V1], "secret.key", "environment", True),
            *((line, "secret.key", "file:config/secret.key", True) for line in lines[:2]),
        ]

    @pytest.mark.parametrize(("key", "is_sound"), [(secrets.token_urlsafe(32), True), ("short", False)], ids=["a", "b"])
    def test_a_value_that_is_passed(self, key: str, *, is_sound: bool) -> None:
        """Of which secret it is, is not known; it is looked for if it would pass as some key."""
        assert given_value(SealedStr(key))[1:] == (None, KEYS_FROM, is_sound)

    def test_all_that_is_known_of_one(self) -> None:
        """What each source knows is put together, and the first word of each counts."""
        keys = [secrets.token_urlsafe(32) for _ in range(3)]
        one, two, three = map(fingerprint_of, keys)
        live = [given_value(SealedStr(keys[0])), given_value(SealedStr(keys[0]))]
        sealed = draft(Event.SEALED, sealed=hash_of(b"torn"))  # which is about no key
        records = [
            sealed,
            rotated(NOW, one),
            rotated(NOW, two, environment="dev"),
            rotated(NOW, one, environment="dev"),
        ]
        recorded = [(each.fingerprint, each.secret, each.environment) for each in records]
        assert known_keys(live, recorded, [three, one]) == {
            one: KnownKey(one, "secret.key", "prod", (KEYS_FROM, "operations log", "revocation list")),
            two: KnownKey(two, "secret.key", "dev", ("operations log",)),
            three: KnownKey(three, None, None, ("revocation list",)),
        }


class TestFiles:
    """Where a key is found among files."""

    def test_all_kinds_of_places(self, machine: Machine) -> None:
        """In a file, in what a link leads to, and in the name of a file, a link or a directory, which is not shown."""
        key = machine.environ[V1]
        machine.put("file", f"a\n {key}")
        (machine.root / "link").symlink_to(f"/{key}")
        (machine.root / key).mkdir()
        (machine.root / key / f"{key}.txt").write_text(key, encoding="ascii")
        status, result = scanned(machine)
        assert (status, found(result, "where", "path", "line", "column")) == (
            FOUND,
            [
                ("file", "file", 2, 2),
                ("link", "link", 1, 2),
                ("name", "[redacted]", None, None),
                ("name", "[redacted]/[redacted]", None, None),
                ("file", "[redacted]/[redacted]", 1, 1),
            ],
        )

    def test_parts_of_keys_in_paths(self, machine: Machine) -> None:
        """A name with a part of a key is not shown either, nor one that would be a key with the next one."""
        key = machine.environ[V1]
        for name in (key[:10], f"{key[20:26].swapcase()}-x", key[::-1][5:15]):
            (machine.root / name).mkdir()
            (machine.root / name / "file").write_text(key, encoding="ascii")
        status, result = scanned(machine)
        assert (status, {*found(result, "path")}) == (FOUND, {("[redacted]/file",)})
        assert result["files"] == 3

    @pytest.mark.parametrize("name", UNUSUAL)
    def test_unusual_names(self, machine: Machine, name: str) -> None:
        """They are escaped, in one line, and SARIF has them as they are."""
        machine.put(name, machine.environ[V1])
        status, result = scanned(machine)
        ((path,),) = found(result, "path")
        assert (status, path.encode("ascii").decode("unicode_escape")) == (FOUND, name)
        assert len(machine.call("scan").alerts) == 1

    def test_paths_as_they_were_given(self, machine: Machine) -> None:
        """A file's path is shown as it was given: a code host knows no other."""
        (machine.root / "docs").mkdir()
        (machine.root / "docs" / "file").write_text(machine.environ[V1], encoding="ascii")
        for path in ("docs", "docs/file", "./docs/file"):
            assert found(scanned(machine, path)[1], "path") == [("docs/file",)]

    def test_fallback_files(self, machine: Machine) -> None:
        """They are where keys may be: they are left out, and that is told; a copy of one is not."""
        for name in ("secret.key", "copy.key"):
            machine.write(name, machine.environ[V1])
        status, result = scanned(machine)
        assert (status, found(result, "path"), result["complete"]) == (FOUND, [("config/copy.key",)], True)
        assert [each["place"] for each in result["unread"]] == ["config/secret.key"]

    def test_a_line_of_100_mebibytes(self, machine: Machine) -> None:
        """Its end is looked at, and the column is right."""
        with open(machine.root / "file", "wb") as file:
            file.truncate(100 * BLOCK_BYTES)
            file.seek(0, os.SEEK_END)
            file.write(b" " + machine.environ[V1].encode())
        machine.environ.update(GIT_VARIABLES)
        ran = machine.call("scan", "--format=json", "file")
        ((offset, line),) = found(json.loads(ran.out), "offset", "line")
        assert (ran.status, offset, line) == (FOUND, 100 * BLOCK_BYTES + 1, 1)

    def test_utf_16_and_binary(self, machine: Machine) -> None:
        """A key is found in them, in every form."""
        key = machine.environ[V1]
        machine.put("a", f"key: {key}".encode("utf-16"))
        machine.put("b", b"\0\1\2\xff" + base64.b64encode(f":{key}".encode()) + b"\0")
        machine.put("c", f"{V2}={machine.environ[V1].encode().hex().upper()}")
        assert found(scanned(machine)[1], "path", "form", "column") == [
            ("a", "utf-16", 6),
            ("b", "base64", 5),
            ("c", "hex", 22),
        ]


class TestHostileFiles:
    """Whatever is in the way is told, is not fatal, and is not waited for."""

    def test_what_has_no_content(self, machine: Machine) -> None:
        """A FIFO, a socket, and links to nothing and to themselves change nothing."""
        os.mkfifo(machine.root / "fifo")
        (machine.root / "nowhere").symlink_to("nothing")
        (machine.root / "itself").symlink_to("itself")
        (machine.root / "up").symlink_to("..")
        with socket.socket(socket.AF_UNIX) as server:
            machine.within(lambda: server.bind("socket"))
            status, result = scanned(machine)
        assert (status, [each["place"] for each in result["unread"]]) == (CLEAN, ["fifo", "socket"])

    @pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "fifo", "nowhere", "itself", "a" * 5000, "missing", ""])
    def test_a_path_that_is_none(self, machine: Machine, path: str) -> None:
        """What is named and cannot be looked at is missed, and the others are looked at."""
        os.mkfifo(machine.root / "fifo")
        (machine.root / "nowhere").symlink_to("nothing")
        (machine.root / "itself").symlink_to("itself")
        machine.put("file", machine.environ[V1])
        status, result = scanned(machine, path, "file")
        assert (status, len(result["findings"]), len(missed(result))) == (INCOMPLETE, 1, 1)

    def test_a_path_that_is_a_key(self, machine: Machine) -> None:
        """It is told by its number alone, and shown by nobody; where it is there, it is found."""
        key = f"./{machine.environ[V1]}"
        status, result = scanned(machine, "config", key)
        assert (status, missed(result)) == (INCOMPLETE, [("PATH 2", "it is not there")])
        (machine.root / key).touch()
        status, result = scanned(machine, key)
        assert (status, len(result["findings"])) == (FOUND, 1)

    def test_what_vanishes_or_changes(self, machine: Machine) -> None:
        """A file that does so while it is looked at is told, and what was found before stays found."""
        for name in ("a", "b", "c"):
            machine.put(name, machine.environ[V1].ljust(2 * BLOCK_BYTES))

        def hostile(path: str, where: Where) -> Iterator[bytes | int]:
            for block in content(path, where):
                (machine.root / "c").unlink(missing_ok=True)
                if path.endswith("b"):
                    machine.put("b", b"another")
                yield block

        with patch("robodj_secretguard.scan.scanner.content", hostile):
            machine.environ.update(GIT_VARIABLES)
            ran = machine.call("scan", "--format=json")
        result = json.loads(ran.out)
        assert (ran.status, found(result, "path")) == (INCOMPLETE, [("a",), ("b",)])
        assert missed(result) == [("b", "it changed while it was read"), ("c", "it is not there")]


class TestTracked:
    """Key files that git tracks."""

    def test_a_key_file(self, repository: Machine) -> None:
        """One that holds key material is found in the index, whether its key is known or not, and wherever it lies."""
        unknown = secrets.token_urlsafe(32)
        for name, data in (
            ("config/secret.key", unknown.encode()),
            ("config/other.key", b"\xff\xfe"),
            ("a/b/config/x.key", b"x" * 5000),
            ("config/template.key", b"# a template\nreplace_with_the_key\n"),
            ("config/empty.key", b""),
            ("config/deep/x.key", secrets.token_urlsafe(32).encode()),
            ("other.key", secrets.token_urlsafe(32).encode()),
        ):
            put(repository.root, name, data)
        status, result = scanned(repository)
        assert (status, found(result, "rule", "path", "secret", "fingerprint", "where")) == (
            FOUND,
            [
                ("tracked-key-file", "a/b/config/x.key", None, None, "index"),
                ("tracked-key-file", "config/other.key", None, None, "index"),
                ("tracked-key-file", "config/secret.key", "secret.key", fingerprint_of(unknown), "index"),
                ("known-key", "config/secret.key", "secret.key", fingerprint_of(unknown), "file"),
            ],
        )

    def test_a_key_file_of_several_blocks(self, repository: Machine) -> None:
        """Of a large one the beginning alone is read, and those after it are found."""
        for name in ("a", "b"):
            put(repository.root, f"config/{name}.key", b"x" * (2 * BLOCK_BYTES + 1))
        status, result = scanned(repository)
        assert (status, found(result, "rule", "path")) == (
            FOUND,
            [("tracked-key-file", "config/a.key"), ("tracked-key-file", "config/b.key")],
        )

    @pytest.mark.parametrize("size", [MAX_FILE_BYTES, MAX_FILE_BYTES + 1])
    def test_how_large_a_template_is(self, repository: Machine, size: int) -> None:
        """One of comments alone, which is not too large for a key file, holds no key material."""
        put(repository.root, "config/x.key", b"# a comment\n" * (size // 12) + b"#" * (size % 12))
        status, result = scanned(repository)
        too_large = [("tracked-key-file", "config/x.key")] if size > MAX_FILE_BYTES else []
        assert (status, found(result, "rule", "path")) == (FOUND if too_large else CLEAN, too_large)

    def test_a_key_in_a_path_of_the_index_alone(self, repository: Machine) -> None:
        """A name that the work tree has not is not shown either, where its key is known by its fingerprint alone."""
        key = secrets.token_urlsafe(32)
        repository.write("revoked.fingerprints", fingerprint_of(key) + "\n")
        put(repository.root, f"{key}/config/x.key", good_keys()[V2].encode())
        shutil.rmtree(repository.root / key)
        for options in (), ("--git-history",), ("--staged",):
            status, result = scanned(repository, *options, keys=[key])
            (tracked,) = (each for each in result["findings"] if each["rule"] == "tracked-key-file")
            shown = tracked["path"] or tracked["carriers"][0]["path"]
            assert (status, shown) == (FOUND, "[redacted]/config/x.key")

    def test_below_the_paths_alone(self, repository: Machine) -> None:
        """Where paths are named, no other is looked at."""
        put(repository.root, "a/config/x.key", good_keys()[V1].encode())
        put(repository.root, "ab/config/x.key", good_keys()[V1].encode())
        for path in ("a", "a/config/x.key", "./a/../a"):
            assert [each for each in found(scanned(repository, path)[1], "where", "path") if each[0] == "index"] == [
                ("index", "a/config/x.key")
            ]

    def test_a_missing_object(self, repository: Machine) -> None:
        """That git does not have what it tracks is told."""
        name = put(repository.root, "config/x.key", b"content that is gone")
        object_file(repository.root, name).unlink()
        status, result = scanned(repository)
        assert (status, missed(result)) == (INCOMPLETE, [(f"object {name}", "git does not have it, or not whole")])

    @pytest.mark.parametrize("path", [".git", ".git/config"])
    def test_within_gits_own_directory(self, repository: Machine, path: str) -> None:
        """It has no tracked files, and is looked at as any other."""
        with open(repository.root / ".git" / "config", "a", encoding="ascii") as file:
            file.write(f"# {repository.environ[V1]}\n")
        status, result = scanned(repository, path)
        assert (status, found(result, "where"), missed(result)) == (FOUND, [("file",)], [])


class TestStaged:
    """What the next commit adds or changes."""

    def test_it_and_nothing_else(self, repository: Machine) -> None:
        """The content in the index counts, not that of the work tree, and not what was committed before."""
        key = repository.environ[V1]
        put(repository.root, "before", key.encode())
        commit(repository.root)
        name = put(repository.root, "file", f"a\n {key}".encode())
        repository.put("file", "clean")
        repository.put("not-staged", key)
        status, result = scanned(repository, "--staged")
        assert (status, found(result, "where", "path", "line", "column", "object")) == (
            FOUND,
            [("index", "file", 2, 2, name)],
        )
        assert (result["files"], result["objects"], result["size"]) == (0, 1, len(f"a\n {key}"))

    def test_names_and_key_files(self, repository: Machine) -> None:
        """A name that is a key is found, and a key file."""
        put(repository.root, repository.environ[V1], b"content")
        put(repository.root, "config/x.key", good_keys()[V1].encode())
        status, result = scanned(repository, "--staged")
        assert (status, found(result, "rule", "where", "path")) == (
            FOUND,
            [("known-key", "name", "[redacted]"), ("tracked-key-file", "index", "config/x.key")],
        )

    def test_a_missing_object(self, repository: Machine) -> None:
        """It is told."""
        name = put(repository.root, "file", b"content that is gone")
        object_file(repository.root, name).unlink()
        status, result = scanned(repository, "--staged")
        assert (status, missed(result)) == (INCOMPLETE, [(f"object {name}", "git does not have it, or not whole")])


class TestHistory:
    """Every object that git keeps."""

    def test_what_was_deleted(self, repository: Machine) -> None:
        """A key that is in no file any more is found with each commit that put it somewhere, and under which path."""
        key = repository.environ[V1]
        name = put(repository.root, "file", f"a\n {key}".encode())
        first = commit(repository.root)
        git(repository.root, "mv", "file", "two\nlines")
        second = commit(repository.root)
        git(repository.root, "rm", "-q", "two\nlines")
        commit(repository.root)
        status, result = scanned(repository, "--git-history")
        assert (status, found(result, "where", "object", "kind", "line", "column")) == (
            FOUND,
            [("history", name, "blob", 2, 2)],
        )
        carriers = {(each["commit"], each["path"]) for each in result["findings"][0]["carriers"]}
        assert carriers == {(second, "two\\nlines"), (first, "file")}

    def test_where_no_file_is(self, repository: Machine) -> None:
        """In what a commit or a tag says, in the name of a file, and in what nothing leads to."""
        key = repository.environ[V1]
        put(repository.root, key, b"content")
        here = commit(repository.root)
        git(repository.root, "rm", "-q", key)
        commit(repository.root, f"no longer with {key}")
        git(repository.root, "tag", "-a", "-m", f"with {key}", "v1", here)
        git(repository.root, "hash-object", "-w", "--stdin", given=key.encode())
        (repository.root / ".git" / "COMMIT_EDITMSG").unlink()
        status, result = scanned(repository, "--git-history")
        assert status == FOUND
        kinds = [kind for where, kind in found(result, "where", "kind") if where == "history"]
        assert sorted(kinds) == ["blob", "commit", "tag", "tree"]
        reflog = [path for where, path in found(result, "where", "path") if where == "file"]
        assert reflog == [".git/logs/HEAD", ".git/logs/refs/heads/main"]

    @pytest.mark.parametrize(("path", "secret"), [("config/x.key", None), ("config/secret.key", "secret.key")])
    def test_key_files(self, repository: Machine, path: str, secret: str | None) -> None:
        """One that was tracked once is found, with who put it there, and whose file it was."""
        key = secrets.token_urlsafe(32)
        name = put(repository.root, path, key.encode())
        here = commit(repository.root)
        git(repository.root, "rm", "-q", path)
        commit(repository.root)
        repository.config.mkdir(exist_ok=True)
        status, result = scanned(repository, "--git-history")
        assert (status, found(result, "rule", "secret", "fingerprint", "kind", "object", "carriers")) == (
            FOUND,
            [("tracked-key-file", secret, fingerprint_of(key), "blob", name, [{"commit": here, "path": path}])],
        )
        assert result["objects"] == len(
            git(repository.root, "cat-file", "--batch-all-objects", "--batch-check").split("\n")
        )

    @pytest.mark.parametrize("size", [0, 1 << 19], ids=["empty", "cut-short"])
    def test_a_corrupt_object(self, repository: Machine, size: int) -> None:
        """It is told, and takes nothing from what is found elsewhere."""
        repository.put("a", repository.environ[V1])
        name = put(repository.root, "file", secrets.token_bytes(BLOCK_BYTES))
        commit(repository.root)
        os.truncate(object_file(repository.root, name), size)
        status, result = scanned(repository, "--git-history")
        assert (status, result["complete"], found(result, "path")) == (INCOMPLETE, False, [("a",)])

    def test_a_corrupt_object_that_is_staged(self, repository: Machine) -> None:
        """So it is there, and of a key file too."""
        for path in ("file", "config/x.key"):
            name = put(repository.root, path, secrets.token_bytes(BLOCK_BYTES))
            os.truncate(object_file(repository.root, name), 1 << 19)
            status, result = scanned(repository, "--staged")
            assert (status, result["complete"]) == (INCOMPLETE, False)
            git(repository.root, "rm", "-q", "-f", "--cached", path)

    def test_a_corrupt_key_file(self, repository: Machine) -> None:
        """Nor does a tracked one end a scan of files."""
        repository.put("a", repository.environ[V1])
        name = put(repository.root, "config/x.key", secrets.token_bytes(BLOCK_BYTES))
        os.truncate(object_file(repository.root, name), 0)
        status, result = scanned(repository)
        assert (status, found(result, "path")) == (INCOMPLETE, [("a",)])

    def test_a_git_that_is_killed(self, repository: Machine, tmp_path: Path) -> None:
        """Where git is gone between one question and the next, that is told, and files are looked at."""
        put(repository.root, "file", repository.environ[V1].encode())
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(
            '#!/bin/sh\ncase "$*" in *rev-parse*) PATH=${PATH#*:} exec git "$@";; esac\nexit 3\n', encoding="ascii"
        )
        (tmp_path / "bin" / "git").chmod(0o700)
        with patch.dict(GIT_VARIABLES, PATH=f"{tmp_path}/bin:{os.environ['PATH']}"):
            for scope in ("--git-history", "--staged"):
                status, result = scanned(repository, scope)
                assert status == INCOMPLETE
                assert {place for place, _ in missed(result)} == {"git"}

    def test_a_git_that_listens_no_more(self, repository: Machine, tmp_path: Path) -> None:
        """Where it takes no further question, that is told."""
        for name in ("a", "b"):
            put(repository.root, name, name.encode())
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(
            '#!/bin/sh\ncase "$*" in *cat-file*) exec 0<&-; echo abc missing;;'
            ' *) PATH=${PATH#*:} exec git "$@";; esac\n',
            encoding="ascii",
        )
        (tmp_path / "bin" / "git").chmod(0o700)
        with patch.dict(GIT_VARIABLES, PATH=f"{tmp_path}/bin:{os.environ['PATH']}"):
            status, result = scanned(repository, "--staged")
        assert (status, missed(result)[-1]) == (INCOMPLETE, ("git", TOO_EARLY))

    @pytest.mark.parametrize("scope", ["--git-history", "--staged"])
    def test_no_repository(self, machine: Machine, scope: str) -> None:
        """Where there is none, or no git, that is told."""
        none = "there is no repository, or git refuses it (status 128): git status says why"
        for path, why in ((os.environ["PATH"], none), ("/nowhere", "git cannot be run")):
            with patch.dict(GIT_VARIABLES, PATH=path):
                status, result = scanned(machine, scope)
            assert (status, missed(result)) == (INCOMPLETE, [("git", why)])

    def test_a_shallow_clone(self, repository: Machine, tmp_path: Path) -> None:
        """What is there is looked at, and that it is not all is told."""
        put(repository.root, "file", repository.environ[V1].encode())
        commit(repository.root)
        commit(repository.root)
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository.root}", "shallow")
        status, result = scanned(repository, "--git-history", "shallow")
        assert (status, [place for place, _ in missed(result)]) == (INCOMPLETE, ["git history"])
        assert {where for (where,) in found(result, "where")} == {"file", "history"}

    def test_a_bare_repository(self, repository: Machine, tmp_path: Path) -> None:
        """Its history is looked at."""
        put(repository.root, "file", repository.environ[V1].encode())
        here = commit(repository.root)
        git(tmp_path, "clone", "-q", "--bare", str(repository.root), "bare.git")
        status, result = scanned(repository, "--git-history", "bare.git")
        assert (status, found(result, "carriers")) == (FOUND, [([{"commit": here, "path": "file"}],)])
        status, result = scanned(repository, "--staged", "bare.git")
        assert (status, missed(result)) == (
            INCOMPLETE,
            [("git", "there is no work tree here, and so nothing is staged")],
        )

    def test_a_submodule(self, repository: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Its history is told to be another repository's."""
        other = made(tmp_path_factory.mktemp("other"))
        put(other, "file", repository.environ[V1].encode())
        commit(other)
        git(repository.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "within")
        _, result = scanned(repository, "--git-history", ".gitmodules")
        notes = [(each["place"], each["why"]) for each in result["unread"] if not each["matters"]]
        assert ("within", "a submodule, whose history is another repository's") in notes

    def test_in_sha_256(self, machine: Machine) -> None:
        """A repository with long names is one."""
        made(machine.root, "--object-format=sha256")
        machine.put("file", machine.environ[V1])
        git(machine.root, "add", "file")
        here = commit(machine.root)
        (machine.root / "file").unlink()
        status, result = scanned(machine, "--git-history")
        ((carriers, name),) = found(result, "carriers", "object")
        assert (status, [each["commit"] for each in carriers], len(name)) == (FOUND, [here, None], 64)

    def test_the_order(self, repository: Machine) -> None:
        """What git packs in between changes nothing of what is said of history."""
        for number in range(5):
            put(repository.root, f"file{number}", f"{number} {repository.environ[V1]}".encode())
            commit(repository.root)
        before = scanned(repository, "--git-history")[1]
        git(repository.root, "gc", "-q")
        after = scanned(repository, "--git-history")[1]
        assert before["findings"] == after["findings"]
        assert len(before["findings"]) == 10


class TestNamesThatHoldWhatWasFound:
    """A key that nobody knew before it was found is in no path that is shown, wherever that was found."""

    @pytest.mark.parametrize("options", [(), ("--fingerprints",), ("--staged",), ("--git-history",)])
    def test_an_unknown_key(self, repository: Machine, options: tuple[str, ...]) -> None:
        """One that is assigned, or alone in a key file, in the names of directories, as it is and in base64."""
        assigned, kept = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        for name in (f"a/{assigned}/x", f"{base64.b64encode(assigned.encode()).decode()}/x", f"b/{assigned[:20]}/x"):
            put(repository.root, name, f"{V1}={assigned}".encode())
        put(repository.root, f"config/{kept}.key", kept.encode())
        git(repository.root, "add", "--force", ".")
        repository.environ.update(GIT_VARIABLES)
        for form in FORMATS:
            ran = repository.call("scan", *options, f"--format={form}")
            assert leaks(ran.out + ran.err, [assigned, kept]) == []
            assert "assigned-key" in ran.out
            assert "tracked-key-file" in ran.out

    def test_by_its_fingerprint(self, repository: Machine) -> None:
        """Nor is a part of it, where the name came first."""
        key = secrets.token_urlsafe(32)
        repository.write("revoked.fingerprints", fingerprint_of(key))
        for name in (f"a{key[5:25]}/x", f"b{key[::-1]}/x", "z"):
            put(repository.root, name, key.encode())
        repository.environ.update(GIT_VARIABLES)
        ran = repository.call("scan", "--fingerprints")
        assert (leaks(ran.out, [key]), len(ran.alerts)) == ([], 3)

    def test_of_what_is_no_file(self, repository: Machine) -> None:
        """A pipe has no content to look at, and a name."""
        os.mkfifo(repository.root / f"x {repository.environ[V1]}")
        status, result = scanned(repository)
        assert (status, found(result, "where", "path")) == (FOUND, [("name", "[redacted]")])

    def test_of_a_submodule(self, repository: Machine) -> None:
        """So has a submodule."""
        name = f"m-{repository.environ[V1]}"
        git(repository.root, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{name}")
        status, result = scanned(repository, "--git-history")
        assert (status, ("name", "[redacted]") in found(result, "where", "path")) == (FOUND, True)


class TestWhatGitHasNot:
    """What is named and not there was not looked at."""

    @pytest.mark.parametrize("is_committed", [True, False])
    def test_a_blob(self, repository: Machine, *, is_committed: bool) -> None:
        """Of a commit, or of the index alone."""
        name = put(repository.root, "file", b"content")
        if is_committed:
            commit(repository.root)
        object_file(repository.root, name).unlink()
        status, result = scanned(repository, "--git-history")
        assert (status, missed(result)) == (INCOMPLETE, [(f"object {name}", "git does not have it, or not whole")])

    def test_reflogs_in_reftables(self, machine: Machine) -> None:
        """They are compressed."""
        made(machine.root, "--ref-format=reftable")
        status, result = scanned(machine, "--git-history")
        assert (status, [place for place, _ in missed(result)]) == (INCOMPLETE, ["git history"])


def test_a_link_to_a_file_elsewhere(machine: Machine) -> None:
    """A fallback file that is a link exempts itself, and not what it leads to."""
    machine.put("notes", machine.environ[V1])
    (machine.config / "secret.key").symlink_to("../notes")
    status, result = scanned(machine)
    assert (status, found(result, "path")) == (FOUND, [("notes",)])


def test_the_secret_of_a_key_file_with_several_paths(repository: Machine) -> None:
    """It is that of the path that is shown; commits and the index are counted, and not the paths."""
    for path in ("a/config/other.key", "config/secret.key"):
        put(repository.root, path, b"one\ntwo\n")
    commit(repository.root)
    repository.environ.update(GIT_VARIABLES)
    (alert,) = [line for line in repository.call("scan", "--git-history", "a").alerts if "tracked" in line]
    assert alert.startswith("ALERT: a key: tracked-key-file: a/config/other.key in commit ")
    assert " and the index: " in alert
    assert "more commit" not in alert
