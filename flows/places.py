"""What the parameters of a flow name, opened: a block, a reference to a saved one, or a URL."""

import os

from prefect.runtime import deployment

from prefect_freight.blocks import IcechunkRepository, LakeFSRepository, ObjectStore, ZarrStore
from prefect_freight.blocks.references import load_reference
from prefect_freight.blocks.store_credentials import SCHEME
from prefect_freight.config import StoreConfig
from prefect_freight.errors import InputError
from prefect_freight.sources import Source
from prefect_freight.sources.kinds import open_source
from prefect_freight.sources.lakefs.addresses import SCHEME as SCHEME_OF_LAKEFS
from prefect_freight.sources.objects import KIND, PlainObjects
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store


def open_given_source(
    given: IcechunkRepository | LakeFSRepository | ZarrStore | ObjectStore | str,
) -> Source:
    """Return the source that a flow was given; a store is one of plain objects.

    Raises what `open_source` raises, and `InputError` for a relative path in a deployment's run.
    """
    if isinstance(given, str) and not given.startswith(SCHEME):
        _refuse_fleeting("source", given)
        return open_source(given)
    # A store has objects and no history, so as a source it is one of plain objects.
    block = load_reference(given) if isinstance(given, str) else given
    _refuse_fleeting("source", block.url)
    if isinstance(block, ObjectStore):
        return PlainObjects(block.url, block.to_config())
    return block.open()


def open_given_store(given: ObjectStore | str) -> Store:
    """Return the store that a flow was given.

    Raises what `open_store` raises, and `InputError` for a relative path in a deployment's run.
    """
    if isinstance(given, str) and not given.startswith(SCHEME):
        _refuse_fleeting("destination", given)
        return open_store(given)
    block = load_reference(given) if isinstance(given, str) else given
    if not isinstance(block, ObjectStore):
        raise InputError(f"expected a block of a store as the destination, found {given!r}")
    _refuse_fleeting("destination", block.url)
    return block.open()


def source_block(
    url: str, config: StoreConfig
) -> IcechunkRepository | LakeFSRepository | ZarrStore | ObjectStore:
    """Return the block of a source, which keeps its credentials from Prefect's server.

    Raises what `open_source` raises of a URL that does not say the kind of source.
    """
    if url.startswith(SCHEME_OF_LAKEFS):
        return LakeFSRepository.from_config(url, config)
    # Looked at here, since a block has one kind; and nothing is asked where the URL tells it.
    kind = open_source(url, config).url.partition("+")[0]
    match kind:
        case "objects":
            return ObjectStore.from_config(url.removeprefix(KIND), config)
        case "zarr":
            return ZarrStore.from_config(url, config)
        case _:
            return IcechunkRepository.from_config(url, config)


def _refuse_fleeting(name: str, url: str) -> None:
    """Raise `InputError` for a path that a worker would look up in a folder that it deletes."""
    kind, plus, rest = url.partition("+")
    path = rest if plus and "/" not in kind else url
    # Asked last, and where all else says so: Prefect's server may have to answer it.
    if "://" in path or os.path.isabs(os.path.expanduser(path)) or deployment.id is None:
        return
    raise InputError(
        f"expected an absolute path or a URL as {name} in a deployment's run, found {url!r}. A "
        "worker runs it in a temporary folder, which it deletes with all that is there. Give the "
        "whole path, such as /data/copy, or a URL, such as s3://bucket/prefix"
    )


def place_of(
    given: IcechunkRepository | LakeFSRepository | ZarrStore | ObjectStore | str,
) -> str:
    """Return where that is, without looking: a path, a URL, or a saved block's name."""
    if isinstance(given, str):
        return given
    return given._block_document_name or given.url
