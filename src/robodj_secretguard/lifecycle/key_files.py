"""Write new keys to the fallback files: break-glass storage on one machine (policy sections 1 and 2)."""

from __future__ import annotations

import contextlib
import errno
import os
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final

from robodj_secretguard.common.files import locked_directory, prepared_file, put_in_place, read_unlinked, reason
from robodj_secretguard.errors import UsageError
from robodj_secretguard.startup.readings import MAX_FILE_BYTES, within_config_dir
from robodj_secretguard.startup.rules import holds_key_material
from robodj_secretguard.startup.textfile import read_text_file, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.secret.sealed import SealedStr
    from robodj_secretguard.startup.textfile import TextFile

TEMPLATE: Final = ".example"  # the suffix of the template of a key file

_KEY_MODE: Final = 0o600


def write_keys(directory: str, keys: Mapping[SecretPolicy, SealedStr], *, force: bool) -> None:
    """Write keys to their fallback files: all of them, or none if one is refused.

    Each file is readable by its owner alone, and is replaced atomically, never through a link. The comments of the
    file are kept, or those of its template for a new file.
    """
    paths = {policy: os.path.join(directory, within_config_dir(policy.file)) for policy in keys}
    written: list[str] = []
    try:
        with locked_directory(directory), contextlib.ExitStack() as stack:
            files = {policy: read_text_file(path, most=MAX_FILE_BYTES) for policy, path in paths.items()}
            refusals = [_refusal(policy, path, files[policy], force=force) for policy, path in paths.items()]
            if any(refusals):
                raise UsageError(". ".join(filter(None, refusals)))
            ready = {policy: _prepare(stack, policy, paths[policy], key) for policy, key in keys.items()}
            for policy, prepared in ready.items():
                put_in_place(prepared, paths[policy], replace=files[policy].exists)
                written.append(policy.name)
            return
    except FileExistsError:
        why = "another process created a key file; read that file, then try again"
    except OSError as error:
        why = f"the config directory: {reason(error)}"
        if error.errno == errno.EBUSY:  # only for the replacement of a file
            policy = next(policy for policy in keys if policy.name not in written)
            why = (
                f"{policy.file} is a mount point and cannot be replaced; write the key to the file that is mounted"
                f" there, or set {policy.variable}"
            )
    raise UsageError(f"{why}. Already written: {', '.join(written)}" if written else why)


def _refusal(policy: SecretPolicy, path: str, file: TextFile, *, force: bool) -> str:
    """Return why a secret's file must not be written; empty if it can be."""
    if os.path.islink(path):
        return f"{policy.file} is a symbolic link; replace it with a regular file"
    if file.exists and not os.path.isfile(path):
        return f"{policy.file} is not a regular file; move it away"
    if not force and holds_key_material(file, is_opaque=policy.is_opaque):
        what = "cannot be read" if file.unreadable else "already has a key"
        return f"{policy.file} {what}; to replace it, add --force"
    return ""


def _prepare(stack: contextlib.ExitStack, policy: SecretPolicy, path: str, key: SealedStr) -> str:
    """Write a key to a new file next to the key file, check it, and return its path."""
    text = _text(path) or _text(path + TEMPLATE)
    try:
        prepared = stack.enter_context(prepared_file(path, _with_key(text, key).encode(), _KEY_MODE))
    except OSError as error:
        why = f": {reason(error)}"
    else:
        made = read_text_file(prepared, most=MAX_FILE_BYTES)
        if made.lines == (key,) and not made.unsafe:
            return prepared
        why = f" would fail the check: it {' and '.join(made.unsafe) or 'has other text'}; correct that, then try again"
    raise UsageError(policy.file + why)


def _text(path: str) -> str:
    """Return the text of a file or a template; nothing if it is missing, is a link or cannot be read."""
    try:
        content, _ = read_unlinked(path, MAX_FILE_BYTES + 1)
    except OSError:
        return ""
    if text_of(content).unreadable or len(content) > MAX_FILE_BYTES:
        return ""
    return content.removeprefix(BOM_UTF8).decode().replace("\r\n", "\n")


def _with_key(text: str, key: SealedStr) -> str:
    """Return a file's text with its values replaced by the key; comments and blank lines stay."""
    lines = text.removesuffix("\n").split("\n") if text else []
    first = next((index for index, line in enumerate(lines) if _is_value(line)), len(lines))
    before, after = lines[:first], [line for line in lines[first:] if not _is_value(line)]
    return "\n".join([*before, key.get_secret_value(), *after, ""])


def _is_value(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")
