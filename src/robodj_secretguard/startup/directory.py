"""A directory of files that deliver keys: the secrets directory of a service, or a source of `--from`.

A start without such a directory does not import this module (policy section 2).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import shown_place
from robodj_secretguard.startup.file_reader import group_faults, path_faults, read_text_file, without_newline
from robodj_secretguard.startup.inputs import (
    BELOW_WRITABLE,
    CHANGED,
    ENVIRONMENT,
    MAX_CHARACTERS,
    MOST_REFRESH_SECONDS,
    NOT_ALLOWED,
    REVOKED_FINGERPRINTS,
    ROTATION_RECORD,
    SECRETS_DIR,
    SECRETS_REFRESH,
    TextFile,
    VariablesRead,
)
from robodj_secretguard.startup.near_miss import NearMiss
from robodj_secretguard.startup.readings import (
    NO_SUCH_DIRECTORY,
    REVOKED_FILE,
    Environment,
    ModelSetup,
    Offer,
    Reading,
    directory_fault,
    find_near_misses,
    is_protected,
    switches_of,
)
from robodj_secretguard.startup.report import Finding, Judgement, Learn, finding
from robodj_secretguard.startup.rules import Check, Problem, Problems, Severity

Policies: TypeAlias = Sequence[SecretPolicy]
"""The declared secrets, or some of them."""
Stats: TypeAlias = Mapping[str, tuple[int, ...]]
"""Numbers of files, by their paths, which change with the files."""
Read: TypeAlias = Callable[[Sequence["Delivery"], Learn | None], Sequence[Reading]]

MAX_BYTES: Final = 1 << 20
"""The largest answer of a manager, and the largest file."""
READ_SECONDS: Final = 5.0
"""How long a start or a refresh waits for files that do not change."""
_MOUNTS: Final = "/proc/self/mountinfo"
SETTLED_SECONDS: Final = 1.0
"""How long the files must be unchanged, as an agent writes one after the other."""
_PAUSE: Final = 0.01
_CHANGING: Final = ("does not stay the same", "stop what changes its files again and again")
_NO_DIRECTORY: Final = ("does not exist", "correct the path, or start what writes the directory")
_UNREADABLE: Final = ("is not a directory that this user may read", "correct the path, or let this user read it")
_OTHERS: Final = (
    "compare the keys with their origin, then run chmod -R o-w on the directory of secrets (or mount it read-only)"
)
_VALUE: Final = "write {} again, with the value alone, in UTF-8"
_REMEDY_OF_OWNERS: Final = (
    "make root or the service's user the owner of the files and of each directory above, and run chmod g-w on the files"
)
_FIXES: Final = {
    BELOW_WRITABLE: "compare the keys with their origin, then use a directory that is below no directory of others",
    NOT_ALLOWED: "let the user of this command read {} and enter the directory",
    CHANGED: "stop what writes {} again and again",
}


class Delivery(Frozen):
    """What a manager has delivered. It is a `ManagedSource`.

    Attributes:
        name: the source in messages, such as `vault:secret/robodj`.
        values: the wanted variables that it has, sealed.
        found: the names of all its variables.
        sole: the secrets that no other source may deliver any more, also where this one has none of their variables.
    """

    name: str
    values: Mapping[str, SealedStr]
    found: frozenset[str]
    sole: frozenset[str] = frozenset()

    def get(self, name: str) -> SealedStr | None:
        """Return a variable, sealed; `None` where there is none."""
        return self.values.get(name)

    def delivers(self, policy: SecretPolicy) -> bool:
        """Check whether there is a variable of a secret. Then the manager delivers all of them."""
        return policy.name in self.sole or not self.values.keys().isdisjoint(policy.variables)

    def offer(self, policy: SecretPolicy) -> Offer:
        """Return the variable of a secret as an offer."""
        value = self.get(policy.variable)
        return Offer(
            self.name,
            policy.variable,
            (value,) if value else (),
            is_empty=not value and policy.variable in self.found,
            manager=self.name,
            variables=self if self.delivers(policy) else None,
        )

    def near_misses(self, variables_read: VariablesRead) -> Iterator[NearMiss]:
        """Yield the misspelled variables. A switch is none, as a manager delivers no switches."""
        for miss in find_near_misses(variables_read, self.found, is_set=self.found.__contains__):
            if miss.meant.policy or miss.meant.name in {ENVIRONMENT, REVOKED_FINGERPRINTS}:
                yield miss._replace(manager=self.name)


def delivery_of(
    manager: str, fields: Mapping[str, object], names: Collection[str], whole: Collection[str] = ()
) -> Delivery:
    """Return the wanted variables among the fields of a manager. It runs inside `contain()`.

    A variable of `whole` loses one newline at its end. That of a file has lost it before.

    Raises:
        ManagerError: a wanted field cannot be a variable of a command.
    """
    values = dict[str, SealedStr]()
    for name in names:
        value = "" if fields.get(name) is None else fields[name]
        if name == ROTATION_RECORD and not (isinstance(value, str) and value.isprintable()):
            continue  # no start depends on it, so an invalid record is none
        if not isinstance(value, str):
            raise ManagerError(f"has {name}, but it is not a string", f"store {name} as a JSON string, in quotes")
        value = without_newline(value) if name in whole else value
        if len(value) > MAX_CHARACTERS:
            raise ManagerError(
                f"has {name} of more than {MAX_CHARACTERS} characters",
                f"store a shorter {name}; a long list belongs into the file {REVOKED_FILE}",
            )
        if "\0" in value:  # no variable of a command can have it
            raise ManagerError(f"has {name}, but it has a zero byte", f"store {name} again, without that byte")
        if value:
            values[name] = SealedStr(value)
    return Delivery(manager, values, frozenset(fields))


def first_with(deliveries: Iterable[Delivery], policy: SecretPolicy) -> Delivery | None:
    """Return what the first manager that has a secret has delivered."""
    return next((delivery for delivery in deliveries if delivery.delivers(policy)), None)


def read_directory(
    place: str, policies: Iterable[SecretPolicy], names: Collection[str], seconds: float
) -> Mapping[str, object]:
    """Return the content of each file that is named after a variable or a secret, all of one version of the directory.

    Raises:
        ManagerError: the directory or a file may not be used, or still changes after so many seconds.
    """
    deadline = time.monotonic() + seconds
    why = _CHANGING
    earlier: Stats = {}
    aliases = {policy.variable: policy.name for policy in policies}
    whole = whole_names(policies)
    wanted = [(name, file) for name in names for file in dict.fromkeys((name, aliases.get(name, name)))]
    while time.monotonic() < deadline:
        wait = _PAUSE
        try:
            version, found, texts = _read_version(place, wanted, whole)
            if texts is not None:
                wait = _unsettled(place, version, earlier)
                if wait <= 0:
                    return _variables_in(found, texts)
            earlier = version
            why = _CHANGING
        except OSError as error:  # perhaps another directory takes its place
            time.sleep(_PAUSE)
            why = (
                f"cannot be read ({os.strerror(error.errno or 0)})",
                "restore the files that its links name, or mount its file system again",
            )
            if isinstance(error, (NotADirectoryError, PermissionError)) or not os.path.exists(place):
                raise ManagerError(*(_NO_DIRECTORY if isinstance(error, FileNotFoundError) else _UNREADABLE)) from None
        time.sleep(max(0, min(wait, deadline - time.monotonic())))  # end in time, with the error below
    raise ManagerError(*why, is_temporary=True)


def _read_version(
    place: str, wanted: Sequence[tuple[str, str]], whole: Collection[str]
) -> tuple[Stats, list[str], dict[tuple[str, str], TextFile] | None]:
    """Return numbers of the version of a directory, its files, and the wanted texts: none if it changed meanwhile."""
    path = _version_of(place)
    directory = os.path.realpath(path)
    before = _stats_of(directory, wanted)
    found = os.listdir(directory)
    paths = {each: os.path.join(directory, each[1]) for each in wanted if each[1] in found}
    texts = {each: read_text_file(paths[each], most=MAX_CHARACTERS, is_whole=each[0] in whole) for each in paths}
    # The files of a directory that stayed the same are of one version. After it was replaced, some may be removed.
    is_same = before == _stats_of(directory, wanted) and directory == os.path.realpath(path)
    return before, found, texts if is_same else None


def _version_of(place: str) -> str:
    """Return the link to the present version of a directory, if there is one; otherwise the directory.

    In a Kubernetes volume, replacing that link replaces all files at once.
    """
    link = os.path.join(place, "..data")
    return link if os.path.lexists(link) else place


def _variables_in(found: Iterable[str], texts: Mapping[tuple[str, str], TextFile]) -> Mapping[str, object]:
    """Return the content of each file. One that may not be used, or that contradicts another one, is an error."""
    variables: dict[str, object] = dict.fromkeys(found)
    for (name, file), text in texts.items():
        if why := text.unsafe:
            remedy = _FIXES.get(why[0], _VALUE if text.unreadable else _OTHERS)
            raise ManagerError(f"has {file}, which {why[0]}", remedy.format(file), is_temporary=why == (CHANGED,))
        value = "\n".join([line.get_secret_value() for line in text.lines])
        if variables.get(name) and variables[name] != value:
            remedy = "compare both with the secret manager, and delete the file that differs from it"
            raise ManagerError(f"has {name} and {file} with different values", remedy)
        variables[name] = value
    return variables


def _stats_of(directory: str, wanted: Iterable[tuple[str, str]]) -> Stats:
    """Return numbers of a directory and its wanted files that change when one is added, written or replaced."""
    paths = [os.path.join(directory, file) for _, file in wanted]
    stats = [(path, os.stat(path)) for path in (directory, *filter(os.path.exists, paths))]  # no broken link
    return {path: (each.st_mtime_ns, each.st_ctime_ns, each.st_size, each.st_ino, each.st_dev) for path, each in stats}


def _unsettled(place: str, version: Stats, earlier: Stats) -> float:
    """Return for how many seconds to wait, as somebody may be writing further files; at most zero where all are old."""
    if _version_of(place) != place or _is_of_systemd(os.path.realpath(place)):
        return 0  # all files change at once, or never
    now = time.time()
    # A copy may have the time of its original: then only the second one tells when it was made.
    ages = [now - changed / 1e9 for mtime, ctime, *_ in version.values() for changed in (mtime, ctime)]
    wait = max([SETTLED_SECONDS - age for age in ages if age > -SETTLED_SECONDS], default=0)
    # While a file is written again, it may be empty for a moment and still have its old times.
    is_empty = any(not size for _, _, size, *_ in version.values())
    return max(wait, _PAUSE) if is_empty and version != earlier else wait


def names_of(policies: Iterable[SecretPolicy]) -> list[str]:
    """Return the fields of a manager that are read."""
    declared = [name for policy in policies for name in policy.variables]
    return [*declared, ENVIRONMENT, REVOKED_FINGERPRINTS, ROTATION_RECORD]


def whole_names(policies: Iterable[SecretPolicy]) -> list[str]:
    """Return the variables that are taken whole: all but generated keys, and previous keys, which may be older."""
    wholes = (
        policy.key_variables if policy.material.is_taken_whole else policy.slot_variables[1:2] for policy in policies
    )
    return [name for names in wholes for name in names]


def source_finding(policies: Policies, name: str, error: ManagerError, tried: str = "") -> Finding:
    """Return the alert about a source that failed, so that nothing was checked."""
    check = Check.UNAVAILABLE if error.is_temporary else Check.SOURCE
    return finding(policies, check, Problem(f"{name} {error.message}{tried}", error.remedy, name))


def conflicts(
    deliveries: Sequence[Delivery], policies: Iterable[SecretPolicy], severity: Severity | None = None
) -> Iterator[Finding]:
    """Yield a finding for each secret of a manager whose variables have other values in the environment."""
    environment = Environment()
    for policy in policies:
        if not (delivery := first_with(deliveries, policy)):
            continue
        values = [(name, environment.get(name)) for name in policy.variables]
        if names := [name for name, value in values if value and value != delivery.get(name)]:
            more, which = (
                (f" and {len(names) - 1} more", f"every variable of {policy.name}") if names[1:] else ("", names[0])
            )
            yield finding(
                policies,
                Check.SOURCE,
                Problem(
                    f"{names[0]}{more} in the environment differ{'' if more else 's'} from {delivery.name}",
                    f"make sure that {delivery.name} has the right values, then unset {which} in the environment",
                    "environment",
                    severity,
                ),
                policy,
            )


class SecretsDirectory:
    """The secrets directory of a service, which is read at each start, and again while the service runs.

    Args:
        place: its path.
        seconds: after how many seconds it is read again; `None` for never.
        faults: what is wrong with how it was set up.
        policies: the declared secrets.
        read: reads every secret from these sources first. It gets `learn` of `readings.read`.
    """

    def __init__(
        self, place: str, seconds: int | None, faults: Sequence[Problem], policies: Policies, read: Read
    ) -> None:
        self.name = f"directory:{shown_place(place)}"
        self._place = place
        self._seconds = seconds
        self._faults = faults
        self._policies = policies
        self._read = read

    def judge(self, learn: Learn | None = None, sole: frozenset[str] | None = frozenset()) -> Judgement:
        """Read the directory once, and judge the keys that it and the environment deliver.

        Args:
            learn: takes the revocations that were read; `None` at a start.
            sole: the secrets that no other source may deliver any more; `None` to read the revocations alone.
        """
        if sole is None:
            return self._refused(ManagerError("is read for its revocations alone", ""), learn)
        most = READ_SECONDS
        if learn is not None and self._seconds is not None:
            # A read that fails may take less than two periods, as after three without a read that is an alert as well.
            most = min(READ_SECONDS, 1.2 * self._seconds)
        names = names_of(self._policies)
        try:
            delivery = delivery_of(self.name, read_directory(self._place, self._policies, names, most), names)
        except ManagerError as error:
            return self._refused(error, learn)
        # A file that is empty, such as one that is being written, is no reason to ask the environment.
        there = [each.name for each in self._policies if not delivery.found.isdisjoint((each.name, *each.variables))]
        delivery = delivery._replace(sole=sole.union(there))
        judgement = Judgement(self._read((delivery,), learn))
        judgement.again = self.judge
        judgement.seconds = self._seconds
        judgement.source = SealedStr(self._place)
        problems = [finding(self._policies, Check.SETTING, problem) for problem in self._faults]
        owners = [finding(self._policies, Check.FILE_PERMISSIONS, problem) for problem in self._owners(delivery)]
        judgement.add([*problems, *owners, *conflicts((delivery,), self._policies, Severity.NOTE)])
        return judgement

    def _refused(self, error: ManagerError, learn: Learn | None) -> Judgement:
        """Return that nothing was read but the revocations: each one counts, whatever else is in the directory."""
        path = os.path.join(_version_of(self._place), REVOKED_FINGERPRINTS)
        text = read_text_file(path, most=MAX_CHARACTERS)
        lines = () if text.unsafe else text.lines
        entries = " ".join([line.get_secret_value() for line in lines]).replace(",", " ").split()
        if error.is_temporary:  # while files change, the last entry may be cut
            entries = entries[:-1]
        delivery = Delivery(
            self.name,
            {REVOKED_FINGERPRINTS: SealedStr(" ".join(entries))},
            found=frozenset(),
            sole=frozenset([policy.name for policy in self._policies]),
        )
        judgement = Judgement(self._read((delivery,), learn), source_finding(self._policies, self.name, error))
        judgement.source = SealedStr(self._place)
        return judgement

    def _owners(self, delivery: Delivery) -> Problems:
        """Yield who else owns the files or a directory on their way, or could write a file."""
        seen = set[str]()
        directory = _version_of(self._place)
        for name in sorted(delivery.found & {*names_of(self._policies), *[each.name for each in self._policies]}):
            path = os.path.join(directory, name)
            try:
                status = os.stat(path)
                faults = path_faults(path, status).foreign + group_faults(status)
            except OSError:  # it was replaced in the meantime: the next read judges it
                continue
            for fault in faults:
                if fault not in seen:
                    seen.add(fault)
                    yield Problem(f"{self.name} has {name}, which {fault}", _REMEDY_OF_OWNERS, self.name)


def open_directory(
    environment: Environment,
    model_setup: ModelSetup,
    policies: Policies,
    read: Read,
    *,
    is_elsewhere: bool = False,
) -> Judgement:
    """Read the secrets directory, and judge the keys that it and the environment deliver (policy section 2).

    Args:
        environment: the variables of the process.
        model_setup: the directory and the period that the model declares.
        policies: the declared secrets.
        read: reads every secret from these sources first.
        is_elsewhere: whether this may be another machine than the service's, such as one that makes a release.
    """
    named = environment.get(SECRETS_DIR) or None
    place = os.path.abspath(named.get_secret_value() if named else model_setup.secrets_dir or "")
    if directory_fault(place) != NO_SUCH_DIRECTORY:
        return SecretsDirectory(place, *_period(environment, model_setup, place), policies, read).judge()
    if named:
        problem = Problem(
            f"{SECRETS_DIR} names no directory",
            f"start what writes the directory first; if it runs, correct the path in {SECRETS_DIR}",
            "environment",
        )
        return Judgement(read((), None), finding(policies, Check.SETTING, problem))
    shown = f"the model's secrets_dir {shown_place(place)} does not exist"
    problem = Problem(
        f"{shown}, so the environment delivers the keys",
        f"on a developer's machine, nothing; elsewhere, mount the directory or set {SECRETS_DIR}",
        severity=Severity.WARNING,
    )
    if is_protected(switches_of(environment)) and not is_elsewhere:
        remedy = "mount the directory, or start what writes it, then start again"
        problem = Problem(f"{shown}, and the environment is protected", remedy)
    judgement = Judgement(read((), None))
    judgement.source = SealedStr(place)  # a process that has read it before follows it on
    judgement.add([finding(policies, Check.SETTING, problem)])
    return judgement


def _period(environment: Environment, model_setup: ModelSetup, place: str) -> tuple[int | None, list[Problem]]:
    """Return after how many seconds the directory is read again, and what is wrong with that."""
    seconds = model_setup.refresh
    if text := environment.get(SECRETS_REFRESH):
        is_number = re.fullmatch("[1-9][0-9]{0,2}", text.get_secret_value(), re.ASCII)
        seconds = int(text.get_secret_value()) if is_number else MOST_REFRESH_SECONDS + 1
    if seconds is not None and seconds > MOST_REFRESH_SECONDS:
        return None, [
            Problem(
                f"{SECRETS_REFRESH} has an invalid value, so no key can change",
                f"set {SECRETS_REFRESH} to a number of seconds from 1 to {MOST_REFRESH_SECONDS}, or unset it",
                "environment",
            )
        ]
    if seconds is None or not (why := _never_changes(place)):
        return seconds, []
    return seconds, [
        Problem(
            f"a refresh is set, but {why}",
            "set no refresh, and restart the service after each change (or see docs/refresh.md)",
        )
    ]


def _is_of_systemd(path: str) -> bool:
    """Check whether systemd has written a directory, before it started the unit."""
    places = ("/run/credentials", os.environ.get("CREDENTIALS_DIRECTORY"))
    return any(f"{path}/".startswith(f"{os.path.realpath(each)}/") for each in places if each)


def _never_changes(place: str) -> str:
    """Return why the files of a directory stay as they are while the service runs; empty where they can change."""
    path = os.path.realpath(place)
    if _is_of_systemd(path):
        return "systemd never changes the credentials of a running unit"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            mounted = [line.split(" ")[4] for line in file]
    except OSError:
        return ""
    points = {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point) for point in mounted}
    if any(os.path.dirname(point) == path and not os.path.isdir(point) for point in points):
        return "a file that is mounted alone never changes"
    return ""
