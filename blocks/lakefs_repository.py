"""The block of a lakeFS repository."""

from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, SecretStr

from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import ConfigError, InputError
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

    @classmethod
    def from_config(cls, url: str, config: StoreConfig, credentials: Any = None) -> Self:
        """Return the block of a repository with these settings."""
        storage = config.storage or StoreConfig()
        secret = storage.secret_access_key
        plain = super().from_config(
            url, replace(config, storage=None, read_through=None), credentials
        )
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
    def check_place(cls, url: str, config: StoreConfig) -> None:
        """Return if the repository can be read so; what lakectl knows may be missing here."""
        from prefect_freight.sources.lakefs.addresses import SCHEME
        from prefect_freight.sources.lakefs.source import LakeFSObjects

        if not url.startswith(SCHEME):
            raise ConfigError(
                "expected lakefs://repository or lakefs://repository/prefix, found none"
            )
        whole = replace(
            config,
            endpoint_url=config.endpoint_url or "http://127.0.0.1",
            access_key_id=config.access_key_id or "none",
            secret_access_key=config.secret_access_key or Secret("none"),
        )
        try:
            LakeFSObjects.of_url(url, whole)
        except InputError as error:
            raise ConfigError(str(error)) from None

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
