"""Prefect blocks of prefect-freight: places, and the credentials that open them."""

if __name__ != "prefect_freight.blocks":
    raise ImportError(
        f"expected to be imported as prefect_freight.blocks, found {__name__!r}: a second copy "
        "would register every block type twice. Import prefect_freight.blocks"
    )

from prefect_freight.blocks.icechunk_repository import IcechunkRepository
from prefect_freight.blocks.object_store import ObjectStore

__all__ = ["IcechunkRepository", "ObjectStore"]
