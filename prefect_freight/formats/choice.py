"""Which layout, ordering and reader a format has, and how it compares values."""

from collections.abc import Collection, Mapping, Sequence

from prefect_freight.control.state import State
from prefect_freight.errors import InternalError, OptionError
from prefect_freight.formats import Layout, Ordering, Reader
from prefect_freight.formats.objects import (
    OBJECTS,
    ObjectsLayout,
    ObjectsOrdering,
    ObjectsReader,
    compare_objects,
)
from prefect_freight.formats.zarr.layout import ZarrLayout
from prefect_freight.formats.zarr.ordering import ZarrOrdering
from prefect_freight.formats.zarr.reader import ZarrReader
from prefect_freight.model import EVERYTHING, MAX_FILL_CHUNKS, Format, Job, Selection, Snapshot
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.sections import Section
from prefect_freight.sources import Formatted, ObjectSource, Source, ZarrSource
from prefect_freight.stores import Store


def open_layout(
    source: Source,
    snapshot: Snapshot,
    format_: Format,
    max_fill_chunks: int = MAX_FILL_CHUNKS,
    selection: Selection = EVERYTHING,
) -> Layout:
    """Return how the copy of what is selected of a snapshot is made up in a format.

    It refuses to write out more than `max_fill_chunks` chunks of fill values.

    Raises what `check_format` and the layout raise.
    """
    check_format(source, format_)
    if isinstance(source, ObjectSource):
        return ObjectsLayout(source, snapshot, selection)
    if isinstance(source, ZarrSource):
        return ZarrLayout(source, snapshot, format_, max_fill_chunks, selection)
    raise InternalError(f"{source.url} passed for a source of {format_}")


def check_format(source: Source, format_: Format) -> None:
    """Return if the source has what a format is made of; raises `OptionError`, with the cure."""
    match format_, source:
        case (Format.OBJECTS, ObjectSource()) | (Format.ZARR2 | Format.ZARR3, ZarrSource()):
            return
        case Format.OBJECTS, _:
            raise OptionError(
                f"expected a source of plain objects for --format objects, found {source.url}. "
                "Export it with --format zarr2 or zarr3, or write objects+ before its URL"
            )
        case _:
            raise OptionError(
                f"expected a repository of arrays for --format {format_}, found {source.url}. "
                "Export it with --format objects"
            )


def own_format(source: Source) -> Format:
    """Return the format of a copy that nobody asked to be of any other.

    Raises what the source raises where it has to look.
    """
    match source:
        case Formatted():
            return source.own_format()
        case ObjectSource():
            return Format.OBJECTS
        case _:
            return Format.ZARR2


def open_ordering(
    state: State,
    wanted: Mapping[str, Collection[Section]],
    changed: Collection[str],
    format_: Format,
) -> Ordering:
    """Return in which round changes are made: of names that have `changed` over a `state`."""
    match format_:
        case Format.OBJECTS:
            return ObjectsOrdering(state, wanted.get(OBJECTS, ()))
        case Format.ZARR2 | Format.ZARR3:
            return ZarrOrdering(state, wanted, changed, format_)


def open_reader(sections: Mapping[str, Sequence[Section]], format_: Format) -> Reader:
    """Return where one who reads a copy looks for objects, by the sections of its manifest."""
    match format_:
        case Format.OBJECTS:
            return ObjectsReader()
        case Format.ZARR2 | Format.ZARR3:
            return ZarrReader(sections)


def compare_values(source: Source, destination: Store, job: Job, differences: Differences) -> None:
    """Add what of the copy has other values than the snapshot: of arrays decoded, else of bytes."""
    if isinstance(source, ZarrSource):
        from prefect_freight.formats.zarr.values import compare_arrays  # zarr takes half a second

        compare_arrays(source, destination, job, differences)
    else:
        compare_objects(source, destination, job, differences)
