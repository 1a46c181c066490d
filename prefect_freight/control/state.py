"""What lies at a destination, as the manifests of the runs that wrote it say.

It is the copy of the last run that ended whole, and, with unknown content, every key that runs
since then may have touched.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.manifest import MOVED, ArrayRecord, Manifest, manifest_of
from prefect_freight.control.runs import Run
from prefect_freight.formats.zarr.withdraw import DOCUMENT_PATTERN, Reading
from prefect_freight.model import COPY_ROUNDS, Job, Round
from prefect_freight.plan.join import STATE_SCHEMA, merge_states, to_state
from prefect_freight.stores import Store

CHUNK_ROUNDS = (Round.CHUNKS, Round.KEPT_CHUNKS)
DOCUMENT_ROUNDS = (Round.DOCUMENTS, Round.ROOT, Round.KEPT_DOCUMENTS)


class State(Protocol):
    """What lies at a destination."""

    @property
    def arrays(self) -> Mapping[str, ArrayRecord]:
        """Arrays whose entries are known, by their path."""
        ...

    @property
    def doubtful(self) -> set[str]:
        """Paths of nodes of which some keys may hold anything."""
        ...

    def readings(self) -> dict[str, set[Reading]]:
        """Return for each array every way that its chunks may be read by its document there."""
        ...

    def chunks(self, path: str) -> pa.Table:
        """Return the keys of an array's chunks and their content (`STATE_SCHEMA`)."""
        ...

    def documents(self) -> pa.Table:
        """Return the keys of all metadata documents and their content (`STATE_SCHEMA`)."""
        ...


class RecordedState:
    """The state that the destination's own control area records."""

    def __init__(self, destination: Store, earlier: list[Run]) -> None:
        self._destination = destination
        self._manifests: dict[str, Manifest | None] = {}
        whole = [run for run in earlier if run.state == "whole"]
        self._base = self._manifest(whole[-1].area) if whole else None
        since = earlier[earlier.index(whole[-1]) + 1 :] if whole else earlier
        self._since = [m for run in since if (m := self._manifest(run.area)) is not None]

    @property
    def arrays(self) -> Mapping[str, ArrayRecord]:
        """Arrays of the last whole copy."""
        return self._base.arrays if self._base else {}

    @property
    def doubtful(self) -> set[str]:
        """Nodes that runs since then may have touched."""
        return {
            node
            for m in self._since
            for part in m.parts
            if part.round in MOVED
            for node in part.nodes
        }

    def readings(self) -> dict[str, set[Reading]]:
        """Return for each array every way that its chunks may be read by its document there."""
        found: dict[str, set[Reading]] = {}
        for manifest in [*([self._base] if self._base else []), *self._since]:
            for path, record in manifest.arrays.items():
                found.setdefault(path, set()).add(record.reading)
        return found

    def chunks(self, path: str) -> pa.Table:
        """Return the keys of an array's chunks and their content."""
        record = self.arrays.get(path)
        home = self._manifest(record.area) if record else None
        known = self._read(home, CHUNK_ROUNDS, path) if home else iter(())
        doubtful = (table for m in self._since for table in self._read(m, MOVED, path))
        return merge_states(known, (_unknown(table, documents=False) for table in doubtful))

    def documents(self) -> pa.Table:
        """Return the keys of all metadata documents and their content."""
        known = self._read(self._base, DOCUMENT_ROUNDS) if self._base else iter(())
        doubtful = (table for m in self._since for table in self._read(m, MOVED))
        return merge_states(known, (_unknown(table, documents=True) for table in doubtful))

    def _read(
        self, manifest: Manifest, rounds: tuple[Round, ...], path: str | None = None
    ) -> Iterator[pa.Table]:
        nodes = None if path is None else [path]
        for table in manifest.read_entries(self._destination, rounds, STATE_SCHEMA.names, nodes):
            yield table.cast(STATE_SCHEMA)

    def _manifest(self, area: str) -> Manifest | None:
        if area not in self._manifests:
            self._manifests[area] = manifest_of(self._destination, area)
        return self._manifests[area]


def read_copy(destination: Store, job: Job, columns: list[str]) -> Iterator[pa.Table]:
    """Yield all entries of the copy that the job's manifest describes.

    Those of arrays that did not change lie in the manifests of earlier runs.
    """
    manifest = manifest_of(destination, job.area)
    if manifest is None:
        return
    yield from manifest.read_entries(destination, COPY_ROUNDS, columns)
    for area, paths in _homes(manifest).items():
        home = manifest_of(destination, area)
        if home is not None:
            yield from home.read_entries(destination, CHUNK_ROUNDS, columns, paths)


def count_copy(destination: Store, job: Job) -> int:
    """Return about how many entries the copy has."""
    manifest = manifest_of(destination, job.area)
    areas = (
        [manifest, *(manifest_of(destination, area) for area in _homes(manifest))]
        if manifest
        else []
    )
    return sum(m.count(COPY_ROUNDS) for m in areas if m is not None)


def _homes(manifest: Manifest) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = {}
    for path, record in manifest.arrays.items():
        if record.area != manifest.area:
            homes.setdefault(record.area, []).append(path)
    return homes


def _unknown(table: pa.Table, *, documents: bool) -> pa.Table:
    is_document = pc.match_substring_regex(table["key"], DOCUMENT_PATTERN)
    keys = table.filter(is_document if documents else pc.invert(is_document))["key"]
    return to_state(keys.combine_chunks())
