"""The state of a running service: whether what it holds follows what is delivered (policy sections 3 and 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from robodj_secretguard.secret.frozen import Frozen

StateName: TypeAlias = Literal["following", "kept", "late", "ending"]

_OK: Final = 200
_UNAVAILABLE: Final = 503


class RunningState(Frozen):
    """The state of a running service, the same in its start events, in its metrics and in `fleet`.

    Attributes:
        name: `following`: it uses what is delivered. `kept`: it refused that, and uses its last good secrets. `late`:
            it read nothing in time. `ending`: its current key is revoked, and it is about to end.
        since: when this state began, in UTC.
        checks: the alerts of a state other than `following`, such as `session_key: placeholder`.
    """

    name: StateName
    since: datetime
    checks: tuple[str, ...] = ()

    @property
    def http_status(self) -> int:
        """The status of a health endpoint: 503 for `ending`, and 200 otherwise. A refused set stops no service."""
        return _UNAVAILABLE if self.name == "ending" else _OK


def state_of(store: Any) -> RunningState:
    """Return the present state of a `KeyStore`. Without anything that reads again, it follows its start."""
    if store.reader is not None:
        state: RunningState = store.reader.state()
        return state
    return RunningState("ending" if store.keys.refused else "following", store.keys.report.checked_at)
