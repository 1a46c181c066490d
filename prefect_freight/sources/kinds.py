"""Which source a URL names: by its scheme, or by the objects that it holds."""

from prefect_freight.config import StoreConfig
from prefect_freight.errors import AccessError, InputError, NotARepositoryError
from prefect_freight.sources import SOURCE_URLS, Formatted, ManyWays, Source
from prefect_freight.stores import Store
from prefect_freight.stores.credentials import refuse_credentials
from prefect_freight.stores.pages import what_lies_there
from prefect_freight.stores.urls import open_store


def open_source(url: str, config: StoreConfig | None = None) -> Source:
    """Return the source that a path or URL names.

    `icechunk+…`, `zarr+…` or `objects+…` names the kind; of any other URL the objects are looked
    at. Raises `NotARepositoryError` if they are nothing that can be exported, and what `open_store`
    raises.
    """
    from prefect_freight.sources.icechunk.source import IcechunkSource
    from prefect_freight.sources.lakefs.addresses import SCHEME
    from prefect_freight.sources.lakefs.committed_zarr import CommittedZarrStore
    from prefect_freight.sources.lakefs.source import LakeFSObjects
    from prefect_freight.sources.objects import PlainObjects
    from prefect_freight.sources.plain_zarr.source import KIND as ZARR
    from prefect_freight.sources.plain_zarr.source import ZarrStoreSource

    refuse_credentials(url)
    if url.startswith(SCHEME):
        return LakeFSObjects.of_url(url, config)
    if url.startswith(f"{ZARR}{SCHEME}"):
        return CommittedZarrStore(LakeFSObjects.of_url(url.removeprefix(ZARR), config))
    # A `+` further right is part of a path, or of a scheme that fsspec knows.
    kind, plus, rest = url.partition("+")
    if plus and "/" not in kind:
        match kind:
            case "icechunk":
                return IcechunkSource(rest, config)
            case "objects":
                return PlainObjects(rest, config)
            case "zarr":
                return ZarrStoreSource(PlainObjects(rest, config))
        raise InputError(f"unknown kind of source {kind!r} in {url!r}; expected {SOURCE_URLS}")
    # Only now is anything asked of the store: a mistyped kind is told without credentials.
    store = open_store(url, config)
    # First, since a group of a Zarr store may be called like a folder of a repository.
    zarr_store = ZarrStoreSource(PlainObjects(url, config))
    if _is_zarr_store(zarr_store):
        return zarr_store
    if _holds_icechunk(store):
        return IcechunkSource(url, config)
    raise NotARepositoryError(
        f"expected an Icechunk repository or a Zarr store at {store.url}, found "
        f"{what_lies_there(store)}: no versioned repository and no Zarr store. "
        f"A source is {SOURCE_URLS}"
    )


def _is_zarr_store(source: Formatted) -> bool:
    try:
        source.own_format()
    except (NotARepositoryError, AccessError):  # the listing tells whether anything may be read
        return False
    return True


def _holds_icechunk(store: Store) -> bool:
    return any(_has_any(store, prefix) for prefix in ("snapshots/", "refs/"))


def _has_any(store: Store, prefix: str) -> bool:
    # A listing and no read: a reader's credentials may not allow to ask for what is not there.
    return any(page.num_rows for page in store.list(prefix))


def prepared(source: Source, way: str | None, format_: str | None) -> Source:
    """Return the source as an export wants it: read through a way, as arrays or as objects.

    Objects of lakeFS that are to be a Zarr store are taken for one. Raises `InputError` for a way
    that there is not, and for a source that has but one.
    """
    from prefect_freight.sources.lakefs.committed_zarr import CommittedZarrStore
    from prefect_freight.sources.lakefs.source import LakeFSObjects

    if way is not None:
        if not isinstance(source, ManyWays):
            raise InputError(
                f"expected read_through for a source lakefs://…, found it for {source.url}. Leave "
                "it out: such a source is read in one way only"
            )
        source = source.reading_through(way)
    if isinstance(source, LakeFSObjects) and (format_ or "").startswith("zarr"):
        return CommittedZarrStore(source)
    return source
