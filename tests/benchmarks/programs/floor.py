"""The floor: two secrets in a bare settings model, which checks nothing but that they are there."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """The same two secrets as `RuntimeSecrets`."""

    robodj_secret_key: SecretStr
    robodj_secret_v2_key: SecretStr


if __name__ == "__main__":
    Settings()
