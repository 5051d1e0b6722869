"""File-present, file-fallback, file-stale, file-permissions: key files are for break-glass use (policy section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check
from robodj_secretguard.material import is_placeholder
from robodj_secretguard.rules.finding import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.sources import Reading
    from robodj_secretguard.textfile import TextFile


def file_findings(reading: Reading) -> Iterator[Finding]:
    """Return what is to be said of a fallback file besides that it may not be used.

    Args:
        reading: what was found for the secret.
    """
    policy, file, where = reading.policy, reading.file, reading.setup.place(reading.policy.file)
    if reading.file_in_use and not file.unsafe:
        message = f"The value comes from the break-glass file {where}."
        yield about(
            reading, Check.FILE_FALLBACK, message, f"Deliver the key as {policy.variable}, then delete the file."
        )
        if lax := (*file.lax, *file.lax_way):
            remedy = f"Make the service's user its owner, and run: chmod 600 {where}"
            if file.lax_way:
                remedy = f"Deliver the key as {policy.variable} instead: the mount is read-only, and chmod fails there."
            yield about(reading, Check.FILE_PERMISSIONS, f"{where} is open too wide: {'; '.join(lax)}.", remedy)
    elif not reading.file_in_use and holds_key_material(file):
        if reading.setup.files_off:
            check, why = Check.FILE_PRESENT, "while fallback files are off"
        else:
            check, why = Check.FILE_STALE, f"while {policy.variable} delivers the key"
        what = "cannot be judged" if file.unreadable else "holds key material"
        message = f"{where} {what}, {why}."
        remedy = "Make sure that the secret manager has the key, then delete the file; if it was exposed, rotate."
        yield about(reading, check, message, remedy, source=f"file:{policy.file}")


def holds_key_material(file: TextFile) -> bool:
    """Whether a key file holds anything but blanks, comments and placeholders, or cannot be judged.

    Args:
        file: the file.
    """
    return bool(file.unreadable) or not all(is_placeholder(line.get_secret_value()) for line in file.lines)
