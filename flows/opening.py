"""What the parameters of a flow name, opened: a block, a reference to a saved one, or a URL."""

from prefect_freight.blocks.references import load_reference

from prefect_freight.blocks import IcechunkRepository, ObjectStore
from prefect_freight.sources import Source
from prefect_freight.sources.opening import open_source
from prefect_freight.stores import Store
from prefect_freight.stores.opening import open_store


def open_given_source(given: IcechunkRepository | str) -> Source:
    """Return the source that a flow was given; raises what `open_source` raises."""
    if isinstance(given, str) and not given.startswith("block:"):
        return open_source(given)
    block = load_reference(given) if isinstance(given, str) else given
    opened: Source = block.open()
    return opened


def open_given_store(given: ObjectStore | str) -> Store:
    """Return the store that a flow was given; raises what `open_store` raises."""
    if isinstance(given, str) and not given.startswith("block:"):
        return open_store(given)
    block = load_reference(given) if isinstance(given, str) else given
    opened: Store = block.open()
    return opened


def place_of(given: IcechunkRepository | ObjectStore | str) -> str:
    """Return where that is, without looking: a URL, path or reference."""
    return given if isinstance(given, str) else given.url
