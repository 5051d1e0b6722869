"""Setting, shared, internal: what is not about one secret alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check
from robodj_secretguard.material import is_hexadecimal, is_placeholder
from robodj_secretguard.rules.words import about, about_setup
from robodj_secretguard.sources import CONFIG_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.sources import Reading, Setup


def setting_findings(setup: Setup) -> Iterator[Finding]:
    """Return the switches with an unknown value, and a named config directory that does not exist.

    Args:
        setup: what holds for every declared secret.
    """
    for name in setup.unknown_switches:
        message = f"{name} is neither true nor false, so environment-only is in force."
        remedy = "Set it to one of 1, true, yes, on, 0, false, no, off, or unset it."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source="environment")
    if setup.directory_named_by and not setup.directory_exists:
        source = setup.directory_named_by
        named = CONFIG_DIR if source == "environment" else "The config directory argument"
        message = f"{named} names a directory that does not exist."
        remedy = "Correct it, or leave it out to use config under the working directory."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source=source)


def shared_findings(readings: Sequence[Reading]) -> Iterator[Finding]:
    """Return, for each secret that equals, contains or lies in an earlier one, a finding on the later one.

    Policy section 1: values are generated independently.

    Args:
        readings: what was found, for every declared secret in declared order.
    """
    earlier: list[tuple[str, SealedStr]] = []
    for reading in readings:
        value = reading.value
        if value is None or is_placeholder(value.get_secret_value()):
            continue
        shared = [name for name, other in earlier if _one_holds_the_other(value, other)]
        if shared:
            yield about(
                reading,
                Check.SHARED,
                f"Its value equals, contains or lies in that of {', '.join(shared)}.",
                f"Every secret has a key of its own: rotate {reading.policy.name}: {reading.policy.generator.command}",
            )
        earlier.append((reading.policy.name, value))


def internal(policies: Sequence[SecretPolicy], error_type: str, policy: SecretPolicy | None = None) -> Finding:
    """Return the finding that a check itself failed.

    Args:
        policies: all declared secrets.
        error_type: the name of the error's type.
        policy: the secret that it is about, if one is known.
    """
    message = f"The check itself failed ({error_type if error_type.isascii() else 'an error'}): nothing is verified."
    remedy = "If a validator of your own refused, correct what it judges; otherwise report this as a bug."
    return about_setup(policies, Check.INTERNAL, message, remedy, source="none", policy=policy)


def _one_holds_the_other(value: SealedStr, other: SealedStr) -> bool:
    first, second = _canonical(value), _canonical(other)
    return first in second or second in first


def _canonical(value: SealedStr) -> str:
    text = value.get_secret_value()
    return text.lower() if is_hexadecimal(text) else text
