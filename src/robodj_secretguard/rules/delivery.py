"""Missing, file-unsafe, placeholder, format, weak: whether a key was delivered, and is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check
from robodj_secretguard.material import format_defects, is_placeholder, weakness
from robodj_secretguard.rules.finding import about
from robodj_secretguard.sources import MAX_FILE_BYTES, chmod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.sources import Reading


def delivery_findings(reading: Reading) -> Iterator[Finding]:
    """Return at most one finding: the first that applies (policy section 6).

    Args:
        reading: what was found for the secret.
    """
    policy, file, value = reading.policy, reading.file, reading.value
    if not reading.variable and not reading.file_in_use:
        yield about(reading, Check.MISSING, _missing(reading), _deliver_or_generate(reading))
        return
    where = policy.variable if reading.variable else reading.setup.place(policy.file)
    if reading.file_in_use and file.unsafe:
        remedy = (
            f"Deliver the key as {policy.variable} instead; or make it a UTF-8 file of the key alone, at most"
            f" {MAX_FILE_BYTES} bytes, that nobody else can write: chmod 600 {where}"
        )
        remedy += f"; {chmod(file, reading.setup.directory_named_by)}." if file.exposed else "."
        yield about(reading, Check.FILE_UNSAFE, f"{where} may not be used: {'; '.join(file.unsafe)}.", remedy)
    elif value is None:
        message = f"{where} has {len(file.lines)} lines besides blanks and comments where exactly one is needed."
        yield about(reading, Check.FORMAT, message, _deliver_or_generate(reading))
    elif is_placeholder(value.get_secret_value()):
        message = f"{where} holds a placeholder, not a key."
        yield about(reading, Check.PLACEHOLDER, message, _deliver_or_generate(reading))
    elif defects := format_defects(value.get_secret_value(), policy.material):
        message = f"{where} does not hold a well-formed key: {'; '.join(defects)}."
        yield about(reading, Check.FORMAT, message, _deliver_or_generate(reading))
    elif why := weakness(value.get_secret_value()):
        remedy = f"No approved generator makes such a key. Rotate to a generated one: {policy.generator.command}"
        yield about(reading, Check.WEAK, f"{where} holds a key that is plainly not random: {why}.", remedy)


def _missing(reading: Reading) -> str:
    policy, setup = reading.policy, reading.setup
    unset = f"{policy.variable} is {'unset' if reading.variable is None else 'set but empty'}"
    place = setup.place(policy.file)
    if setup.files_off:
        return f"{unset}, and fallback files are off: {place} is not used."
    if reading.file.dangling:
        return f"{unset}, and {place} is a link to a file that is not there."
    if reading.file.exists:
        return f"{unset}, and {place} has nothing but blanks and comments."
    return f"{unset}, and there is no file {place}{'' if setup.directory_named_by else ' under the working directory'}."


def _deliver_or_generate(reading: Reading) -> str:
    policy = reading.policy
    return (
        f"To mend it, deliver the existing value from the secret manager as {policy.variable}; "
        f"only for a first key or a deliberate rotation, generate one: {policy.generator.command}"
    )
