"""`at_once()`: the secrets of one moment."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import pytest
from conftest import TIMEOUT, V1, V2, good_keys, posix_only
from publications import promoted, replaced, revoking, text_of
from running_service import Service, slots

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.running import refresh

pytestmark = posix_only


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


class TestAtOnce:
    """`SecretSettings.at_once`."""

    def test_one_moment(self, service: Service) -> None:
        """No field changes inside of the block. Afterwards, what the block has made is live, too."""
        assert isinstance(service.secrets, RuntimeSecrets)
        before = service.files
        with service.secrets.at_once() as now:
            derived = now.secret_key.derive(b"config v1")
            text = derived.get_secret_value()
            service.use({**promoted(before), f"{V2}_NEXT": (key := good_keys()[V2])})
            assert now.secret_key.get_secret_value() == text_of(before, V1) != service.value("secret.key")
            assert (now.secret_v2_key.verify(key), derived.get_secret_value()) == (None, text)
        assert slots(now.secret_key) == slots(service.secret)
        assert now.secret_v2_key.verify(key)
        assert derived.get_secret_value() == service.secret.derive(b"config v1").get_secret_value() != text

    def test_it_is_a_model(self, service: Service) -> None:
        """What the block gets is an instance of the model, which shows no key and is frozen."""
        with service.secrets.at_once() as now:
            assert isinstance(now, RuntimeSecrets)
            assert repr(now) == repr(service.secrets)
            with pytest.raises(AttributeError, match="is frozen"):
                now.secret_key = service.secret  # type: ignore[misc]

    def test_a_revoked_secret(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret whose current key is refused raises an error where it is read."""
        monkeypatch.setattr(refresh, "start", lambda *_: True)  # it would end the test
        bad = revoking(service.files, V1)
        for _ in range(2):
            service.read(bad)
        with service.secrets.at_once() as now, pytest.raises(RevokedKeyError):
            now.secret_key.get_secret_value()  # type: ignore[attr-defined]
        service.use(replaced(service.files))

    def test_a_function_of_the_block(self, service: Service) -> None:
        """A function that is registered inside of the block is called after each later change."""
        kids = Queue[str]()
        with service.secrets.at_once() as now:
            now.secret_key.on_change(lambda secret: kids.put(secret.current.kid))  # type: ignore[attr-defined]
        service.use(promoted(service.files))
        assert kids.get(timeout=TIMEOUT) == service.secret.current.kid
