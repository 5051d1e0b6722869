"""A process of its own whose secrets switch while many threads read pairs. It prints its figures."""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Final

from live_model import address
from publications import Set, first, volume

from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy, guard

THREADS: Final = 16
END_SECONDS: Final = 10


class Generations(RuntimeSecrets):
    """A user and its password, which carry the number of their set, beside the shipped secrets."""

    db_user: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db")]
    db_password: Annotated[Secret, SecretPolicy(material=Material.url("postgresql"), group="db")]


def generation(files: Set, number: int) -> Set:
    """Number a set."""
    return {**files, "DB_USER": f"user-{number:06}", "DB_PASSWORD": f"{address()}-{number:06}"}


def number_of(secret: Secret) -> str:
    """Return the number of the set of a secret."""
    return secret.get_secret_value()[-6:]


def resident() -> int:
    """Return the resident memory of this process, in KiB."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


class Readers:
    """Threads that read pairs, each with a function that is told of changes.

    Attributes:
        seen: the number of the set that each function has seen last.
        errors: what was raised.
    """

    def __init__(self, secrets: Generations) -> None:
        self._secrets = secrets
        self._stopped = threading.Event()
        self._pairs, self._mixtures, self._torn = itertools.count(), itertools.count(), itertools.count()
        self._threads = [threading.Thread(target=self._use, args=(each,), daemon=True) for each in range(THREADS)]
        self.seen: dict[int, str] = {}
        self.errors: list[str] = []
        for each in self._threads:
            each.start()

    def _use(self, reader: int) -> None:
        try:
            self._secrets.db_user.on_change(lambda secret: self.seen.update({reader: number_of(secret)}))
            while not self._stopped.is_set():
                with self._secrets.at_once() as now:
                    if number_of(now.db_user) != number_of(now.db_password):
                        next(self._mixtures)
                next(self._pairs)
                if number_of(self._secrets.db_user) != number_of(self._secrets.db_password):
                    next(self._torn)
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.errors.append(repr(error))

    def stop(self, last: str) -> dict[str, object]:
        """Wait for the threads, and for the functions to see the last set. Return the figures."""
        self._stopped.set()
        deadline = time.monotonic() + END_SECONDS
        for each in self._threads:
            each.join(max(0.0, deadline - time.monotonic()))
        while self.seen != dict.fromkeys(range(THREADS), last) and time.monotonic() < deadline:
            time.sleep(0.01)
        return {
            "pairs": next(self._pairs),
            "mixtures": next(self._mixtures),
            "torn without at_once()": next(self._torn),
            "threads that hang": sum(each.is_alive() for each in self._threads),
            "functions that missed the last set": THREADS - list(self.seen.values()).count(last),
            "errors": self.errors[:3],
        }


def main(switches: int) -> dict[str, object]:
    """Switch so often, and return the figures."""
    path, files, sizes = Path(os.environ["ROBODJ_SECRETS_DIR"]), first(), dict[int, int]()
    volume(path, generation(files, 0))
    secrets = guard(Generations)
    readers, began = Readers(secrets), time.monotonic()
    sys.setswitchinterval(1e-4)  # otherwise a read waits long for the threads
    for number in range(1, switches + 1):
        volume(path, generation(files, number))
        if not secrets.refresh().ok:
            readers.errors.append(f"set {number} is refused")
        if number % (switches // 10) == 0:
            sizes[number] = resident()
    figures = {"switches": switches, "seconds": round(time.monotonic() - began), **readers.stop(f"{switches:06}")}
    return {**figures, "KiB by switches": sizes, "growth": round(resident() / sizes[switches // 10], 4)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))  # noqa: T201 - its figures
