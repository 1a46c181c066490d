"""The fields that say how a store is reached: of a place, and of credentials apart from one."""

from typing import Any, ClassVar

from prefect.blocks.core import Block, schema_extra
from prefect.types import SecretDict
from pydantic import ConfigDict, Field, SecretStr, model_validator

from prefect_freight.config import Secret, StoreConfig, parse_config


def _open_schema(schema: dict[str, Any], model: type[Block]) -> None:
    """Let `$ref` in: deployments and the UI's form refer to saved blocks by it."""
    schema_extra(schema, model)
    schema.pop("additionalProperties", None)


class StoreKeys(Block):
    """How stores are reached, and with whose credentials.

    All that a block holds is checked when it is made, by the code that checks the YAML of the
    command line, and no error shows a value.
    """

    # No logo and no link to documentation: Prefect takes them at http:// addresses only, a data URL
    # is refused, and this project has no address yet. It shows a sign of its own instead.

    # Prefect's own setting accepts a misspelled key, and shows its value. Pydantic's errors would
    # quote the input, secrets included.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra=_open_schema
    )

    endpoint_url: str | None = Field(
        default=None,
        title="Endpoint URL",
        description="Address of the S3 service, such as http://127.0.0.1:8333; AWS if empty.",
    )
    access_key_id: str | None = Field(
        default=None,
        title="Access Key ID",
        repr=False,
        description="Access key of S3; without it those of the profile or the environment count.",
    )
    secret_access_key: SecretStr | None = Field(
        default=None, description="Secret that belongs to the access key."
    )
    session_token: SecretStr | None = Field(
        default=None, description="Token that belongs to temporary access keys."
    )
    region: str | None = Field(
        default=None, description="Region of the bucket; us-east-1 beside an endpoint, if empty."
    )
    profile: str | None = Field(
        default=None, description="Name of a profile of the worker's AWS configuration files."
    )
    anonymous: bool = Field(
        default=False, description="Send requests unsigned, which public buckets allow."
    )
    virtual_hosted_style: bool = Field(
        default=False, description="Put the bucket's name into the host's name, not into the path."
    )
    allow_http: bool | None = Field(
        default=None,
        title="Allow HTTP",
        description="Allow an endpoint without TLS; an http:// endpoint URL implies it.",
    )
    storage_options: SecretDict | None = Field(
        default=None, description="What fsspec takes for other URLs than s3://, kept secret."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_slug(cls, values: Any) -> Any:
        # Prefect writes its slug and ids into inline and nested blocks, and its own check of the
        # slug comes after this one.
        if isinstance(values, dict) and values.get("block_type_slug") == cls.get_block_type_slug():
            return {
                key: value
                for key, value in values.items()
                if key != "block_type_slug" and not key.startswith("_")
            }
        return values

    def to_config(self) -> StoreConfig:
        """Return the settings as the engine takes them; raises `ConfigError` as `parse_config`."""
        options = self.storage_options
        settings = {
            "endpoint_url": self.endpoint_url,
            "access_key_id": self.access_key_id,
            "secret_access_key": _shown(self.secret_access_key),
            "session_token": _shown(self.session_token),
            "region": self.region,
            "profile": self.profile,
            "anonymous": self.anonymous or None,
            "virtual_hosted_style": self.virtual_hosted_style or None,
            "allow_http": self.allow_http,
            "storage_options": options.get_secret_value() if options is not None else None,
        }
        # Prefect's form sends an empty text for a field that was left empty.
        settings = {key: None if value == "" else value for key, value in settings.items()}
        return parse_config(settings, f"the block {self.get_block_type_name()}")


def fields_of(config: StoreConfig) -> dict[str, Any]:
    """Return the fields of a block with these settings."""
    return {
        "endpoint_url": config.endpoint_url,
        "access_key_id": config.access_key_id,
        "secret_access_key": _hidden(config.secret_access_key),
        "session_token": _hidden(config.session_token),
        "region": config.region,
        "profile": config.profile,
        "anonymous": bool(config.anonymous),
        "virtual_hosted_style": bool(config.virtual_hosted_style),
        "allow_http": config.allow_http,
        "storage_options": SecretDict(dict(config.storage_options))
        if config.storage_options is not None
        else None,
    }


def _hidden(secret: Secret | None) -> SecretStr | None:
    return None if secret is None else SecretStr(secret.reveal())


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
