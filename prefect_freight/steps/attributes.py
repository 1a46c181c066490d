"""What of an object's content type and metadata a destination can keep beside its bytes."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.model import Kind, Round
from prefect_freight.plan.sections import Stretch
from prefect_freight.stores import Attributed, Attributes, Store
from prefect_freight.stores.wrapping import innermost

USUAL_TYPES = {"", "application/octet-stream", "binary/octet-stream"}
"""That of no type in particular: nothing is lost with it."""
NOT_KEPT = (
    "content type or metadata of {count:,} objects are not in the copy, since {url} has no place "
    "for them: {keys}"
)
KEYS_IN_NOTE = 3


class KeptAttributes:
    """Says of entries what the destination keeps of their attributes."""

    def __init__(self, destination: Store) -> None:
        self._url = destination.url
        # As it was asked once, since they are mostly the same for thousands of objects.
        self._kept = lru_cache(4096)(_Keeping(destination).kept)
        self.lost, self._keys = 0, list[str]()

    def of(self, entry: dict[str, Any]) -> Attributes | None:
        """Return the attributes to be put beside the entry's bytes."""
        if entry["kind"] != Kind.OBJECT or not entry["data"]:
            return None
        return self._kept(bytes(entry["data"]))[0]

    def counting(self, stretches: Iterator[Stretch]) -> Iterator[Stretch]:
        """Yield stretches of entries, and count those of which something is lost."""
        for stretch in stretches:
            if stretch.round is Round.OBJECTS:
                self._count(stretch.entries)
            yield stretch

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is to be told of what is lost."""
        if not self.lost:
            return ()
        keys = ", ".join([*map(repr, self._keys), *(["…"] if self.lost > len(self._keys) else [])])
        return (NOT_KEPT.format(count=self.lost, url=self._url, keys=keys),)

    def _count(self, entries: pa.RecordBatch) -> None:
        held = entries.filter(pc.is_valid(entries["data"]))
        for key, data in zip(held["key"].to_pylist(), held["data"].to_pylist(), strict=True):
            if self._kept(data)[1]:
                self.lost += 1
                self._keys += [key] if len(self._keys) < KEYS_IN_NOTE else []


class _Keeping:
    def __init__(self, destination: Store) -> None:
        place = innermost(destination)
        self._place = place if isinstance(place, Attributed) else None

    def kept(self, data: bytes) -> tuple[Attributes, bool]:
        """Return what is kept of attributes as the manifest has them, and whether less is."""
        held = json.loads(data)
        type_ = {"Content-Type": held["content_type"]} if held.get("content_type") else {}
        all_of_them = type_ | held.get("metadata", {})
        lossless = type_.get("Content-Type", "") in USUAL_TYPES and not held.get("metadata")
        if self._place is None:
            return {}, not lossless
        if self._place.can_keep(all_of_them):
            return all_of_them, False
        # The type is kept without the metadata: it decides how the object is read.
        return (type_ if self._place.can_keep(type_) else {}), True
