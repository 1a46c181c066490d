"""What all blocks of places share: where it is, and how it is reached."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from prefect.blocks.core import Block
from pydantic import (
    BaseModel,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_validator,
)

from prefect_freight.blocks.store_credentials import (
    Credentials,
    config_for,
    load_credentials,
    parse_credentials,
)
from prefect_freight.blocks.store_keys import StoreKeys, fields_of
from prefect_freight.config import StoreConfig, parse_config, read_yaml
from prefect_freight.errors import ConfigError
from prefect_freight.stores.credentials import PLACE_PATTERN
from prefect_freight.stores.urls import open_store

BESIDE = ("url", "credentials")
"""What a block has beside the settings of a store."""


class Located(BaseModel):
    """The fields that a form shows first."""

    url: str = Field(
        description="Path or URL of the place.", json_schema_extra={"pattern": PLACE_PATTERN}
    )
    credentials: Credentials | None = Field(
        default=None,
        repr=False,
        description="A saved block of credentials, which many places may share, instead of keys.",
    )


class PlaceBlock(StoreKeys, Located):
    """A place with credentials; a subclass for each kind of place."""

    @field_validator("credentials", mode="wrap")
    @classmethod
    def _of_one_type(cls, given: Any, _: ValidatorFunctionWrapHandler) -> Block | None:
        # Pydantic would try each type in turn, and others' checks fail at what is not theirs.
        return None if given is None else parse_credentials(given)

    @field_serializer("credentials", mode="wrap")
    def _without_keys(
        self, block: Block | None, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> Any:
        if block is None:
            return None
        # Others' blocks have secrets that are plain texts, such as a session token. They are stored
        # where they are saved, and nowhere else: the place's document refers to theirs.
        slug, name = block.get_block_type_slug(), block._block_document_name
        if not (info.context or {}).get("include_secrets"):
            return {"block_type_slug": slug, "name": name}
        if block._block_document_id is None:
            raise ConfigError(
                f"expected saved credentials, found {slug} that nobody saved. Call "
                "credentials.save(NAME) first"
            )
        return handler(block)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        self.check_place(self.url, self.to_config())
        return self

    @classmethod
    def from_config(
        cls, url: str, config: StoreConfig, credentials: Credentials | None = None
    ) -> Self:
        """Return the block of a place with these settings."""
        return cls(url=url, credentials=credentials, **fields_of(config))

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], url: str | None = None) -> Self:
        """Return the block that a YAML file describes.

        The file is what `freight --config` takes, and may hold the `url` too, and `credentials`,
        `block:<type-slug>/<name>`. Raises `ConfigError` that names the file and the key, and never
        a value.
        """
        settings, where = read_yaml(path), str(path)
        if isinstance(settings, Mapping) and url is not None:
            settings = {**settings, "url": url}
        return cls.from_mapping(settings, where)

    @classmethod
    def from_mapping(
        cls,
        settings: Any,
        where: str,
        load: Callable[[Any, str], Block] = load_credentials,
    ) -> Self:
        """Return the block that keys and values describe; `where` is named in errors.

        `load` returns the credentials that a reference names.
        """
        config = parse_config(settings, where, beside=BESIDE)
        url, reference = settings.get("url"), settings.get("credentials")
        if not isinstance(url, str) or not url:
            raise ConfigError(f"expected a text 'url' in {where}, found none")
        credentials = None if reference is None else load(reference, where)
        # Tried here first: an error of pydantic's check would name neither file nor block.
        try:
            at = cls.store_url(url)
            cls.check_place(url, config_for(config, credentials, at) if credentials else config)
        except ConfigError as error:
            raise ConfigError(f"{error} (in {where})") from None
        return cls.from_config(url, config, credentials)

    def to_config(self) -> StoreConfig:
        """Return the settings as the engine takes them, those of the credentials among them.

        Raises `ConfigError` as `parse_config`.
        """
        own = super().to_config()
        if self.credentials is None:
            return own
        return config_for(own, self.credentials, self.store_url(self.url))

    @classmethod
    def check_place(cls, url: str, config: StoreConfig) -> None:
        """Return if the place can be opened so, connecting to nothing; raises `ConfigError`."""
        open_store(cls.store_url(url), config)

    @classmethod
    def store_url(cls, url: str) -> str:
        """Return the URL of the store at a URL of this kind of place."""
        return url
