"""A removed key from the earlier versions of a store, for one job that encrypts stored data again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from command_line import fingerprint_of
from conftest import V1, V2, good_keys, process_environment, put
from detector import leaks
from processes import needs_fork, run_copy

from robodj_secretguard import RuntimeSecrets, Secret, SecretSettings
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.managers import removed
from robodj_secretguard.managers.manager import ABSENT, Sources, Store, Stored, open_store, sealed
from robodj_secretguard.managers.removed import OVER, with_removed_key
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.directory import delivery_of, names_of
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS

NEXT, PREVIOUS, UNTIL = f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
POLICIES = RuntimeSecrets.secret_policies
Fields = dict[str, Any]
MOUNTED = """
from pathlib import Path
from robodj_secretguard import RuntimeSecrets
class Mounted(RuntimeSecrets, secrets_dir=Path(__file__).parent / "keys"):
    pass
"""
FINDS = """
import sys
from ours import Mounted
from robodj_secretguard import guard
secret = guard(Mounted).secret_key
print([key.role for key in secret.accepted()], secret.find(sys.argv[1]).role)
"""


class Kept(Store):
    """A store with some versions, the newest first."""

    def __init__(self, *versions: Fields, name: str = "kept:x") -> None:
        super().__init__(name)
        self._versions = [SealedStr(json.dumps(each)) for each in versions]

    def current(self) -> Stored:
        """Return the newest version."""
        return self.version("0")

    def write(self, fields: SealedStr, current: Stored) -> None:
        """Do nothing."""

    def versions(self) -> Sequence[str]:
        """Return the names of the versions."""
        return [str(number) for number in range(len(self._versions))]

    def version(self, name: str) -> Stored:
        """Return one version."""
        return Stored(self._versions[int(name)], name)


class Away(Kept):
    """A store that does not answer."""

    def versions(self) -> Sequence[str]:
        """Raise an error."""
        raise ManagerError("is away", "wait", is_temporary=True)


class Single(Kept):
    """A store that keeps no versions."""

    def versions(self) -> Sequence[str]:
        """Return none."""
        return ()


Job = Callable[..., Sources]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return what makes the sources of a job from stores: what the newest version has, and a removed key."""

    def make(key: str, *stores: Any, model: type[SecretSettings] = RuntimeSecrets) -> Sources:
        monkeypatch.setattr(removed, "open_sources", lambda _names, _policies: stores)
        names = names_of(tuple(model.secret_policies.values()))
        deliveries = [delivery_of(each.name, each.current().opened(), names) for each in stores]
        return with_removed_key(Sources(deliveries), (), model, fingerprint_of(key))

    return make


def set_of(**slots: str) -> Fields:
    """Return a set with good keys, and others in slots of `secret.key`."""
    return good_keys() | {f"{V1}_{slot}".removesuffix("_"): key for slot, key in slots.items()}


def own_key() -> str:
    """Return a key of `secret.key`."""
    return good_keys()[V1]


@pytest.mark.parametrize("slot", ["", "NEXT", "PREVIOUS"])
@pytest.mark.parametrize("is_revoked", [False, True])
def test_only_stored_data_is_decrypted_with_it(job: Job, tmp_path: Path, slot: str, *, is_revoked: bool) -> None:
    """The service finds the key by its id, whatever its slot was, and never accepts it. No directory is read.

    A revoked key is found where the service asks for revoked keys.
    """

    class Mounted(RuntimeSecrets, secrets_dir=tmp_path):
        pass

    key = own_key()
    listed = {REVOKED_FINGERPRINTS: fingerprint_of(key)} if is_revoked else {}
    sources = job(key, Kept(set_of(), set_of(), set_of(**{slot: key}), set_of()), model=Mounted)
    with process_environment(sources.variables(Mounted) | listed):
        assert sources.check(Mounted).findings == ()
        secret = Mounted().secret_key
    kid = fingerprint_of(key).removeprefix("sgfp1:")
    assert [each.role for each in secret.accepted()] == ["current"]
    assert secret.verify(key) is None
    assert [each.kid for each in secret.stored()[1:]] == ([] if is_revoked else [kid])
    assert (secret.find(kid) is None) is is_revoked
    found = secret.find(kid, revoked=True)
    assert found is not None
    assert found.value.get_secret_value() == key


def test_the_present_previous_key_is_not_lost_silently(job: Job) -> None:
    """The job gets one previous key. If data may need another one, a warning names that key and says what to do."""
    key, present = own_key(), own_key()
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    newest = set_of(PREVIOUS=present, PREVIOUS_UNTIL=until)
    sources = job(key, Kept(newest, set_of(PREVIOUS=key)))
    variables = sources.variables(RuntimeSecrets)
    assert (variables[PREVIOUS], variables[UNTIL]) == (key, OVER)
    with process_environment(variables):
        (warning,) = sources.check(RuntimeSecrets).findings
    assert (warning.check, warning.severity, warning.secret) == ("source", "warning", "secret.key")
    assert warning.message == f"the command does not get the previous key of secret.key, {fingerprint_of(present)}"
    assert warning.remedy == "run the command again without --previous, for the data of that key"


def test_the_present_previous_key_itself(job: Job) -> None:
    """For the key that still is the previous one, only the deadline changes."""
    key = own_key()
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    sources = job(key, Kept(set_of(PREVIOUS=key, PREVIOUS_UNTIL=until)))
    variables = sources.variables(RuntimeSecrets)
    assert (variables[PREVIOUS], variables[UNTIL]) == (key, OVER)
    with process_environment(variables):
        assert sources.check(RuntimeSecrets).findings == ()


def test_another_source_delivers_the_secret(job: Job) -> None:
    """The key may be in one source, and the present keys in an earlier one, which keeps no versions."""
    key, present = own_key(), set_of()
    variables = job(key, Single(present, name="single:x"), Kept(set_of(), set_of(PREVIOUS=key))).variables(
        RuntimeSecrets
    )
    assert (variables[V1], variables[V2], variables[PREVIOUS]) == (present[V1], present[V2], key)


def test_a_set_without_the_secret(job: Job) -> None:
    """The gate refuses it: a job cannot encrypt without a current key."""
    key = own_key()
    without = {V2: good_keys()[V2]}
    sources = job(key, Kept(without, set_of(PREVIOUS=key)))
    with process_environment({}):
        assert [each.check for each in sources.check(RuntimeSecrets).alerts] == ["missing"]


@pytest.mark.parametrize("slot", ["", "NEXT"])
def test_a_key_that_is_in_use(job: Job, slot: str) -> None:
    """A command has the current and the next key anyway."""
    key = own_key()
    with pytest.raises(UsageError, match=rf"^--previous: kept:x still has this key as {V1}.*; leave out --previous$"):
        job(key, Kept(set_of(**{slot: key})))


def test_a_key_of_two_secrets(job: Job) -> None:
    """Where the key was one of two secrets, it is given to the one whose data needs it, if the policies say which."""
    key = own_key()
    policy = POLICIES["secret_key"]._replace(shared_with="other", stores_data=None)
    other = policy._replace(name="other", variable="OTHER", shared_with="secret.key", file="", expiry_variable="")

    class Undecided(SecretSettings):
        one: Annotated[Secret, policy]
        two: Annotated[Secret, other]

    class Decided(SecretSettings):
        one: Annotated[Secret, policy._replace(stores_data=False)]
        two: Annotated[Secret, other._replace(stores_data=True)]

    store = Kept({V1: own_key(), "OTHER": own_key()}, {V1: key, "OTHER": key})
    message = "^--previous: it was a key of secret.key and other; declare stores_data=False for those that encrypt no"
    with pytest.raises(UsageError, match=message):
        job(key, store, model=Undecided)
    variables = job(key, store, model=Decided).variables(Decided)
    assert variables["OTHER_PREVIOUS"] == key
    assert PREVIOUS not in variables


def test_what_has_no_such_key(job: Job) -> None:
    """A source that keeps no versions, an invalid fingerprint, and an unknown one are usage errors."""
    nowhere = r"^--previous: no version that a source of --from keeps has a key with this fingerprint; compare it"
    with pytest.raises(UsageError, match=nowhere):
        with_removed_key(Sources([]), ["json:-"], RuntimeSecrets, fingerprint_of(own_key()))
    with pytest.raises(UsageError, match=r"^--previous: invalid fingerprint; use sgfp1: and 32"):
        with_removed_key(Sources([]), (), RuntimeSecrets, own_key())
    odd: Fields = {V1: 5, NEXT: "", PREVIOUS: None, "OTHER": [1]}
    with pytest.raises(UsageError, match=nowhere):
        job(own_key(), Kept(set_of(), odd))


def test_a_store_that_cannot_be_read(job: Job) -> None:
    """It is the one finding, so the command is not started, and a supervisor tries again."""
    report = job(own_key(), Away(set_of())).check(RuntimeSecrets)
    assert [(each.check, each.message) for each in report.findings] == [("unavailable", "kept:x is away")]


def test_no_key_is_shown(job: Job) -> None:
    """No repr and no message has a key."""
    key = own_key()
    newest = set_of(PREVIOUS=own_key())
    sources = job(key, Kept(newest, set_of(PREVIOUS=key)))
    with process_environment(sources.variables(RuntimeSecrets)):
        shown = f"{sources!r} {vars(sources)} {sources.check(RuntimeSecrets)}"
    assert leaks(shown, [key, *newest.values()]) == []


@needs_fork
def test_a_job_with_a_directory(tmp_path: Path) -> None:
    """`exec` gives a command the key from the kept versions, also where the model's own directory is the source."""
    place = tmp_path / "keys"
    key = own_key()
    put(tmp_path / "ours.py", MOUNTED)
    store = open_store(f"directory:{place}", tuple(POLICIES.values()))
    for fields in (set_of(), set_of(PREVIOUS=key, PREVIOUS_UNTIL=OVER), set_of()):
        current = store.current() if place.exists() else ABSENT
        kept = {UNTIL: None, PREVIOUS: None} | fields
        store.write(sealed({name: text for name, text in kept.items() if text}, is_new=True), current)
    options = ["--model", "ours:Mounted", "--from", f"directory:{place}", "--previous", fingerprint_of(key)]
    argv = ["exec", *options, "--", sys.executable, "-c", FINDS, fingerprint_of(key).removeprefix("sgfp1:")]
    program = f"import sys\nfrom robodj_secretguard.cli import main\nsys.exit(main({argv!r}))\n"
    ran = run_copy(program, {}, tmp_path, ROBODJ_PROTECTED_ENV="true")
    assert (ran.status, ran.out, ran.err.count("ALERT")) == (0, "['current'] previous\n", 0)
