"""A service with metrics and a health endpoint. Serve it: `uvicorn service:app`. Prometheus reads `/metrics`.

`/metrics` shows no key. It shows fingerprints and owners: let only your network reach it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from robodj_secretguard import guard
from robodj_secretguard.adapters.fastapi import ready
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.running.heartbeat import send_end

secrets = guard()

registry = CollectorRegistry()
registry.register(SecretCollector(secrets))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Say the end of the process: uvicorn ends itself with a signal."""
    yield
    send_end()


app = FastAPI(lifespan=lifespan)
app.add_route("/ready", ready(secrets))


@app.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the metrics. This is not `async`: the check reads files, in another thread."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), media_type=content_type)
