"""The block of a Zarr store without version control."""

from pydantic import Field

from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.sources import Source
from prefect_freight.stores.credentials import PLACE_PATTERN

KIND = "zarr+"


class ZarrStore(PlaceBlock):
    """A Zarr store, of Zarr 2 or Zarr 3, that is exported as it is now.

    Example:
        Load a saved block and find what lies there now:
        ```python
        from prefect_freight.blocks import ZarrStore

        zarr_store = ZarrStore.load("BLOCK_NAME")
        snapshot = zarr_store.open().resolve("main")
        ```

        Make one from a YAML file of credentials, and save it:
        ```python
        from prefect_freight.blocks import ZarrStore

        ZarrStore.from_yaml("credentials.yaml", url="s3://bucket/weather.zarr").save("weather")
        ```
    """

    _block_type_name = "Zarr Store"
    _block_type_slug = "zarr-store"

    url: str = Field(
        title="URL",
        json_schema_extra={"pattern": PLACE_PATTERN},
        description="Path, file:// or s3://bucket/prefix URL of the store, or any other URL that "
        "fsspec opens.",
    )

    @classmethod
    def store_url(cls, url: str) -> str:
        """Return the URL of the place where the store's objects lie."""
        return url.removeprefix(KIND)

    def open(self) -> Source:
        """Return the store as a source, which connects on first use."""
        from prefect_freight.sources.kinds import open_source  # which takes a second

        return open_source(KIND + self.store_url(self.url), self.to_config())
