"""The fields that all blocks of places share: where it is, and how it is reached."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from prefect.blocks.core import Block, schema_extra
from prefect.types import SecretDict
from pydantic import ConfigDict, Field, SecretStr, model_validator

from prefect_freight.config import Secret, StoreConfig, parse_config, read_yaml
from prefect_freight.errors import ConfigError
from prefect_freight.stores.credentials import PLACE_PATTERN
from prefect_freight.stores.urls import open_store

BESIDE = ("url",)
"""What a block has beside the settings of a store."""
DOCUMENTATION_URL = "https://docs.prefect.io/v3/concepts/blocks"
LOGO_URL = (
    "https://raw.githubusercontent.com/PrefectHQ/prefect/"
    "420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
)


def _open_schema(schema: dict[str, Any], model: type[Block]) -> None:
    """Let `$ref` in: deployments and the UI's form refer to saved blocks by it."""
    schema_extra(schema, model)
    schema.pop("additionalProperties", None)


class PlaceBlock(Block):
    """A place with credentials; a subclass for each kind of place.

    All that a block holds is checked when it is made, by the code that checks the YAML of the
    command line, and no error shows a value.
    """

    # Prefect's own setting accepts a misspelled key, and shows its value. Pydantic's errors would
    # quote the input, secrets included.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra=_open_schema
    )

    url: str = Field(
        description="Path or URL of the place.", json_schema_extra={"pattern": PLACE_PATTERN}
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
        # Prefect writes the slug into inline blocks, and its own check of it comes after this one.
        if isinstance(values, dict) and values.get("block_type_slug") == cls.get_block_type_slug():
            return {key: value for key, value in values.items() if key != "block_type_slug"}
        return values

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        open_store(self.store_url(self.url), self.to_config())  # connects to nothing
        return self

    @classmethod
    def from_config(cls, url: str, config: StoreConfig) -> Self:
        """Return the block of a place with these settings."""
        return cls(
            url=url,
            endpoint_url=config.endpoint_url,
            access_key_id=config.access_key_id,
            secret_access_key=_hidden(config.secret_access_key),
            session_token=_hidden(config.session_token),
            region=config.region,
            profile=config.profile,
            anonymous=bool(config.anonymous),
            virtual_hosted_style=bool(config.virtual_hosted_style),
            allow_http=config.allow_http,
            storage_options=SecretDict(dict(config.storage_options))
            if config.storage_options is not None
            else None,
        )

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], url: str | None = None) -> Self:
        """Return the block that a YAML file describes.

        The file is what `freight --config` takes, and may hold the `url` too. Raises `ConfigError`
        that names the file and the key, and never a value.
        """
        settings, where = read_yaml(path), str(path)
        if isinstance(settings, Mapping) and url is not None:
            settings = {**settings, "url": url}
        return cls.from_mapping(settings, where)

    @classmethod
    def from_mapping(cls, settings: Any, where: str) -> Self:
        """Return the block that keys and values describe; `where` is named in errors."""
        config = parse_config(settings, where, beside=BESIDE)
        url = settings.get("url")
        if not isinstance(url, str) or not url:
            raise ConfigError(f"expected a text 'url' in {where}, found none")
        # Tried here first: an error of pydantic's check would name neither file nor block.
        try:
            open_store(cls.store_url(url), config)
        except ConfigError as error:
            raise ConfigError(f"{error} (in {where})") from None
        return cls.from_config(url, config)

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

    @classmethod
    def store_url(cls, url: str) -> str:
        """Return the URL of the store at a URL of this kind of place."""
        return url


def _hidden(secret: Secret | None) -> SecretStr | None:
    return None if secret is None else SecretStr(secret.reveal())


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
