"""The block of an Icechunk repository."""

from pydantic import Field

from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.sources import Source
from prefect_freight.stores.credentials import PLACE_PATTERN

KIND = "icechunk+"


class IcechunkRepository(PlaceBlock):
    """An Icechunk repository whose snapshots are exported.

    Example:
        Load a saved block and find the snapshot of a branch:
        ```python
        from prefect_freight.blocks import IcechunkRepository

        repository = IcechunkRepository.load("BLOCK_NAME")
        snapshot = repository.open().resolve("main")
        ```

        Make one from a YAML file of credentials, and save it:
        ```python
        from prefect_freight.blocks import IcechunkRepository

        IcechunkRepository.from_yaml("credentials.yaml", url="s3://bucket/weather").save("weather")
        ```
    """

    _block_type_name = "Icechunk Repository"
    _block_type_slug = "icechunk-repository"

    url: str = Field(
        title="URL",
        json_schema_extra={"pattern": PLACE_PATTERN},
        description="Path, file:// or s3://bucket/prefix URL of the repository.",
    )

    @classmethod
    def store_url(cls, url: str) -> str:
        """Return the URL of the place where the repository's objects lie."""
        return url.removeprefix(KIND)

    def open(self) -> Source:
        """Return the repository as a source, which connects on first use."""
        from prefect_freight.sources.kinds import open_source  # icechunk and zarr take a second

        return open_source(KIND + self.store_url(self.url), self.to_config())
