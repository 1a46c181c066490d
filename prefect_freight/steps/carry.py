"""How the bytes of one entry come about: a function for each kind of entry."""

from collections.abc import Mapping
from typing import Any

from prefect_freight.control.manifest import read_fill
from prefect_freight.errors import IntegrityError
from prefect_freight.model import Kind
from prefect_freight.sources import Source
from prefect_freight.stores import Store

type Entry = Mapping[str, Any]
"""A row of `prefect_freight.model.ENTRY_SCHEMA`."""


class Carrier:
    """Reads the bytes of a run's entries, in many threads at once; `area` has its fill chunks."""

    def __init__(self, source: Source, destination: Store, area: str) -> None:
        self._source, self._destination, self._area = source, destination, area
        self._fills: dict[str, bytes] = {}

    def read(self, entry: Entry) -> bytes:
        """Return the entry's bytes.

        Raises `IntegrityError` if they are not as many as the manifest says, and what the source
        raises.
        """
        match entry["kind"]:
            case Kind.INLINE:
                data = self._inline(entry)
            case Kind.FILL:
                data = self._fill(entry)
            case _:
                data = self._range(entry)
        if len(data) != entry["size"]:
            raise IntegrityError(
                f"expected {entry['size']} bytes for {entry['key']!r}, found {len(data)}"
            )
        return data

    def _inline(self, entry: Entry) -> bytes:
        data: bytes = entry["data"]
        return data

    def _fill(self, entry: Entry) -> bytes:
        identity: str = entry["location"]
        # Two threads may read it at once, the same bytes; a lock would hold up all others.
        if identity not in self._fills:
            self._fills[identity] = read_fill(self._destination, self._area, identity)
        return self._fills[identity]

    def _range(self, entry: Entry) -> bytes:
        return self._source.read(
            entry["location"], entry["offset"], entry["size"], entry["content"]
        )
