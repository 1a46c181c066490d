"""Prefect blocks of prefect-freight: places, and the credentials that open them.

`icechunk_repository`, `lakefs_repository`, `zarr_store` and `object_store` are the places,
`settings` what all have and how YAML becomes one; `store_credentials` are those apart from a place,
ours and `others`' (prefect-aws's and the like), of the same `store_keys`. `references` finds a
saved place by `block:<type-slug>/<name>`, `register` saves what a file describes, and `server`
tells of Prefect's server, which they ask. Not promised: that a place can be reached; nothing is
opened here.
"""

if __name__ != "prefect_freight.blocks":
    raise ImportError(
        f"expected to be imported as prefect_freight.blocks, found {__name__!r}: a second copy "
        "would register every block type twice. Import prefect_freight.blocks"
    )

from prefect_freight.blocks.icechunk_repository import IcechunkRepository
from prefect_freight.blocks.lakefs_repository import LakeFSRepository
from prefect_freight.blocks.object_store import ObjectStore
from prefect_freight.blocks.store_credentials import StoreCredentials
from prefect_freight.blocks.zarr_store import ZarrStore

__all__ = [
    "IcechunkRepository",
    "LakeFSRepository",
    "ObjectStore",
    "StoreCredentials",
    "ZarrStore",
]
