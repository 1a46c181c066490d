"""The block of a lakeFS repository."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, HttpUrl, SecretStr, model_validator

from prefect_freight.blocks.settings import DOCUMENTATION_URL, LOGO_URL, PlaceBlock
from prefect_freight.config import Secret, StoreConfig, parse_config
from prefect_freight.errors import ConfigError, FreightError
from prefect_freight.sources import Source

URL_PATTERN = r"^lakefs://[a-z0-9][a-z0-9-]{2,62}(/[^@]*)?$"


class LakeFSRepository(PlaceBlock):
    """A lakeFS repository, or what lies below a prefix of it, whose commits are exported.

    Example:
        Load a saved block and find the commit of a branch:
        ```python
        from prefect_freight.blocks import LakeFSRepository

        repository = LakeFSRepository.load("BLOCK_NAME")
        snapshot = repository.open().resolve("main")
        ```

        Make one from a YAML file of credentials, and save it:
        ```python
        from prefect_freight.blocks import LakeFSRepository

        LakeFSRepository.from_yaml("credentials.yaml", url="lakefs://ocean").save("ocean")
        ```
    """

    _block_type_name = "LakeFS Repository"
    _block_type_slug = "lakefs-repository"
    _logo_url = HttpUrl(LOGO_URL)
    _documentation_url = HttpUrl(DOCUMENTATION_URL)

    url: str = Field(
        title="URL",
        json_schema_extra={"pattern": URL_PATTERN},
        description="lakefs://repository, or lakefs://repository/prefix.",
    )
    endpoint_url: str | None = Field(
        default=None,
        title="Endpoint URL",
        description="Address of the lakeFS server; if empty, where lakectl finds it.",
    )
    read_through: Literal["bucket", "gateway", "presigned", "rest"] | None = Field(
        default=None,
        description="How objects are read; if empty, the best that is offered.",
    )
    storage_endpoint_url: str | None = Field(
        default=None,
        title="Storage Endpoint URL",
        description="Address of the S3 service below lakeFS, to read the bucket itself.",
    )
    storage_access_key_id: str | None = Field(
        default=None, title="Storage Access Key ID", repr=False, description="Its access key."
    )
    storage_secret_access_key: SecretStr | None = Field(
        default=None, description="Secret that belongs to that key."
    )
    storage_region: str | None = Field(default=None, description="Region of that bucket.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check(self.url, self.to_config())
        return self

    @classmethod
    def from_config(cls, url: str, config: StoreConfig, *others: Any) -> Self:
        """Return the block of a repository with these settings."""
        storage = config.storage or StoreConfig()
        secret = storage.secret_access_key
        plain = super().from_config(url, replace(config, storage=None, read_through=None), *others)
        return plain.model_copy(
            update={
                "read_through": config.read_through,
                "storage_endpoint_url": storage.endpoint_url,
                "storage_access_key_id": storage.access_key_id,
                "storage_secret_access_key": SecretStr(secret.reveal()) if secret else None,
                "storage_region": storage.region,
            }
        )

    @classmethod
    def from_mapping(cls, settings: Any, where: str, *_: Any) -> Self:
        """Return the block that keys and values describe; `where` is named in errors."""
        config = parse_config(settings, where, beside=("url",))
        url = settings.get("url") if isinstance(settings, Mapping) else None
        if not isinstance(url, str) or not url:
            raise ConfigError(f"expected a text 'url' in {where}, found none")
        try:
            _check(url, config)
        except ConfigError as error:
            raise ConfigError(f"{error} (in {where})") from None
        return cls.from_config(url, config)

    def to_config(self) -> StoreConfig:
        """Return the settings as the engine takes them; raises `ConfigError`."""
        secret = self.storage_secret_access_key
        revealed = secret.get_secret_value() if secret else ""
        storage = StoreConfig(
            endpoint_url=self.storage_endpoint_url or None,
            access_key_id=self.storage_access_key_id or None,
            secret_access_key=Secret(revealed) if revealed else None,
            region=self.storage_region or None,
        )
        way = self.read_through or None
        given = storage if storage != StoreConfig() else None
        return replace(super().to_config(), storage=given, read_through=way)

    def open(self) -> Source:
        """Return the repository as a source, which connects on first use."""
        from prefect_freight.sources.kinds import open_source

        return open_source(self.url, self.to_config())


def _check(url: str, config: StoreConfig) -> None:
    """Raise `ConfigError` for what could never be used; what lakectl knows may be missing here."""
    from prefect_freight.sources.lakefs.source import LakeFSObjects

    there = StoreConfig(
        endpoint_url="http://127.0.0.1", access_key_id="none", secret_access_key=Secret("none")
    )
    whole = replace(
        config,
        endpoint_url=config.endpoint_url or there.endpoint_url,
        access_key_id=config.access_key_id or there.access_key_id,
        secret_access_key=config.secret_access_key or there.secret_access_key,
    )
    if not url.startswith("lakefs://"):
        raise ConfigError("expected lakefs://repository or lakefs://repository/prefix, found none")
    try:
        LakeFSObjects.of_url(url, whole)  # which connects to nothing
    except FreightError as error:
        raise ConfigError(str(error)) from None
