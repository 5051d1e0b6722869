"""A service with metrics. Serve it: `uvicorn service:app`. Prometheus reads `/metrics`.

`/metrics` shows no key. It shows fingerprints and owners: let only your network reach it.
"""

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from robodj_secretguard import guard
from robodj_secretguard.adapters.prometheus import SecretCollector

secrets = guard()

registry = CollectorRegistry()
registry.register(SecretCollector(secrets))

app = FastAPI()


@app.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the metrics. This is not `async`: the check reads files, in another thread."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), media_type=content_type)
