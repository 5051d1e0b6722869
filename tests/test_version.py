"""Tests of `robodj_secretguard.version`."""

from importlib.metadata import version

from robodj_secretguard.version import VERSION


def test_the_version_is_that_of_the_installed_package() -> None:
    """The module and the package's metadata, which is slow to read, have the same version."""
    assert version("robodj-secretguard") == VERSION
