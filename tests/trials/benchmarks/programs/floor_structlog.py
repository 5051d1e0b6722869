"""The floor, in a service that imports structlog."""

import structlog  # noqa: F401
from floor import Settings

Settings()
