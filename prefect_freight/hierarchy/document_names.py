"""The names of documents, and where the nodes stand that they are of. Pure."""

from collections.abc import Iterable

NODE = "zarr.json"
"""All that Zarr 3 says of a node; of a group, consolidated metadata may be within."""
ARRAY2, GROUP2, ATTRIBUTES2, CONSOLIDATED2 = ".zarray", ".zgroup", ".zattrs", ".zmetadata"
"""Those of Zarr 2."""
DOCUMENT_NAMES = frozenset({NODE, ARRAY2, GROUP2, ATTRIBUTES2, CONSOLIDATED2})
DOCUMENT_PATTERN = r"(^|/)(zarr\.json|\.zarray|\.zgroup|\.zattrs|\.zmetadata)$"
"""Matches (RE2) the keys of documents, of Zarr 2 and of Zarr 3."""


def node_of(key: str) -> tuple[str, str]:
    """Return the path of the node that a document is of, and the document's name.

    >>> node_of("a/b/zarr.json"), node_of(".zgroup")
    (('a/b', 'zarr.json'), ('', '.zgroup'))
    """
    path, _, name = key.rpartition("/")
    return path, name


def document_key(path: str, name: str) -> str:
    """Return the key of a node's document."""
    return f"{path}/{name}" if path else name


def missing_groups(paths: Iterable[str]) -> list[str]:
    """Return the groups above the nodes of these paths that are not among them, in order.

    >>> missing_groups(["a/b/c", "a"])
    ['', 'a/b']
    """
    nodes = set(paths)
    parts = [path.split("/") for path in nodes if path]
    above = {"/".join(part[:depth]) for part in parts for depth in range(len(part))}
    return sorted(above - nodes)
