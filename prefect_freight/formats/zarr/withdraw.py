"""Taking arrays out of view while their chunks are replaced. Pure.

A reader must never decode new chunks by an old document. Where a new document reads chunks in
another way, the array leaves the consolidated metadata and loses its document before its first
chunk is touched, and comes back with the rest of the metadata, when it is whole. So does an array
that became smaller: a chunk at its new edge holds padding where the old document shows values.

An array that grew, or whose values alone changed, stays: its old document reads new chunks rightly,
and a reader sees some of them new and some old. Withdrawing it would cost readers the array for
hours to spare them that.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DECODING_ATTRIBUTES = {
    # Other attributes describe values and change none: with them, an edited title would withdraw
    # the array. These do: by the CF conventions (sections 2.5, 4.4 and 8.1),
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "units",
    "calendar",
    "_Unsigned",
    # and by what xarray adds to them.
    "_ARRAY_DIMENSIONS",
    "dtype",
    "_Encoding",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a document has the chunks of its array read."""

    identity: str
    """Digest of all that makes values of chunks: type, codecs, chunk shape, CF attributes."""
    shape: tuple[int, ...]

    def can_read(self, new: "Reading") -> bool:
        """Return whether documents of this reading read chunks rightly that are written for `new`.

        >>> Reading("x", (4,)).can_read(Reading("x", (9,)))
        True
        >>> Reading("x", (4,)).can_read(Reading("x", (3,)))
        False
        """
        return self.identity == new.identity and all(
            n <= m for n, m in zip(self.shape, new.shape, strict=True)
        )


def reading_of(documents: Iterable[tuple[str, bytes]]) -> Reading:
    """Return how an array's documents, of Zarr 2 or of Zarr 3, have its chunks read."""
    parsed = [json.loads(data) for _, data in sorted(documents)]
    needed = json.dumps([_decoding_part(document) for document in parsed], sort_keys=True)
    shape = next(tuple(document["shape"]) for document in parsed if "shape" in document)
    return Reading(hashlib.blake2b(needed.encode(), digest_size=16).hexdigest(), shape)


def _decoding_part(document: dict[str, Any]) -> dict[str, Any]:
    # Every other field counts, known or not: one that was forgotten here would show readers wrong
    # values, one too many only withdraws an array that could have stayed.
    attributes = document.get("attributes", {})
    parts = {k: v for k, v in document.items() if k not in ("shape", "attributes")}
    if not {"zarr_format", "node_type"} & document.keys():  # .zattrs, which is attributes alone
        parts, attributes = {}, document
    if isinstance(attributes, dict):  # or null, or anything: a document is kept as it is
        attributes = {k: v for k, v in attributes.items() if k in DECODING_ATTRIBUTES}
    return parts | {"attributes": attributes}


def plan_withdrawals(
    readings: Mapping[str, Collection[Reading]],
    arrays: Mapping[str, Reading],
    groups: Collection[str],
) -> set[str]:
    """Return the paths of arrays at the destination that must leave before new chunks arrive.

    `readings` are the arrays there, each with every way that its chunks may be read; `arrays` are
    those that are wanted and have changed chunks. Besides the arrays whose old documents misread
    the new chunks, those leave whose place is taken by a node of another kind: a disk cannot have a
    file and a folder of one name.
    """
    kinds = {*arrays, *groups}
    # All of them: after an unfinished export nobody knows which document lies there, or both do,
    # one in the consolidated metadata and one beside the chunks.
    misread = {
        path
        for path, old_readings in readings.items()
        if path in arrays and not all(old.can_read(arrays[path]) for old in old_readings)
    }
    displaced = {
        path
        for path in readings
        if path not in arrays and (path in groups or _has_ancestor(path, arrays))
    }
    return (misread & kinds) | displaced


def _has_ancestor(path: str, arrays: Collection[str]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:n]) in arrays for n in range(1, len(parts)))
