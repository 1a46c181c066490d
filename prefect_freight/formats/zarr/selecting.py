"""Which nodes of a snapshot a selection keeps: what it chooses, and coordinates of that. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from prefect_freight.formats.zarr.documents2 import DIMENSIONS
from prefect_freight.model import EVERYTHING, Selection, Snapshot
from prefect_freight.plan.selection import Chooser
from prefect_freight.sources import Node


def select_nodes(
    nodes: Sequence[Node], selection: Selection, snapshot: Snapshot
) -> tuple[list[Node], tuple[str, ...]]:
    """Return the nodes that a copy has, in their order, and notes for the user.

    Beside the chosen ones those are the coordinates of a chosen array's dimensions, but for those
    that are excluded by name, and all groups above, with their attributes. Raises `InputError`,
    with the nearest names, if nothing is chosen.
    """
    if selection == EVERYTHING:
        return list(nodes), ()
    # The root is the place of a copy, and not among what can be left out of it.
    paths = [node.path for node in nodes if node.path or node.kind == "array"]
    chooser = Chooser(selection, snapshot, "arrays and groups")
    flags = chooser.choose(paths)
    chooser.require_any()
    chosen = {path for path, is_chosen in zip(paths, flags, strict=True) if is_chosen}
    arrays = {node.path: node for node in nodes if node.kind == "array"}
    users = _coordinates(arrays, chosen)
    chosen |= {path for path, needing in users.items() if chooser.needs(path, needing)}
    kept = {"", *chosen, *(above for path in chosen for above, _ in _folders(path))}
    return [node for node in nodes if node.path in kept], chooser.notes


def _coordinates(
    arrays: Mapping[str, Node], chosen: Collection[str]
) -> Mapping[str, Sequence[str]]:
    """Return the coordinates that were not chosen themselves, with the chosen arrays of each."""
    users: dict[str, list[str]] = {}
    for path in sorted(arrays.keys() & {*chosen}):
        for name, size in _dimensions(arrays[path]):
            coordinate = _coordinate(path, name, size, arrays)
            if coordinate is not None and coordinate not in chosen:
                users.setdefault(coordinate, []).append(path)
    return users


def _coordinate(path: str, name: str, size: int, arrays: Mapping[str, Node]) -> str | None:
    """Return the array that a reader takes for the coordinate of a dimension.

    It is named as the dimension, and lies beside the array; or above it, whence groups inherit
    coordinates in xarray, which are those of the very same dimension then.
    """
    for number, (_, folder) in enumerate(_folders(path)):
        node = arrays.get(f"{folder}{name}")
        if node is not None and (not number or _dimensions(node) == [(name, size)]):
            return node.path
    return None


def _dimensions(array: Node) -> list[tuple[str, int]]:
    """Return names and sizes of the dimensions that have a name."""
    names, shape = array.document.get("dimension_names"), array.document.get("shape")
    if array.attributes is not None:  # a node of Zarr 2
        names = array.attributes.get(DIMENSIONS)
    # A document that is not valid is told as such by what makes another of it.
    if not isinstance(names, Sequence) or not isinstance(shape, Sequence):
        return []
    return [(name, size) for name, size in zip(names, shape, strict=False) if name is not None]


def _folders(path: str) -> Iterator[tuple[str, str]]:
    """Yield the groups above a node, the nearest first, each with what the paths in it begin with.

    >>> list(_folders("a/b/c"))
    [('a/b', 'a/b/'), ('a', 'a/'), ('', '')]
    """
    while path:
        path = path.rpartition("/")[0]
        yield path, f"{path}/" if path else ""
