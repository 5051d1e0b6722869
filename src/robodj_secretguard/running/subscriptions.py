"""Call the functions of `Secret.on_change`, in another thread. No read and no end of the process waits for one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from robodj_secretguard.running.parts import Subscription
from robodj_secretguard.running.threads import start
from robodj_secretguard.secret.sealed import contain, type_name

CALL_SECONDS: Final = 2.0
"""After how many seconds a function that has not returned is an alert, and one that no thread began is called here."""


def notify(subscriptions: Iterable[Subscription], report_fault: Callable[[], object]) -> None:
    """Call each function that has missed a change. `report_fault` is called once a function has failed."""
    for each in [*subscriptions]:
        if each.is_behind and not each.lock.locked():  # otherwise, a thread calls it already
            is_ignored = time.monotonic() - each.asked_at >= CALL_SECONDS  # a host that runs no threads
            each.asked_at = min(each.asked_at, time.monotonic())
            if is_ignored or not start(deliver, each, report_fault):
                deliver(each, report_fault)


def deliver(subscription: Subscription, report_fault: Callable[[], object]) -> None:
    """Call a function until it has seen the last change, unless another thread does that."""
    # After each release, a change may have come that no other thread has seen.
    while subscription.is_behind and subscription.lock.acquire(blocking=False):
        try:
            number = subscription.due()
            subscription.asked_at = math.inf
            subscription.began_at = time.monotonic()
            contain(subscription.call)
            subscription.seen = number
            subscription.fault = ""
        except BaseException as error:  # noqa: BLE001 - of the host; the next read calls it again
            subscription.fault = f"failed ({type_name(error)})"
        finally:
            subscription.began_at = math.inf
            subscription.lock.release()
        if subscription.fault:
            report_fault()
            return


def faults(subscriptions: Iterable[Subscription]) -> list[str]:
    """Return what is wrong with the functions: each one failed, or has not returned."""
    found = []
    for each in subscriptions:
        if each.fault:
            found.append(f"{each.what} {each.fault}")
        elif time.monotonic() - each.began_at >= CALL_SECONDS:
            found.append(f"{each.what} has not returned within {CALL_SECONDS:.0f} s")
    return list(dict.fromkeys(found))


def renew(subscriptions: Iterable[Subscription]) -> None:
    """Forget the calls of the parent, in a fork: its threads are not here."""
    for each in subscriptions:
        each.lock = threading.Lock()
        each.asked_at = math.inf
        each.began_at = math.inf
