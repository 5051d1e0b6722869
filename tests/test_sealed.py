"""Sealed text, and the boundary that contains keys."""

from __future__ import annotations

import copy
import pickle
import secrets
import traceback
from collections.abc import Callable
from functools import partial
from types import ModuleType

import cloudpickle
import dill
import pytest
from detector import leaks
from pydantic import SecretStr

from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name


class TestSealedStr:
    """A `SecretStr` whose text is in no attribute."""

    def test_it_is_a_secret_str(self) -> None:
        """A sealed text reads, compares and has a length like a `SecretStr`."""
        text = secrets.token_urlsafe(32)
        sealed = SealedStr(text)
        assert isinstance(sealed, SecretStr)
        assert sealed.get_secret_value() == text
        assert len(sealed) == len(text)
        assert sealed == SealedStr(text) == SecretStr(text)
        assert copy.copy(sealed) is copy.deepcopy(sealed) is sealed
        assert sealed != SealedStr(text + "a")
        assert sealed != text

    @pytest.mark.parametrize("shown", [str, "{}".format, "%s".__mod__, lambda sealed: f"{sealed}"], ids=range(4))
    def test_it_has_no_text(self, shown: Callable[[SealedStr], str]) -> None:
        """`str()` of a secret is an error, since a framework could use the mask as a key. The repr is masked."""
        sealed = SealedStr(secrets.token_urlsafe(32))
        with pytest.raises(TypeError, match=r"a secret has no str\(\): call get_secret_value\(\)"):
            shown(sealed)
        assert repr(sealed) == "SealedStr('**********')"

    @pytest.mark.parametrize("pickler", [pickle, cloudpickle, dill], ids=lambda module: module.__name__)
    def test_its_attributes_are_not_pickled(self, pickler: ModuleType) -> None:
        """Libraries that pickle functions cannot pickle the `vars()` of a secret. A copy is the same object."""
        attributes = vars(SealedStr(secrets.token_urlsafe(32)))
        for each in (attributes, *attributes.values()):
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickler.dumps(each)
        assert copy.deepcopy(attributes) == attributes
        assert [copy.copy(each) for each in attributes.values()] == [*attributes.values()]

    def test_its_hash_is_not_the_texts(self) -> None:
        """Equal secrets have equal hashes, and no guess can be compared with a hash."""
        text = secrets.token_urlsafe(32)
        assert hash(SealedStr(text)) == hash(SealedStr(text)) != hash(text)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("text"), "ValueError"),
        (CheckFailedError("the kept type"), "the kept type"),
        (type("\N{GREEK SMALL LETTER ALPHA}", (Exception,), {})(), "an error"),
        (type("a\nALERT: forged", (Exception,), {})(), "an error"),
    ],
)
def test_the_name_of_a_type(error: Exception, name: str) -> None:
    """The name of a type is shown if it is an ASCII identifier, which cannot break or forge a line."""
    assert type_name(error) == name


class TestContain:
    """No frame and no text of an error leaves the boundary."""

    def test_a_result(self) -> None:
        """A result is returned unchanged."""
        assert contain(lambda: 42) == 42

    @pytest.mark.parametrize(
        ("error", "becomes"),
        [
            (ValueError, CheckFailedError),
            (SystemExit, CheckFailedError),
            (MemoryError, CheckFailedError),
            (KeyboardInterrupt, KeyboardInterrupt),
        ],
    )
    def test_a_failure(self, error: type[BaseException], becomes: type[BaseException]) -> None:
        """An error is named by its type, and an interrupt stays one. Neither has a text, chain or frames."""
        key = secrets.token_urlsafe(32)

        def fail(local: str) -> None:
            try:
                raise LookupError(local)  # noqa: TRY301 - the chain is the point
            except LookupError as cause:
                raise error(local) from cause

        with pytest.raises(becomes) as raised:
            contain(partial(fail, key))
        failure = raised.value
        assert type(failure) is becomes
        assert (failure.__context__, failure.__cause__) == (None, None)
        (_, *inside) = traceback.walk_tb(failure.__traceback__)
        shown = traceback.StackSummary.extract(iter(inside), capture_locals=True)
        assert [frame.name for frame in shown] == ["contain"]
        assert leaks("".join(shown.format()) + repr(failure.args), [key]) == []
