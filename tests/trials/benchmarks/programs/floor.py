"""The floor: two secrets in a plain settings model, which only checks that they are set."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """The same two secrets as `RuntimeSecrets`."""

    robodj_secret_key: SecretStr
    robodj_secret_v2_key: SecretStr


if __name__ == "__main__":
    Settings()
