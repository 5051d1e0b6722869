"""The import that every settings model of pydantic pays for."""

import pydantic_settings  # noqa: F401
