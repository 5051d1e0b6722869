"""Read what Prometheus has scraped: which instance used which keys, at which time (policy sections 3 and 4)."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.errors import SecretGuardError
from robodj_secretguard.fleet.evidence import Evidence, seconds_of, slots_by_secret, who_of
from robodj_secretguard.secret.sealed import type_name
from robodj_secretguard.secret.texts import could_hold_key

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES: Final = 1 << 25
"""The largest answer that is read."""
SECONDS: Final = 30.0
"""How long to wait for an answer."""
# What selects by a key or a slot would hide the keys that an instance uses.
_SELECTOR: Final = r'(?!(?:secret|slot|fingerprint|__name__)\W)[a-zA-Z_][a-zA-Z0-9_]*(?:=|!=|=~|!~)"[^"\\\x00-\x1f]*"'
_NAMES: Final = '__name__=~"robodj_secret_(info|previous_until_timestamp_seconds|start_timestamp_seconds)"'


class NoAnswerError(SecretGuardError):
    """Prometheus did not answer as it should."""


def is_address(text: str) -> bool:
    """Check whether text is the address of a server. One with a password would be seen in the list of processes."""
    return re.fullmatch(r"https?://[\w.\[\]:-]+(?:/[\w./-]*)?", text) is not None and not could_hold_key(text)


def is_selector(text: str) -> bool:
    """Check whether text has label matchers, such as `environment="prod"`."""
    return re.fullmatch(rf"{_SELECTOR}(?:,{_SELECTOR})*", text) is not None and not could_hold_key(text)


def scraped(url: str, selector: str, seconds: int) -> Iterator[Evidence]:
    """Yield the evidence of each scrape of the last seconds. Its job is the service.

    Raises:
        NoAnswerError: the server cannot be reached, or has no such answer.
    """
    from http.client import HTTPException  # noqa: PLC0415 - slow, and few commands need them
    from urllib.parse import urlencode  # noqa: PLC0415
    from urllib.request import urlopen  # noqa: PLC0415

    query = f"{{{','.join(filter(None, (_NAMES, selector)))}}}[{seconds}s]"
    try:
        with urlopen(f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': query})}", timeout=SECONDS) as answer:  # noqa: S310 - the caller checks the scheme
            content = answer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise NoAnswerError("its answer is too large; shorten --max-age, or pass --select")
        document = json.loads(content)
        series = document["data"]["result"]
        if document["status"] != "success" or document.get("warnings"):
            raise NoAnswerError("its answer is not complete")
        yield from evidence_in(series)
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        code = getattr(error, "code", None)
        raise NoAnswerError(f"HTTP status {code}" if isinstance(code, int) else type_name(error)) from None


def evidence_in(series: list[dict[str, Any]]) -> Iterator[Evidence]:
    """Yield the evidence in the answer to a query: for each scrape of each instance, the keys of a secret.

    A process exports its start. A scrape without one may show a file of last month. A scrape of several processes may
    have several keys in a slot: none of them hides another one.
    """
    scrapes: dict[Any, dict[str, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    untils: dict[Any, float] = {}
    starts: dict[Any, float | None] = {}
    for each in series:
        labels = each["metric"]
        who, secret = who_of(labels.get("job"), labels.get("instance")), labels.get("secret")
        for time, value in each["values"] if who else ():
            if labels["__name__"] == "robodj_secret_start_timestamp_seconds":
                starts[who, time] = seconds_of(float(value))
            elif labels["__name__"] == "robodj_secret_info":
                scrapes[who, time][secret][labels["slot"]].update(filter(None, [labels.get("fingerprint")]))
            else:
                untils[who, time, secret] = max(float(value), untils.get((who, time, secret), 0.0))
    for (who, time), started in starts.items():
        for secret, slots in scrapes[who, time].items():
            until = seconds_of(untils.get((who, time, secret)))
            for fingerprints in zip_longest(*(sorted(slots[name]) for name in ("current", "next", "previous"))):
                keys, at = slots_by_secret([(secret, *fingerprints, until)]), seconds_of(time)
                if keys and at is not None:
                    yield Evidence(who, "running", keys, started, at, at)
