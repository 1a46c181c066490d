"""References to saved blocks: `block:<type-slug>/<name>`."""

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from prefect_freight.blocks import IcechunkRepository, LakeFSRepository, ObjectStore, ZarrStore
from prefect_freight.blocks.server import asking_server
from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.blocks.store_credentials import SCHEME
from prefect_freight.errors import ConfigError, InputError

TYPES: dict[str, type[PlaceBlock]] = {
    block.get_block_type_slug(): block
    for block in (IcechunkRepository, LakeFSRepository, ObjectStore, ZarrStore)
}


@asking_server()
def load_reference(
    reference: str,
) -> IcechunkRepository | LakeFSRepository | ZarrStore | ObjectStore:
    """Return the saved block that a reference names.

    Raises `InputError` for a text that is no reference, a type that is none of ours, and a block
    that nobody saved; `ConfigError` for one that cannot be used here; `ServerError` where Prefect's
    server does not answer.
    """
    slug, slash, name = reference.removeprefix(SCHEME).partition("/")
    if not reference.startswith(SCHEME) or not slash or not name:
        raise InputError(f"expected block:<type-slug>/<name>, found {reference!r}")
    if slug not in TYPES:
        raise InputError(f"expected block:{' or block:'.join(TYPES)}, found {reference!r}")
    try:
        block = TYPES[slug].load(name)
    except (ValueError, ObjectNotFound) as error:
        if not isinstance(error.__cause__ or error, ObjectNotFound):
            raise
        raise InputError(
            f"no block {reference!r} is saved at the Prefect server. Save it in Prefect's UI, or "
            "by `freight blocks register FILE.yaml`"
        ) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        reasons = "; ".join(item["msg"] for item in error.__cause__.errors(include_input=False))
        refusal = ConfigError(f"the block {reference!r} cannot be used here: {reasons}")
    else:
        return block  # type: ignore[return-value]
    # Raised here, so that Prefect's error, which may quote what was saved, isn't its context.
    raise refusal


def reference_to(block: Block, name: str) -> str:
    """Return the reference to a block that is saved under a name."""
    return f"{SCHEME}{block.get_block_type_slug()}/{name}"
