"""Prefect blocks of prefect-freight: places, and the credentials that open them.

`icechunk_repository`, `lakefs_repository` and `object_store` are the blocks, `settings` what all
have and how YAML becomes one; `references` finds a saved one by `block:<type-slug>/<name>`,
`register` saves those that a file describes. Not promised: that a block's place can be reached;
nothing is opened here.
"""

if __name__ != "prefect_freight.blocks":
    raise ImportError(
        f"expected to be imported as prefect_freight.blocks, found {__name__!r}: a second copy "
        "would register every block type twice. Import prefect_freight.blocks"
    )

from prefect_freight.blocks.icechunk_repository import IcechunkRepository
from prefect_freight.blocks.lakefs_repository import LakeFSRepository
from prefect_freight.blocks.object_store import ObjectStore

__all__ = ["IcechunkRepository", "LakeFSRepository", "ObjectStore"]
