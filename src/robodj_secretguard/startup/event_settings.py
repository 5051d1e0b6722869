"""The settings of the events, which say which keys a process runs on. Few starts have one."""

from __future__ import annotations

import os
import re

from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import could_hold_key, is_environment, is_instance_name
from robodj_secretguard.startup.inputs import ENVIRONMENT, MOST_HEARTBEAT_SECONDS, SECRET_EVENTS, SECRET_HEARTBEAT


def valid_event_setting(name: str, value: SealedStr) -> str:
    """Return the text of a setting; empty for an invalid one. It is never a key."""
    text = value.get_secret_value()
    if name == SECRET_HEARTBEAT:
        is_valid = re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None and int(text) <= MOST_HEARTBEAT_SECONDS
    elif name == SECRET_EVENTS:
        is_path = os.path.isabs(text) and not could_hold_key(text) and text.isprintable()
        is_valid = is_path or text in {"stdout", "stderr"}
    elif name == ENVIRONMENT:
        is_valid = is_environment(text)
    else:
        is_valid = is_instance_name(text)
    return text if is_valid else ""
