"""The deployment files: the checkers of their formats accept them, and their real commands are run.

The files are copied into a copy of the example service, unchanged, as docs/deployment.md tells its reader. Only the
full sessions run these tests: they need the extra `hosts`.
"""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from conftest import TIMEOUT, V1, V2, Ran, clean_environment, free_port, good_keys, marker, put, run
from detector import leaks

from robodj_secretguard import check
from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.startup.report import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

pytest.importorskip("supervisor", reason="the extra `hosts` is not installed: nox -s hosts")
YAML = pytest.importorskip("ruamel.yaml").YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"
FILES = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file())
UNIT, MANIFEST, SUPERVISORD = "deploy/robodj.service", "deploy/kubernetes.yaml", "deploy/supervisord.conf"
AGENT, AGENT_UNIT = "deploy/openbao-agent.hcl", "deploy/openbao-agent.service"
ROTATE_UNIT, TIMER, CRON_JOB = "deploy/robodj-rotate.service", "deploy/robodj-rotate.timer", "deploy/rotate.yaml"
EXTERNAL, PROVIDER = "deploy/external-secret.yaml", "deploy/secret-provider-class.yaml"
WORKFLOW = ".github/workflows/secret-gate.yml"
IMAGES = {"Dockerfile", "compose.yaml", MANIFEST}
DOCS = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
PROGRAMS = Path(sysconfig.get_path("scripts"))
ON_THE_HOST = "/opt/robodj"
KEY_FILES = "/run/robodj/secrets"
IN_CONTAINER = "/run/secrets/robodj"
ENVIRONMENT = "ROBODJ_ENVIRONMENT"
NAMES = {ENVIRONMENT, "ROBODJ_SERVICE", "ROBODJ_INSTANCE", "ROBODJ_SECRET_EVENTS", "ROBODJ_SECRET_HEARTBEAT"}
"""What lets `fleet` prove which keys run."""
PROTECTED, SECRETS_DIR, REFRESH = "ROBODJ_PROTECTED_ENV", "ROBODJ_SECRETS_DIR", "ROBODJ_SECRETS_REFRESH"
KEYS = {V1, V2}
ALWAYS = KEYS | {f"{variable}_EXPIRES_AT" for variable in KEYS} | {"ROBODJ_REVOKED_FINGERPRINTS"}
SLOTS = {f"{variable}_{slot}" for variable in KEYS for slot in ("NEXT", "PREVIOUS", "PREVIOUS_UNTIL")}
HANDED_ON = ALWAYS | SLOTS | {ENVIRONMENT}
POD = "robodj-backend-0"
PORT = "8000"
UNITS = (UNIT, AGENT_UNIT, ROTATE_UNIT, TIMER)
MANAGER = "vault:secret/robodj"
"""The source of the page's commands."""
CRDS = os.environ.get("SECRETGUARD_CRDS", "")
"""A directory with the schemas of custom resources, laid out as datreeio/CRDs-catalog is. No package index has them."""

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(os.name == "nt", reason="these files and their shells are for POSIX"),
]


def text_of(name: str) -> str:
    """Read a deployment file."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def documents(name: str) -> list[Any]:
    """Parse a deployment file that is YAML."""
    return list(YAML(typ="safe").load_all(text_of(name)))


def with_programs(*before: Path) -> str:
    """Return a path with the programs of this Python."""
    return os.pathsep.join([*map(str, before), str(PROGRAMS), os.environ["PATH"]])


def localized(text: str, *, service: Path, port: int) -> str:
    """Replace the host's paths and port with those of this machine."""
    text = re.sub(f"{KEY_FILES}|{IN_CONTAINER}", str(service.parent / "secrets"), text)
    text = text.replace("/var/log/robodj", str(service.parent)).replace("%H", "host-1")
    text = text.replace(PORT, str(port)).replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is replaced
    return text.replace(f"{ON_THE_HOST}/venv/bin/", f"{PROGRAMS}/").replace(f"{ON_THE_HOST}/service", str(service))


@dataclass(frozen=True)
class Start:
    """How a deployment file starts the service.

    Attributes:
        command: the command.
        settings: the variables that the file sets.
        is_volume: whether Kubernetes writes the directory.
    """

    command: list[str]
    settings: dict[str, str]
    is_volume: bool = False

    def env(self, outside: Mapping[str, str], service: Path) -> dict[str, str]:
        """Return the service's environment: the file's settings, and what it takes from outside without a directory."""
        passed = {} if self.directory else {name: value for name, value in outside.items() if name in HANDED_ON}
        settings = {name: localized(value, service=service, port=0) for name, value in self.settings.items()}
        return clean_environment() | {"PATH": with_programs()} | passed | settings

    @property
    def directory(self) -> str | None:
        """The secrets directory; `None` where the keys are in the environment."""
        return self.settings.get(SECRETS_DIR)

    def deliver(self, outside: Mapping[str, str], directory: Path) -> None:
        """Write the files as the engine does: Kubernetes all at once, and an agent one after the other."""
        if self.is_volume:
            directory.chmod(0o1777)
            version = Path(tempfile.mkdtemp(prefix="..", dir=directory))
            version.chmod(0o755)
        for name in HANDED_ON:
            if self.is_volume:
                put(version / name, outside.get(name, ""), 0o444)
                if not (directory / name).is_symlink():
                    (directory / name).symlink_to(f"..data/{name}")
            else:
                put(directory.parent / name, outside.get(name, ""), 0o444).replace(directory / name)
        if self.is_volume:
            (directory / "..data_tmp").symlink_to(version.name)
            (directory / "..data_tmp").replace(directory / "..data")


def _compose() -> Start:
    (document,) = documents("compose.yaml")
    backend = document["services"]["backend"]
    return Start(backend["command"], backend["environment"])


def _dockerfile() -> Start:
    text = text_of("Dockerfile")
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    settings = dict(re.findall(r"^ENV (ROBODJ_\w+)=(\w+)$", text, re.MULTILINE))
    return Start(json.loads(command), settings)


def _systemd() -> Start:
    text = text_of(UNIT)
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    settings = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    return Start(shlex.split(command), settings)


def _kubernetes() -> Start:
    (container,) = documents(MANIFEST)[0]["spec"]["template"]["spec"]["containers"]
    settings = {each["name"]: each.get("value", POD) for each in container["env"]}
    return Start(container["command"], settings, is_volume=True)


def _supervisord() -> Start:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text_of(SUPERVISORD))
    program = parser["program:robodj"]
    settings = dict(re.findall(r'(\w+)="([^"]*)"', program["environment"]))
    return Start(shlex.split(program["command"]), settings)


STARTS = {
    "compose.yaml": _compose(),
    "Dockerfile": _dockerfile(),
    UNIT: _systemd(),
    MANIFEST: _kubernetes(),
    SUPERVISORD: _supervisord(),
}
starts = pytest.mark.parametrize("name", STARTS)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A copy of the example service, without key files, and with the deployment files. Next to it, no secrets."""
    copy = tmp_path / "service"
    (tmp_path / "secrets").mkdir()
    shutil.copytree(ROOT / "examples" / "robodj_service", copy, ignore=shutil.ignore_patterns("__pycache__", "*.key"))
    shutil.copytree(DEPLOY, copy, dirs_exist_ok=True)
    (copy / "config").chmod(0o755)
    return copy


def instructions() -> list[list[str]]:
    """Return each instruction of the Dockerfile: its name, and the rest of its line."""
    text = re.sub(r"^#.*\n", "", text_of("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line]


@pytest.fixture
def image(service: Path, tmp_path: Path) -> Path:
    """The image's root: what the `COPY` lines of the last stage copy, without what `.dockerignore` names."""
    patterns = [line for line in text_of(".dockerignore").splitlines() if not line.startswith("#")]
    assert {pattern[:3] for pattern in patterns} == {"**/"}  # names, in every directory
    context, root = tmp_path / "context", tmp_path / "image"
    shutil.copytree(service, context, ignore=shutil.ignore_patterns(*(pattern[3:] for pattern in patterns)))
    lines = instructions()
    directory = root
    for name, rest in lines[max(at for at, (name, _) in enumerate(lines) if name == "FROM") :]:
        if name == "WORKDIR":
            directory = root / rest.strip("/")
        elif name == "COPY" and "--from=" not in rest:
            *sources, target = rest.split()
            for source in sources:
                if (context / source).is_dir():
                    shutil.copytree(context / source, directory / target)
                else:
                    assert target.endswith("/")
                    (directory / target).mkdir(parents=True, exist_ok=True)
                    shutil.copy(context / source, directory / target)
    return root


@pytest.fixture
def srv(image: Path) -> Path:
    """The image's working directory."""
    (directory,) = (rest for name, rest in instructions() if name == "WORKDIR")
    return image / directory.strip("/")


@pytest.fixture
def place(name: str, service: Path, request: pytest.FixtureRequest) -> Path:
    """Where a file starts the service: in the image, or in the repository."""
    found: Path = request.getfixturevalue("srv") if name in IMAGES else service
    return found


def bad_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Cut one key short."""
    return {**keys, V1: keys[V1][:20]}


class TestEveryFile:
    """Rules for all files in `examples/deploy`."""

    def test_these_are_the_files(self) -> None:
        """The files are those that this module tests."""
        engines = [AGENT, AGENT_UNIT, EXTERNAL, PROVIDER]
        rotation = [ROTATE_UNIT, TIMER, CRON_JOB]
        assert sorted([*STARTS, *engines, *rotation, WORKFLOW, "launcher.bat", ".dockerignore"]) == FILES

    def test_the_page_names_each(self) -> None:
        """The page's first table has the path of each file in the service's repository."""
        (table,) = re.findall(r"^\| for \| files \|\n(.*?)\n\n", DOCS, re.MULTILINE | re.DOTALL)
        assert sorted(re.findall(r"`(.*?)`", table)) == FILES

    @pytest.mark.parametrize("name", [*STARTS, WORKFLOW, CRON_JOB, "launcher.bat"])
    def test_key_files_are_off(self, name: str) -> None:
        """Each file that starts a guarded program sets `ROBODJ_PROTECTED_ENV` to true, outside of comments."""
        lines = [line for line in text_of(name).splitlines() if not line.lstrip().startswith(("#", ";", "rem"))]
        settings = re.findall(rf"{PROTECTED}\W+(?:value: )?\W*(\w+)", "\n".join(lines))
        assert settings == ["true"]

    @pytest.mark.parametrize("name", [*FILES, "deployment.md"])
    def test_no_word_of_a_file_is_a_valid_key(self, name: str, tmp_path: Path) -> None:
        """No word of a file or of the page is a valid key."""
        text = DOCS if name == "deployment.md" else text_of(name)
        words = set(re.findall(r"[A-Za-z0-9_-]+", text))
        environs = [{V1: word, V2: word} for word in words]
        reports = [check(environ=environ, config_dir=tmp_path) for environ in environs]
        assert {secret.state for report in reports for secret in report.secrets} == {"invalid-format"}

    @starts
    def test_command_is_the_gate_of_a_directory(self, name: str) -> None:
        """The command is the gate and the server. The keys come from a directory, except in the image alone."""
        start = STARTS[name]
        line = " ".join(start.command).replace(f"{ON_THE_HOST}/venv/bin/", "")
        assert "robodj-secretguard exec -- uvicorn app.main:app " in line
        live = {} if name == "Dockerfile" else {SECRETS_DIR, REFRESH, *NAMES}
        assert set(start.settings) == {PROTECTED, *live}
        assert start.settings.get(REFRESH, "30") == "30"
        assert start.directory in ({None} if name == "Dockerfile" else {KEY_FILES, IN_CONTAINER})


def program(name: str) -> str:
    """Find a checker that is not a Python package, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, and no Python package has it")
    return found


def checked(name: str, path: Path) -> list[Ran]:
    """Run the checkers of a deployment file on a copy of it."""
    newest = ("--strict", "--kubernetes-version")
    commands: dict[str, list[list[str]]] = {
        "compose.yaml": [["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]],
        WORKFLOW: [
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)],
            ["zizmor", "--offline", "--no-progress", "--config", str(path.with_name("zizmor.yml")), str(path)],
        ],
        MANIFEST: (kubernetes := [["kubernetes-validate", *newest, each, str(path)] for each in ("1.28", "1.31")]),
        CRON_JOB: kubernetes,
        "Dockerfile": [["hadolint", str(path)]],
    }
    # Zizmor requires pinned commits, but nobody here has reviewed those commits.
    policy = "rules: {unpinned-uses: {config: {policies: {'*': ref-pin}}}}\n"
    path.with_name("zizmor.yml").write_text(policy, encoding="utf-8")
    env = clean_environment()
    return [
        run([str(PROGRAMS / command[0]), *command[1:]], env=env, cwd=path.parent, python=False)
        for command in commands[name]
    ]


class TestCheckers:
    """The checkers of each format, which need no network."""

    @pytest.mark.parametrize(
        ("name", "right", "wrong"),
        [
            *[(name, "", "") for name in ("compose.yaml", MANIFEST, CRON_JOB, WORKFLOW, "Dockerfile")],
            ("compose.yaml", "core: 0", "core: [0]"),
            (MANIFEST, "projected:", "project:"),
            (CRON_JOB, "concurrencyPolicy:", "concurrency:"),
            (WORKFLOW, "runs-on:", "run-on:"),
            (WORKFLOW, "run: python -m pip", "run: echo ${{ github.event.head_commit.message }} #"),
            ("Dockerfile", "USER 10001", "USER root"),
        ],
    )
    def test_checkers_accept_the_file_and_find_a_mistake(
        self, name: str, right: str, wrong: str, tmp_path: Path
    ) -> None:
        """The schema and the linters of its format accept each file, and find a planted mistake."""
        copy = tmp_path / Path(name).name
        assert right in text_of(name)
        copy.write_text(text_of(name).replace(right, wrong), encoding="utf-8")
        complaints = [ran.out + ran.err for ran in checked(name, copy) if ran.status]
        assert bool(complaints) is bool(wrong), complaints

    def test_actionlint_accepts_the_workflow(self) -> None:
        """The workflow passes actionlint, if it is installed."""
        command = [program("actionlint"), str(DEPLOY / WORKFLOW)]
        ran = run(command, env=clean_environment(), cwd=DEPLOY, python=False)
        assert (ran.status, ran.out + ran.err) == (0, "")

    def test_docker_compose_accepts_the_file(self, tmp_path: Path) -> None:
        """Docker-compose accepts the file, if it is installed."""
        command = [program("docker-compose"), "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
        ran = run(command, env=clean_environment(), cwd=tmp_path, python=False)
        assert (ran.status, ran.out + ran.err) == (0, "")

    @pytest.mark.skipif(not CRDS, reason="SECRETGUARD_CRDS is not set: a copy of datreeio/CRDs-catalog")
    @pytest.mark.parametrize("wrong", ["", "spec"])
    @pytest.mark.parametrize("name", [EXTERNAL, PROVIDER])
    def test_custom_resources_pass_their_schemas(self, name: str, wrong: str, tmp_path: Path) -> None:
        """The manifests for External Secrets and the CSI driver pass the schemas of their projects."""
        for number, each in enumerate(documents(name)):
            group, _, version = each["apiVersion"].partition("/")
            schema = Path(CRDS, group, f"{each['kind'].lower()}_{version}.json")
            if version:
                copy = put(tmp_path / f"{number}.json", json.dumps(each | {wrong: {"mistake": 1}} if wrong else each))
                command = [str(PROGRAMS / "check-jsonschema"), "--schemafile", str(schema), str(copy)]
                ran = run(command, env=clean_environment(), cwd=tmp_path, python=False)
                assert bool(ran.status) is bool(wrong), ran.out


class TestSystemd:
    """The units and the timer."""

    def analyze(self, *arguments: str, name: str, text: str, cwd: Path) -> Ran:
        """Run systemd-analyze on a unit, beside the others."""
        for other in UNITS:
            here = text if other == name else text_of(other)
            here = localized(here, service=cwd, port=int(PORT)).replace("/usr/bin/bao", "/bin/true")
            put(cwd / Path(other).name, here, 0o644)
        command = [program("systemd-analyze"), *arguments, str(cwd / Path(name).name)]
        return run(command, env=clean_environment() | {"SYSTEMD_UNIT_PATH": f"{cwd}:"}, cwd=cwd, python=False)

    @pytest.mark.parametrize("name", UNITS)
    def test_systemd_accepts_the_unit(self, name: str, tmp_path: Path) -> None:
        """Systemd accepts each unit, and reports a misspelled setting."""
        right = self.analyze("verify", name=name, text=text_of(name), cwd=tmp_path)
        assert (right.status, right.out + right.err) == (0, "")
        wrong = text_of(name).replace("Description=", "Descriptions=")
        assert "Descriptions" in self.analyze("verify", name=name, text=wrong, cwd=tmp_path).err

    @pytest.mark.parametrize("name", [UNIT, AGENT_UNIT, ROTATE_UNIT])
    def test_exposure_of_the_unit_is_low(self, name: str, tmp_path: Path) -> None:
        """The exposure of each service is 2.0 of 10 or less."""
        limit = ("security", "--offline=true", "--threshold=20", "--no-pager")
        ran = self.analyze(*limit, name=name, text=text_of(name), cwd=tmp_path)
        assert ran.status == 0, ran.out

    def test_unit_comes_back_after_any_end(self) -> None:
        """Systemd starts the service again after any end, without a limit, and writes no core dump."""
        lines = set(text_of(UNIT).splitlines())
        assert {"Restart=always", "RestartSec=30", "LimitCORE=0"} <= lines
        assert not [line for line in lines if line.startswith(("RestartPreventExitStatus", "StartLimit"))]


@contextlib.contextmanager
def running(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Iterator[str]]:
    """Run a command, yield its lines, and end it with all processes that it started, at the latest after a limit."""
    process = subprocess.Popen(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    limit = threading.Timer(TIMEOUT, kill)
    limit.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            try:
                yield iter(process.stdout)
            finally:
                process.terminate()
                process.stdout.read()
                process.wait()
    finally:
        kill()
        limit.cancel()
        limit.join()


def until(lines: Iterator[str], text: str) -> list[str]:
    """Read lines up to one that contains a text. Fail if there is none."""
    read = []
    for line in lines:
        read.append(line)
        if text in line:
            return read
    pytest.fail(f"no line has {text!r}: {read}")


def answer(port: int) -> int:
    """Request `/ready` when the port is open, and return the status."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/ready")
                return connection.getresponse().status
        except ConnectionRefusedError:  # uvicorn's workers do not report that it is open
            assert time.monotonic() < deadline
            time.sleep(0.02)


class TestStarts:
    """The command of each file, with the file's settings, where the file starts it."""

    def command(self, name: str, place: Path, port: int) -> list[str]:
        return [localized(word, service=place, port=port) for word in STARTS[name].command]

    def deliver(self, name: str, place: Path, keys: Mapping[str, str]) -> dict[str, str]:
        """Deliver the keys as the file does, and return the environment of its command."""
        directory = place.parent / "secrets"
        directory.mkdir(exist_ok=True)
        STARTS[name].deliver(keys, directory)
        return STARTS[name].env(keys, place)

    @starts
    def test_bad_key_and_missing_list_are_refused(self, name: str, place: Path) -> None:
        """A bad key and a missing list are one ALERT each, with status 3, and no server starts."""
        keys = good_keys()
        (place / "config" / "revoked.fingerprints").unlink()
        command = self.command(name, place, free_port())
        env = self.deliver(name, place, bad_keys(keys))
        ran = run(command, env=env, cwd=place, keys=list(keys.values()), python=False)
        checks = {each for line in ran.alerts for each in ("format:", "revocation-list:") if each in line.split()[1:3]}
        assert (ran.status, len(ran.alerts), checks) == (3, 2, {"format:", "revocation-list:"})
        assert "uvicorn" not in (ran.out + ran.err).lower()

    @pytest.mark.parametrize("name", [*sorted(IMAGES), UNIT])
    def test_good_keys_start_the_service(self, name: str, place: Path) -> None:
        """With good keys the service answers the file's probe, and shows no key.

        The health check of compose succeeds while the service runs, and fails afterwards.
        """
        keys, port = good_keys(), free_port()
        env = self.deliver(name, place, keys)
        kind, *probe = documents("compose.yaml")[0]["services"]["backend"]["healthcheck"]["test"]
        probe = [localized(word, service=place, port=port) for word in probe]
        with running(self.command(name, place, port), env, place) as lines:
            written = until(lines, "Application startup complete")
            assert answer(port) == 200
            if name == "compose.yaml":
                healthy = run(probe, env=env, cwd=place, python=False)
                assert (kind, healthy.status, healthy.out + healthy.err) == ("CMD", 0, "")
        if name == "compose.yaml":
            assert run(probe, env=env, cwd=place, python=False).status == 1
        assert leaks("".join(written), list(keys.values())) == []

    @pytest.mark.parametrize("name", ["compose.yaml", MANIFEST, UNIT])
    def test_running_service_follows_its_directory(self, name: str, place: Path) -> None:
        """The service uses a next key that the engine writes, without a restart."""
        keys, port = good_keys(), free_port()
        env = self.deliver(name, place, keys) | {REFRESH: "1", "ROBODJ_SECRET_EVENTS": "stderr"}
        more = keys | {f"{V1}_NEXT": good_keys()[V1]}
        with running(self.command(name, place, port), env, place) as lines:
            written = until(lines, "Application startup complete")
            assert answer(port) == 200
            self.deliver(name, place, more)
            written += until(lines, '"secret_event": "switched"')
            assert answer(port) == 200
        assert leaks("".join(written), list(more.values())) == []

    def test_command_of_the_pod_writes_no_core_dump(self, service: Path) -> None:
        """The pod's command cannot write a core dump."""
        start = STARTS[MANIFEST]
        allowed = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)" && exec "$@"', "sh"]
        command = [*start.command[: start.command.index("--") + 1], "sh", "-c", "ulimit -c"]
        env = self.deliver(MANIFEST, service, good_keys())
        command = [localized(word, service=service, port=0) for word in command]
        ran = run([*allowed, *command], env=env, cwd=service, python=False)
        assert (ran.status, ran.out) == (0, "0\n")


def test_probes_and_gate_of_kubernetes_use_the_service() -> None:
    """Both probes use HTTP with the service's path and port. The gate reads the one volume of keys and markers."""
    deployment, other = documents(MANIFEST)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": int(PORT)}]
    assert f"--port={PORT}" in container["command"]
    assert (deployment["kind"], other["kind"]) == ("Deployment", "Service")
    mount, volume = container["volumeMounts"][0], pod["volumes"][0]
    assert mount == {"name": volume["name"], "mountPath": STARTS[MANIFEST].directory, "readOnly": True}  # no subPath
    names = [each["name"] for source in volume["projected"]["sources"] for each in source.values()]
    assert names == ["robodj-keys", "robodj-expiry", "robodj-revoked"]


class TestEngines:
    """What writes the directory: each engine delivers the variables of one secret to where the service reads them."""

    def test_external_secrets_write_all_fields_into_the_secret_of_the_pods(self) -> None:
        """The ExternalSecret takes all fields of the secret, often, and writes the Secret that the pods mount."""
        store, secret, _ = documents(EXTERNAL)
        assert secret["spec"]["secretStoreRef"] == {"kind": store["kind"], "name": store["metadata"]["name"]}
        assert store["spec"]["provider"]["vault"]["path"] == MANAGER.partition(":")[2].split("/")[0]
        assert secret["spec"]["dataFrom"] == [{"extract": {"key": MANAGER.rpartition("/")[2]}}]
        assert secret["spec"]["target"] == {"name": "robodj-keys", "deletionPolicy": "Retain"}
        assert secret["spec"]["refreshInterval"] == "1m"

    def test_the_driver_mounts_the_fields_that_always_exist(self) -> None:
        """The class names each field that always exists, and the comment has the volume for the manifest."""
        (provider,) = documents(PROVIDER)
        objects = YAML(typ="safe").load(provider["spec"]["parameters"]["objects"])
        path = MANAGER.partition(":")[2].replace("/", "/data/", 1)
        assert objects == [
            {"objectName": each["objectName"], "secretPath": path, "secretKey": each["objectName"]} for each in objects
        ]
        assert {each["objectName"] for each in objects} == ALWAYS | {ENVIRONMENT}
        comment = "".join(line[1:] for line in text_of(PROVIDER).splitlines(keepends=True) if line.startswith("#   "))
        (volume,) = YAML(typ="safe").load(comment)
        assert volume["name"] == "keys"
        assert volume["csi"]["volumeAttributes"] == {"secretProviderClass": provider["metadata"]["name"]}

    def test_the_agent_writes_each_variable(self) -> None:
        """The agent has a template for each variable. An absent field is an empty file."""
        text = text_of(AGENT)
        template = f'"{{{{ with secret \\"{MANAGER.partition(":")[2].replace("/", "/data/", 1)}\\" }}}}'
        found = re.findall(
            rf'destination = "{KEY_FILES}/(\w+)"\n *contents    = {re.escape(template)}(.*)"$', text, re.MULTILINE
        )
        assert {name for name, _ in found} == HANDED_ON
        assert all(
            rest == f"{{{{ with .Data.data.{name} }}}}{{{{ . }}}}{{{{ end }}}}{{{{ end }}}}" for name, rest in found
        )

    @pytest.mark.parametrize("name", [ROTATE_UNIT, CRON_JOB])
    def test_the_job_rotates_the_same_secret(self, name: str) -> None:
        """The timer and the CronJob run the command of the page on the secret that the engines read."""
        if name == CRON_JOB:
            (container,) = documents(name)[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
            words = container["command"]
        else:
            words = shlex.split(re.findall(r"^ExecStart=(.*)$", text_of(name), re.MULTILINE)[0])
        line = " ".join(words).replace("=", " ")
        assert f"robodj-secretguard rotate run --to {MANAGER} --environment prod --operator " in line


class TestImage:
    """`Dockerfile`."""

    def build_command(self) -> str:
        (command,) = (rest for name, rest in instructions() if name == "RUN" and "--ephemeral" in rest)
        return command

    def test_has_the_service_and_no_key(self, service: Path, request: pytest.FixtureRequest) -> None:
        """The image has what the service needs, and no key, no .env file and no history."""
        for name in (
            ".git/config",
            ".env",
            "app/.env.local",
            "app/secret.key",
            "app/.secret.key.swp",
            "config/secret.key",
        ):
            (service / name).parent.mkdir(exist_ok=True)
            (service / name).touch()
        image: Path = request.getfixturevalue("image")
        assert sorted(path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file()) == [
            "srv/robodj/app/__init__.py",
            "srv/robodj/app/main.py",
            "srv/robodj/config/revoked.fingerprints",
            "srv/robodj/pyproject.toml",
            "srv/robodj/service_secrets.py",
        ]

    def test_first_stage_installs_the_requirements_alone(self, service: Path, tmp_path: Path) -> None:
        """The first stage makes an environment from the requirements alone. Here, pip finds them installed."""
        stages = instructions()
        (_, _), (copy, copied), (_, installation) = stages[: [name for name, _ in stages].index("FROM", 1)]
        assert (copy, copied) == ("COPY", "requirements.txt /build/")
        env = clean_environment() | {"PATH": with_programs(), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        venv = tmp_path / "venv"
        made, installed = installation.replace("/opt/robodj", str(venv)).replace("/build/", f"{service}/").split(" && ")
        assert run(["sh", "-c", made], env=env, cwd=tmp_path, python=False).status == 0
        (packages,) = venv.glob("lib/python*/site-packages")
        here = sysconfig.get_path("purelib")
        (packages / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
        ran = run(["sh", "-c", installed], env=env, cwd=tmp_path, python=False)
        lines = (service / "requirements.txt").read_text(encoding="utf-8").splitlines()
        required = [line for line in lines if not line.startswith("#")]
        assert (ran.status, [name for name in required if f"already satisfied: {name} " not in ran.out]) == (0, [])

    def test_imports_the_service_without_keys(self, srv: Path) -> None:
        """The build's command imports the guarded service without a key, from what the image has."""
        env = STARTS["Dockerfile"].env({}, srv)
        del env[PROTECTED]
        ran = run(["sh", "-c", self.build_command()], env=env, cwd=srv, python=False)
        assert (ran.status, ran.alerts) == (0, [])

    def test_that_command_is_for_the_build_alone(self, srv: Path) -> None:
        """The image's settings, which come after the build's command, refuse it."""
        ran = run(["sh", "-c", self.build_command()], env=STARTS["Dockerfile"].env({}, srv), cwd=srv, python=False)
        assert ran.status == 3
        text = text_of("Dockerfile")
        assert text.index("--ephemeral") < text.index(f"ENV {PROTECTED}")


FENCES = re.findall(r"^([^\n]*)\n```\w+\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
"""The line before each block of the page, and the block."""
TESTED = [block for line, block in FENCES if line == "<!-- tested: tests/trials/test_deploy.py -->"]


def block(*words: str) -> str:
    """Return the tested block of the page that has all these words."""
    (found,) = (block for block in TESTED if all(word in block for word in words))
    return str(found)


# Each is run by a test.
BLOCKS = {
    "umask": block("chmod -R go-w"),
    "compose": block("docker compose up"),
    "key files": block("mkdir -p /run/robodj/secrets"),
    "kubernetes": block("kubectl create"),
    "supervisord": block("supervisord --configuration"),
    "events of systemd": block("journalctl"),
    "events of compose": block("docker compose logs"),
    "events of Kubernetes": block("kubectl logs"),
    "events of supervisord": block("ssh web-1 cat"),
    "fleet": block("fleet --events"),
    "github": block("gh secret set"),
}
FAKE_CLIENT = """\
#!/bin/sh
echo "$*" >>"${0%/*}/arguments"
cat >>"${0%/*}/read"
"""
"""A fake client: it keeps its arguments, and what it reads."""


def install(directory: Path, name: str, text: str) -> None:
    """Write an executable program."""
    (directory / name).write_text(text, encoding="utf-8")
    (directory / name).chmod(0o755)


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A directory for fake programs that comes first on the path."""
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


@pytest.fixture
def keys(fakes: Path) -> dict[str, str]:
    """Keys in a directory, which takes the place of the manager."""
    keys = good_keys()
    (fakes / "manager").mkdir()
    for name, key in keys.items():
        put(fakes / "manager" / name, key, 0o600)
    return keys


def with_fakes(fakes: Path) -> dict[str, str]:
    """Return an environment with the fake programs first on the path."""
    return clean_environment() | {"PATH": with_programs(fakes)}


class TestSupervisord:
    """`supervisord.conf`, in a real supervisord."""

    @pytest.fixture
    def port(self) -> int:
        return free_port()

    @pytest.fixture
    def conf(self, service: Path, port: int) -> Path:
        """The file with this machine's paths."""
        text = localized(text_of(SUPERVISORD), service=service, port=port)
        path = service.parent / "supervisord.conf"
        path.write_text(text.replace("/run/robodj/", f"{service.parent}/"), encoding="utf-8")
        return path

    def ctl(self, conf: Path, *arguments: str) -> str:
        """Run supervisorctl."""
        command = ["-m", "supervisor.supervisorctl", "--configuration", str(conf), *arguments]
        return run(command, env=clean_environment(), cwd=conf.parent).out

    def supervisord(self, conf: Path) -> contextlib.AbstractContextManager[Iterator[str]]:
        """Run the page's command."""
        text = BLOCKS["supervisord"].replace("/etc/supervisord.conf", str(conf))
        command = ["sh", "-euc", text.replace("/var/log/robodj", str(conf.parent))]
        return running(command, clean_environment() | {"PATH": with_programs()}, conf.parent)

    def test_refused_service_comes_back_with_good_keys(self, conf: Path, port: int) -> None:
        """A refused service is started again, with pauses, until a good key arrives."""
        keys = good_keys()
        STARTS[SUPERVISORD].deliver(bad_keys(keys), conf.parent / "secrets")
        with self.supervisord(conf) as lines:
            written = until(lines, "spawned: ") + until(lines, "spawned: ")
            STARTS[SUPERVISORD].deliver(keys, conf.parent / "secrets")
            written += until(lines, "Uvicorn running on")
            assert answer(port) == 200
            self.ctl(conf, "shutdown")
            written += list(lines)
        text = "".join(written)
        assert "exited: robodj (exit status 3; not expected)" in text
        assert text.count("ALERT: secret.key: format: ") == text.count("spawned: ") - 1
        assert leaks(text, list(keys.values())) == []

    def test_good_keys_start_the_service(self, conf: Path, port: int) -> None:
        """With good keys, the page's command starts the service, which stops with supervisord."""
        keys = good_keys()
        STARTS[SUPERVISORD].deliver(keys, conf.parent / "secrets")
        with self.supervisord(conf) as lines:
            written = until(lines, "Uvicorn running on")
            assert answer(port) == 200
            self.ctl(conf, "shutdown")
            written += list(lines)
        text = "".join(written)
        assert (text.count("spawned: "), text.count("stopped: robodj")) == (1, 1)
        assert leaks(text, list(keys.values())) == []


def journal_line(line: str) -> str:
    """Return a line of the journal of a host."""
    fields = {"MESSAGE": line, "_HOSTNAME": "host-1", "_SYSTEMD_UNIT": "robodj.service", "_STREAM_ID": "1"}
    return json.dumps(fields)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
class TestProof:
    """The commands of the page, on what each file's service has said."""

    COLLECTED: ClassVar[dict[str, tuple[str, str, Callable[[str], str], str]]] = {
        UNIT: ("events of systemd", "ssh", journal_line, "host-1"),
        "compose.yaml": ("events of compose", "docker", str, "backend"),
        MANIFEST: ("events of Kubernetes", "kubectl", f"[pod/{POD}/backend] {{}}".format, POD),
        SUPERVISORD: ("events of supervisord", "ssh", str, platform.node()),
    }
    """By file: the block of the page, the program that reads the logs, a line of them, and the instance."""

    @pytest.mark.parametrize("name", COLLECTED)
    def test_it_is_obtained(self, name: str, place: Path, fakes: Path, keys: dict[str, str]) -> None:
        """The events of the started service name its instance. With that name, they are a proof, if all were read."""
        block, client, line_of, instance = self.COLLECTED[name]
        port, log = free_port(), place.parent / "log"
        starts = TestStarts()
        env = starts.deliver(name, place, keys | {ENVIRONMENT: "prod"})
        env = {key: value.replace("%(host_node_name)s", platform.node()) for key, value in env.items()}
        events = place.parent / "events.jsonl"
        with running(starts.command(name, place, port), env, place) as lines:
            said = until(lines, "secret_event") if name != SUPERVISORD else []
            assert answer(port) == 200
            said += events.read_text(encoding="utf-8").splitlines() if name == SUPERVISORD else []
        put(log, "".join(f"{line_of(line.rstrip())}\n" for line in said))
        install(fakes, client, f"#!/bin/sh\ncat {log}\n")
        logs = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
        (functions,) = re.findall(r"```sh\n(events\(\).*?)```", logs, re.DOTALL)
        functions = functions.replace("examples/monitoring", str(ROOT / "examples" / "monitoring"))
        fleet = BLOCKS["fleet"].replace(MANAGER, f"directory:{fakes / 'manager'}").rstrip()
        put(fakes / "manager" / ENVIRONMENT, "prod", 0o600)
        script = functions + BLOCKS[block] + fleet
        found = run(["sh", "-euc", script], env=with_fakes(fakes), cwd=place, python=False)
        assert f"pass --instances {instance}." in found.out, found.out + found.err
        script += f" --instances {instance}"
        ran = run(["sh", "-euc", script], env=with_fakes(fakes), cwd=place, python=False)
        assert (ran.status, ran.out.splitlines()[-1]) == (0, "moved: proven for every service.")
        install(fakes, client, f"#!/bin/sh\ncat {log}\nexit 1\n")
        ran = run(["sh", "-euc", script], env=with_fakes(fakes), cwd=place, python=False)
        assert "unknown: 1 line could not be read as an event, first " in ran.out


class TestGitHubActions:
    """The gate's step of `github-actions.yml`, run as GitHub runs it."""

    def gate(self, service: Path, variables: Mapping[str, str]) -> Ran:
        """Run the step with the secrets and variables of a repository. An unset one is empty, as on GitHub."""
        (step,) = (each for each in documents(WORKFLOW)[0]["jobs"]["gate"]["steps"] if "env" in each)
        env = clean_environment() | {
            name: re.sub(r"\$\{\{ (?:secrets|vars)\.(\w+) \}\}", lambda found: variables.get(found[1], ""), value)
            for name, value in step["env"].items()
        }
        keys = [variables[name] for name in KEYS if variables[name]]
        return run(
            ["sh", "-ec", step["run"]], env=env | {"PATH": with_programs()}, cwd=service, keys=keys, python=False
        )

    def test_one_step_has_the_secrets(self) -> None:
        """The job may only read the repository, and only the gate's step gets secrets."""
        (workflow,) = documents(WORKFLOW)
        job = workflow["jobs"]["gate"]
        assert (workflow["permissions"], job["permissions"]) == ({}, {"contents": "read"})
        assert ["secrets." in str(step) for step in job["steps"]] == [False, False, False, True]
        assert "secrets." not in str({**job, "steps": []})

    @pytest.mark.parametrize(
        ("environ", "has_list", "status", "line"),
        [
            ({}, True, 0, PASSED),
            ({V1: ""}, True, 1, "ALERT: secret.key: missing:"),
            ({}, False, 1, "ALERT: revocation-list:"),
            ({f"{V1}_EXPIRES_AT": "9000-01-01T00:00:00Z"}, True, 1, "WARNING: secret.key: cadence:"),
        ],
        ids=["good", "not set", "no list", "warning"],
    )
    def test_gate_of_the_workflow_stops_a_release(
        self,
        service: Path,
        environ: dict[str, str],
        has_list: bool,  # noqa: FBT001
        status: int,
        line: str,
    ) -> None:
        """The gate checks the service's model. An unset secret, a missing list or a warning stops a release."""
        if not has_list:
            (service / "config" / "revoked.fingerprints").unlink()
        ran = self.gate(service, good_keys() | environ)
        assert (ran.status, any(each.startswith(line) for each in ran.out.splitlines())) == (status, True)


class TestLauncher:
    """The text of `launcher.bat`, which cannot run here without cmd.exe."""

    def test_its_text_stops_on_a_refusal(self) -> None:
        """The setting comes before the gate, the app after it, and the next line stops the launcher."""
        lines = (DEPLOY / "launcher.bat").read_bytes().decode("ascii").split("\r\n")
        assert "\n" not in "".join(lines)
        (gate,) = (at for at, line in enumerate(lines) if "robodj-secretguard.exe" in line)
        assert f'set "{PROTECTED}=true"' in lines[:gate]
        assert lines[gate].split()[1:3] == ["exec", "--"]
        assert "-m app" in lines[gate]
        assert lines[gate + 1] == "if %errorlevel% equ 3 ("
        assert lines[gate + 1 : lines.index(")")][-1].strip() == "exit /b 3"
        assert lines[lines.index(")") + 1] == "if %errorlevel% neq 0 exit /b %errorlevel%"


class TestPage:
    """The blocks of `docs/deployment.md`."""

    def test_each_block_is_run_or_says_why_not(self) -> None:
        """Each block of the page is run by a test, or marked as an illustration with a reason."""
        assert sorted(BLOCKS.values()) == sorted(TESTED)
        others = [line for line, block in FENCES if block not in TESTED]
        others = [line for line in others if line != "<!-- tested: tests/trials/managers/test_systemd.py -->"]
        assert [line for line in others if not re.fullmatch(r"<!-- illustration: .+ -->", line)] == []
        assert len(FENCES) == len(re.findall(r"^```\w", DOCS, re.MULTILINE))

    def run(self, directory: Path, text: str, *, keys: Sequence[str] = (), **more: str) -> Ran:
        """Run a script with the fake programs on the path. The keys are in a directory."""
        env, text = with_fakes(directory) | more, text.replace(MANAGER, f"directory:{directory / 'manager'}")
        return run(["sh", "-c", text], env=env, cwd=directory, keys=keys, python=False)

    @pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
    def test_a_clone_under_umask_0(self, service: Path, tmp_path: Path) -> None:
        """The gate refuses a clone that others can write. After the page's commands it passes."""
        clone = tmp_path / "clone"
        keys = good_keys()
        git = "git -c user.name=dana -c user.email=dana@robodj.invalid"
        text = f"git init -q {service}; cd {service}; git add .; {git} commit -qm x; umask 0; git clone -q . {clone}"
        made = run(["sh", "-euc", text], env=clean_environment(), cwd=tmp_path, python=False)
        assert made.status == 0, made.err
        start = ["-c", "from service_secrets import *; from robodj_secretguard import guard; guard(ServiceSecrets)"]
        gate = ["config/check_runtime_secrets.py", "--require-env-only"]
        before = [run(command, env=clean_environment() | keys, cwd=clone) for command in (start, gate)]
        assert [ran.status for ran in before] == [3, 2]
        assert [line.split()[1] for line in before[0].alerts] == ["revocation-list:"]
        assert "pyproject.toml is not trusted: it can be written by others" in before[1].err
        assert run(["sh", "-euc", BLOCKS["umask"]], env=clean_environment(), cwd=clone, python=False).status == 0
        after = [run(command, env=clean_environment() | keys, cwd=clone) for command in (start, gate)]
        assert [(ran.status, ran.alerts) for ran in after] == [(0, []), (0, [])]

    def test_docker_gets_no_key(self, fakes: Path) -> None:
        """Docker gets no key, as an argument or in its environment."""
        install(fakes, "docker", '#!/bin/sh\necho "$*"\nenv\n')
        lines = self.run(fakes, BLOCKS["compose"]).out.splitlines()
        assert lines[0] == "compose up --build --detach"
        assert [line for line in lines if line.startswith("ROBODJ_")] == []

    def test_each_variable_has_a_key_file(self, fakes: Path, keys: dict[str, str]) -> None:
        """Each variable that the deployment files read has a file, in a directory of a group. The gate accepts them."""
        until = marker(timedelta(days=20), now=datetime.now(UTC))
        text = (
            BLOCKS["key files"]
            .replace("/run/robodj", str(fakes / "run"))
            .replace("chgrp robodj", f"chgrp {os.getgid()}")
        )
        expires = f"{V1}_EXPIRES_AT"
        put(fakes / "manager" / expires, until, 0o600)
        ran = self.run(fakes, text, keys=list(keys.values()))
        assert (ran.status, ran.out, ran.alerts) == (0, "", [])
        written = fakes / "run" / "secrets"
        files = {path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in written.iterdir()}
        assert files == dict.fromkeys(ALWAYS | SLOTS, "") | keys | {expires: until, ENVIRONMENT: "prod"}
        assert {path.stat().st_mode & 0o777 for path in written.iterdir()} == {0o644}
        assert written.parent.stat().st_mode & 0o777 == 0o750
        assert [*written.parent.iterdir()] == [written]
        put(fakes / "manager" / ENVIRONMENT, "staging", 0o600)
        assert self.run(fakes, text, keys=list(keys.values())).status == REFUSED
        gate = ["sh", "-c", f"robodj-secretguard check --from directory:{written}"]
        assert run(gate, env=with_fakes(fakes), cwd=fakes, python=False).out.splitlines()[-1] == PASSED

    def send(self, fakes: Path, client: str, text: str, keys: Sequence[str]) -> str:
        """Run a script with a fake client, whose arguments must have no key. Return what it reads."""
        install(fakes, client, FAKE_CLIENT)
        ran = self.run(fakes, text, keys=keys)
        assert (ran.status, ran.out, ran.alerts) == (0, "", [])
        assert leaks((fakes / "arguments").read_text(encoding="utf-8"), keys) == []
        return (fakes / "read").read_text(encoding="utf-8")

    def test_kubectl_gets_no_key_as_an_argument(self, fakes: Path, keys: dict[str, str]) -> None:
        """Kubectl reads a line for each key, and gets no key as an argument."""
        sent = self.send(fakes, "kubectl", BLOCKS["kubernetes"], list(keys.values()))
        assert sent == "".join(f"{name}={key}\n" for name, key in keys.items())

    def test_gh_gets_no_key_as_an_argument(self, fakes: Path, keys: dict[str, str]) -> None:
        """Gh reads each key unchanged, and gets no key as an argument."""
        assert self.send(fakes, "gh", BLOCKS["github"], list(keys.values())) == "".join(keys.values())
