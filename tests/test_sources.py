"""Where the set-up comes from: the model, the switches, the config directory, and whose writes are trusted."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import NOW, V1, V2, Checker, clean_environment, found, good_keys, listed
from mounts import run_with_mounts

from robodj_secretguard import Report, RuntimeSecrets, SecretSettings, Severity, check
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from pathlib import Path

K1, K2 = "secret.key", "secret_v2.key"
LIST = "revoked.fingerprints"
ALLOW = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"
PROTECTED = "ROBODJ_PROTECTED_ENV"
CONFIG_DIR = "ROBODJ_CONFIG_DIR"

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, owners and links are POSIX's")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")


def revoked(key: str) -> str:
    """Write a revocation list with one key."""
    return f"{fingerprint(SealedStr(key))}\n"


def strict(directory: Path) -> type[SecretSettings]:
    """Declare a model that names its directory, turns files off and requires a list."""

    class Strict(RuntimeSecrets, config_dir=directory, file_fallback=False, require_revocation_list=True):
        pass

    return Strict


class TestDirectory:
    """Whatever there is instead of a config directory could hide a revocation list."""

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_a_plain_file(self, tmp_path: Path) -> None:
        """A checkout without symlinks leaves a file that holds the link's target."""
        (tmp_path / "config").write_text("../shared/config")
        report = check(environ=good_keys(), now=NOW)
        assert found(report) == [("setting", None)]
        assert report.findings[0].message == "config under the working directory is not a directory."

    @posix_only
    def test_below_a_plain_file(self, tmp_path: Path) -> None:
        """The same of a directory on the way to it."""
        (tmp_path / "service").write_text("")
        report = check(environ=good_keys(), config_dir=tmp_path / "service" / "config", now=NOW)
        assert report.findings[0].message.endswith("the config_dir argument names cannot be examined.")

    @posix_only
    def test_a_working_directory_that_was_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is found under it, whatever was there."""
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        report = check(environ=good_keys(), now=NOW)
        assert found(report) == [("setting", None)]
        assert "the working directory was deleted" in report.findings[0].message

    def test_none_at_all(self) -> None:
        """A service that has none starts."""
        assert found(check(environ=good_keys(), now=NOW)) == []


class TestModel:
    """The set-up that a model declares."""

    def test_its_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The list is found from every working directory."""
        keys = good_keys()
        (tmp_path / "config").mkdir(mode=0o700)
        (tmp_path / "elsewhere").mkdir()
        Checker(tmp_path / "config").write(LIST, revoked(keys[V1]), 0o644)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert found(check(environ=keys, now=NOW)) == []
        assert found(check(strict(tmp_path / "config"), environ=keys, now=NOW)) == [("revoked", K1)]

    def test_the_argument_and_the_variable_come_first(self, tmp_path: Path) -> None:
        """Each replaces the model's directory, and adds its own list to the model's."""
        keys = good_keys()
        for name, key in (("model", keys[V1]), ("other", keys[V2])):
            (tmp_path / name).mkdir(mode=0o700)
            Checker(tmp_path / name).write(LIST, revoked(key), 0o644)
        model, other = strict(tmp_path / "model"), str(tmp_path / "other")
        assert found(check(model, environ=keys, config_dir=other, now=NOW)) == [("revoked", K1), ("revoked", K2)]
        both = check(model, environ=keys | {CONFIG_DIR: other}, now=NOW)
        assert found(both) == [("revoked", K1), ("revoked", K2)]
        assert listed(both) == ((f"file:config/{LIST}",), 2)
        same = check(model, environ=keys | {CONFIG_DIR: str(tmp_path / "model")}, now=NOW)
        assert listed(same) == ((f"file:config/{LIST}",), 1)

    def test_faults_of_either_list(self, tmp_path: Path) -> None:
        """Each is reported for the directory that it is in; a model's directory that is not there is no fault then."""
        keys = good_keys()
        for name in ("model", "other"):
            (tmp_path / name).mkdir(mode=0o700)
            Checker(tmp_path / name).write(LIST, "wrong\n", 0o644)
        environ = keys | {CONFIG_DIR: str(tmp_path / "other")}
        report = check(strict(tmp_path / "model"), environ=environ, now=NOW)
        places = ["in the configured directory", "in the model's directory"]
        assert [each.message.partition(" has ")[0] for each in report.findings] == [
            f"The revocation list {LIST} {place}" for place in places
        ]
        gone = check(strict(tmp_path / "nowhere"), environ=environ, now=NOW)
        assert found(gone) == [("revocation-list", None)]
        (tmp_path / "file").write_text("")
        spoilt = check(strict(tmp_path / "file"), environ=environ, now=NOW)
        assert found(spoilt) == [("setting", None), ("revocation-list", None)]
        assert spoilt.findings[0].message == "The config directory that the model names is not a directory."
        assert spoilt.findings[0].remedy.endswith("Restore that directory from version control or the deployment.")

    def test_one_fault_is_one_alert(self, tmp_path: Path) -> None:
        """A list that leads nowhere is not said to be missing as well; an empty one beside a full one is."""
        for name in ("model", "other"):
            (tmp_path / name).mkdir(mode=0o700)
        environ = good_keys() | {CONFIG_DIR: str(tmp_path / "other")}
        Checker(tmp_path / "model").write(LIST, "# none\n", 0o644)
        Checker(tmp_path / "other").write(LIST, "", 0o644)
        model = strict(tmp_path / "model")
        assert found(check(model, environ=environ, now=NOW)) == [("revocation-list", None)]
        (tmp_path / "other" / LIST).unlink()
        assert found(check(model, environ=environ, now=NOW)) == []
        Checker(tmp_path / "other").write(LIST, "# none\n", 0o644)
        (tmp_path / "model" / LIST).rename(tmp_path / "kept")
        (absent,) = check(model, environ=environ, now=NOW).findings
        assert absent.remedy.startswith(f"Restore {LIST} in the model's directory from version control")
        (tmp_path / "kept").rename(tmp_path / "model" / LIST)
        if os.name == "posix":
            (tmp_path / "model" / LIST).unlink()
            (tmp_path / "model" / LIST).symlink_to("nowhere")
            report = check(model, environ=good_keys(), now=NOW)
            assert found(report) == [("revocation-list", None)]
            assert "cannot be relied on" in report.findings[0].message

    @posix_only
    def test_the_fix_names_the_list_that_is_meant(self, tmp_path: Path) -> None:
        """Of the model's list it is not the directory that the variable names."""
        for name, mode in (("model", 0o646), ("other", 0o644)):
            (tmp_path / name).mkdir(mode=0o700)
            Checker(tmp_path / name).write(LIST, "# none\n", mode)
        environ = good_keys() | {CONFIG_DIR: str(tmp_path / "other")}
        (finding,) = check(strict(tmp_path / "model"), environ=environ, now=NOW).findings
        assert finding.remedy.endswith("run: chmod -R go-w on the directory that the model names.")

    def test_its_directory_must_be_there(self, tmp_path: Path) -> None:
        """Where nothing replaces it, a directory that the model names and that is missing is an alert."""
        report = check(strict(tmp_path / "nowhere"), environ=good_keys(), now=NOW)
        assert found(report) == [("setting", None)]

    @pytest.mark.parametrize(
        ("content", "passes"), [(None, False), ("", False), ("\n \n", False), ("# none\n", True), ("# none", True)]
    )
    def test_a_required_list(self, tmp_path: Path, content: str | None, passes: bool) -> None:  # noqa: FBT001
        """It has at least one line: a checkout that is under way leaves an empty file."""
        (tmp_path / "config").mkdir(mode=0o700)
        if content is not None:
            Checker(tmp_path / "config").write(LIST, content, 0o644)
        report = check(strict(tmp_path / "config"), environ=good_keys(), now=NOW)
        assert found(report) == ([] if passes else [("revocation-list", None)])

    @pytest.mark.parametrize(
        ("environ", "files_off"),
        [
            ({}, True),
            ({ALLOW: "true"}, False),
            ({ALLOW: "false"}, True),
            ({ALLOW: "true", PROTECTED: "true"}, True),
            ({ALLOW: "", PROTECTED: ""}, True),
        ],
    )
    def test_files_that_are_off(self, tmp_path: Path, environ: dict[str, str], files_off: bool) -> None:  # noqa: FBT001
        """The switch turns them on again, unless the environment is protected."""
        (tmp_path / "config").mkdir(mode=0o700)
        checker = Checker(tmp_path / "config")
        checker.write(LIST, "# none\n", 0o644)
        keys = good_keys()
        checker.write(K1, keys[V1])
        report = check(strict(tmp_path / "config"), environ={V2: keys[V2]} | environ, now=NOW)
        assert report.require_env_only is files_off
        off = [("missing", K1), ("file-present", K1)]
        assert found(report) == (off if files_off else [("file-fallback", K1)])

    def test_an_instance(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An instance that is made without guard() is held to the same set-up."""
        for name in [name for name in os.environ if name.startswith("ROBODJ_")]:
            monkeypatch.delenv(name)
        for name, key in good_keys().items():
            monkeypatch.setenv(name, key)
        with pytest.raises(ValueError, match="the model requires one"):
            strict(tmp_path)()


class TestProtected:
    """Temporary keys are refused where the environment is protected, and allowed where files are merely off."""

    @pytest.mark.parametrize(
        ("environ", "severity"),
        [
            ({}, Severity.WARNING),
            ({ALLOW: "false"}, Severity.WARNING),
            ({ALLOW: "perhaps"}, Severity.WARNING),
            ({PROTECTED: "true"}, Severity.ALERT),
            ({PROTECTED: "perhaps"}, Severity.ALERT),
        ],
    )
    def test_temporary_keys(self, checker: Checker, environ: dict[str, str], severity: Severity) -> None:
        """One line, once: a temporary key is not said to expire soon as well."""
        soon = {f"{V1}_EXPIRES_AT": "2026-12-01T12:30:00Z"}
        report = checker(good_keys() | soon | {"ROBODJ_SECRETS_EPHEMERAL": "1"} | environ)
        (finding,) = (each for each in report.findings if each.check == "ephemeral")
        assert finding.severity is severity
        assert ("expiring", K1) not in found(report)


class TestOwners:
    """Another ordinary user who owns the list or a directory on the way to it can replace it."""

    @root_only
    @pytest.mark.parametrize(
        ("owned", "phrase"),
        [
            ("list", "it is owned by another ordinary user"),
            ("config", "its directory is owned by another ordinary user"),
            ("parent", "a directory on the way to it is owned by another ordinary user"),
        ],
    )
    def test_a_list(self, checker: Checker, tmp_path: Path, owned: str, phrase: str) -> None:
        """It is a warning, and says which of them."""
        path = checker.write(LIST, "# none\n", 0o644)
        os.chown({"list": path, "config": checker.config, "parent": tmp_path}[owned], 65534, -1)
        report = checker(good_keys())
        assert found(report) == [("file-permissions", None)]
        assert report.ok
        assert report.findings[0].message == (
            f"The revocation list {LIST} in the configured directory could be changed by others: {phrase}."
        )

    @root_only
    def test_no_list(self, checker: Checker) -> None:
        """Whoever owns the directory may have taken the list away."""
        os.chown(checker.config, 65534, -1)
        report = checker(good_keys())
        assert found(report) == [("file-permissions", None)]
        assert report.findings[0].message.startswith("The directory of the revocation list")

    @posix_only
    def test_a_directory_that_cannot_be_judged(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is said of owners that are unknown."""
        monkeypatch.setattr("robodj_secretguard.textfile.judge_way", _raise)
        assert found(checker(good_keys())) == []


def _raise(*_: object) -> None:
    raise PermissionError


class TestModes:
    """A directory that others may write."""

    @posix_only
    def test_the_fix_of_a_clone_under_umask_0(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The commands of the line are enough, and the next start passes."""
        root = tmp_path / "clone"
        (root / "config").mkdir(parents=True)
        (root / "config" / LIST).write_text("# none\n")
        for path, mode in ((root, 0o777), (root / "config", 0o777), (root / "config" / LIST, 0o666)):
            path.chmod(mode)
        monkeypatch.chdir(root)

        def remedy(report: Report) -> str:
            assert found(report) == [("revocation-list", None)]
            return report.findings[0].remedy

        said = remedy(check(environ=good_keys(), now=NOW))
        assert "chmod -R go-w config" in said
        assert "every directory above it that others may write" in said
        os.system("chmod -R go-w config")  # noqa: S605, S607 - as the line says
        assert "every directory above it" in remedy(check(environ=good_keys(), now=NOW))
        os.system("chmod go-w .")  # noqa: S605, S607
        assert found(check(environ=good_keys(), now=NOW)) == []

    @posix_only
    def test_a_key_file_on_a_read_only_mount(self, tmp_path: Path) -> None:
        """No chmod is advised: it would fail there."""
        volume = tmp_path / "config"
        volume.mkdir()
        volume.chmod(0o777)
        (volume / "secret.key").write_text(good_keys()[V1])
        (volume / "secret.key").chmod(0o600)
        script = "from robodj_secretguard import check; print(*[f.remedy for f in check().findings], sep='\\n')"
        env = clean_environment() | good_keys()
        del env[V1]
        mounts = [f"mount --bind {volume} {volume}", f"mount -o remount,bind,ro {volume}"]
        ran = run_with_mounts(mounts, [sys.executable, "-c", script], env=env, cwd=tmp_path)
        assert ran.out.splitlines()[1:] == [
            f"Deliver the key as {V1} instead: the mount is read-only, and chmod fails there."
        ]

    @posix_only
    @pytest.mark.parametrize(("option", "expected"), [("ro", "file-permissions"), ("rw", "revocation-list")])
    def test_a_volume_that_is_read_only(self, tmp_path: Path, option: str, expected: str) -> None:
        """A ConfigMap's directory is root's 0777: nobody can write through a read-only mount, so it is a warning."""
        volume = tmp_path / "config"
        volume.mkdir()
        volume.chmod(0o777)
        (volume / LIST).write_text("# none\n")
        (volume / LIST).chmod(0o644)
        script = "from robodj_secretguard import check; r = check(); print([str(f.check) for f in r.findings], r.ok)"
        mounts = [f"mount --bind {volume} {volume}", f"mount -o remount,bind,{option} {volume}"]
        env = clean_environment() | good_keys()
        ran = run_with_mounts(mounts, [sys.executable, "-c", script], env=env, cwd=tmp_path)
        assert (ran.status, ran.out, ran.err) == (0, f"['{expected}'] {option == 'ro'}\n", "")
