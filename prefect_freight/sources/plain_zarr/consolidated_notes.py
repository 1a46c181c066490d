"""Consolidated metadata of a store that says something else than the store's documents. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_freight.hierarchy.document_names import (
    ARRAY2,
    ATTRIBUTES2,
    CONSOLIDATED2,
    document_key,
    node_of,
)
from prefect_freight.plan.keys import first_few

INLINE = "consolidated_metadata"
NAMED = 3

Documents = Mapping[str, Mapping[str, Any]]
"""Parsed documents by their keys."""


def consolidated_notes(documents: Documents) -> Iterator[str]:
    """Yield a note for each group whose consolidated metadata is not what its documents say.

    Readers have seen the consolidated one; a copy is made of the documents.
    """
    for key, document in documents.items():
        path, name = node_of(key)
        held = document if name == CONSOLIDATED2 else document.get(INLINE)
        members = held.get("metadata") if isinstance(held, Mapping) else None
        if held is None:
            continue
        if not isinstance(members, Mapping):
            yield f"the consolidated metadata in {key!r} cannot be read, and is left out"
            continue
        folder = f"{path}/" if path else ""
        # Members of Zarr 3 are called by their paths, those of Zarr 2 by the keys of documents.
        tail = "" if name == CONSOLIDATED2 else f"/{name}"
        own = {
            other[len(folder) :].removesuffix(tail): _comparable(one, node_of(other)[1])
            for other, one in documents.items()
            if other.startswith(folder) and other != key and node_of(other)[1] != CONSOLIDATED2
        }
        shown = {
            str(member): _comparable(one, node_of(f"{member}{tail}")[1])
            for member, one in members.items()
        }
        # Attributes that nobody set may be there, empty, or not.
        names = own.keys() | shown.keys()
        differing = sorted(n for n in names if own.get(n, _none(n)) != shown.get(n, _none(n)))
        if differing:
            some = first_few(
                [repr(document_key(path, n)) for n in differing], len(differing), NAMED
            )
            yield (
                f"the consolidated metadata in {key!r}, which readers of the source go by, differs "
                f"from the store's own documents in {len(differing)} ({some}); the copy is made of "
                "the documents"
            )


def _comparable(document: Any, name: str) -> str:
    if isinstance(document, Mapping):
        document = {k: v for k, v in document.items() if k != INLINE}
        if name == ARRAY2 and document.get("dimension_separator") in (".", None):
            document.pop("dimension_separator", None)
        if name not in (ATTRIBUTES2, ARRAY2) and not document.get("attributes"):
            document.pop("attributes", None)
    # As texts, since a NaN is not even itself.
    return json.dumps(document, sort_keys=True)


def _none(name: str) -> str:
    return "{}" if node_of(name)[1] == ATTRIBUTES2 else ""
