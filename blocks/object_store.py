"""The block of a place where objects lie."""

from pydantic import Field

from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.stores import Store
from prefect_freight.stores.credentials import PLACE_PATTERN
from prefect_freight.stores.urls import open_store


class ObjectStore(PlaceBlock):
    """Where a copy is written: a folder of a local disk, a bucket of S3 or any fsspec URL.

    Example:
        Load a saved block and list its objects:
        ```python
        from prefect_freight.blocks import ObjectStore

        object_store = ObjectStore.load("BLOCK_NAME")
        keys = [key for page in object_store.open().list() for key in page["key"].to_pylist()]
        ```

        Make one from a YAML file of credentials, and save it:
        ```python
        from prefect_freight.blocks import ObjectStore

        ObjectStore.from_yaml("credentials.yaml", url="s3://bucket/prefix").save("archive")
        ```
    """

    _block_type_name = "Object Store"
    _block_type_slug = "object-store"

    url: str = Field(
        title="URL",
        json_schema_extra={"pattern": PLACE_PATTERN},
        description="Path, file:// or s3://bucket/prefix URL, or any other URL that fsspec opens.",
    )

    def open(self) -> Store:
        """Return the store, which connects on first use."""
        return open_store(self.url, self.to_config())
