"""In which round the changes of a Zarr copy are made: see `withdraw` for what leaves the view."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.state import State
from prefect_freight.formats import Preparation
from prefect_freight.formats.zarr.consolidated import CONSOLIDATED_KEY, without_arrays
from prefect_freight.formats.zarr.names import METADATA
from prefect_freight.formats.zarr.withdraw import Reading, plan_withdrawals
from prefect_freight.hierarchy.document_names import DOCUMENT_PATTERN
from prefect_freight.model import Format, Round
from prefect_freight.plan.entries import combined, delete_entries, inline_entries
from prefect_freight.plan.keys import NO_KEYS
from prefect_freight.plan.sections import Section

PARENT = r"/?[^/]*$"


class ZarrOrdering:
    """Arrays that their old documents would misread are out of view while they change."""

    phases_vouch = False
    """A chunk that goes while its document is in view would be read as fill values."""

    def __init__(
        self,
        state: State,
        wanted: Mapping[str, Collection[Section]],
        changed: Collection[str],
        format_: Format,
    ) -> None:
        self._state, self._consolidated = state, CONSOLIDATED_KEY[format_]
        # The facts of sections of one array are the same, those of an old and a new run are not.
        facts = {name: next(iter(sections)).facts for name, sections in wanted.items()}
        self._arrays = {name for name in facts if name != METADATA}
        old: dict[str, set[Reading]] = {}
        for name, recorded in state.facts():
            if "reading" in recorded:
                old.setdefault(name, set()).add(_reading(recorded))
        new = {name: _reading(facts[name]) for name in self._arrays & {*changed}}
        groups = facts.get(METADATA, {}).get("groups", ())
        self._withdrawn = plan_withdrawals(old, new, groups)

    def prepare(self) -> Preparation:
        """Take the withdrawn arrays out of the consolidated metadata, and delete their documents.

        All of that comes back, though it may be what it was before.
        """
        if not self._withdrawn:
            return Preparation()
        documents = self._documents_there
        again = documents.filter(
            pc.or_(
                _is_in(_parents(documents), self._withdrawn),
                pc.equal(documents, self._consolidated),
            )
        )
        # Also the documents that did not change: what is deleted for a while must come back.
        returning = tuple(sorted(self._withdrawn & self._arrays))
        return Preparation(list(self._away(again)), {METADATA: again}, returning)

    def _away(self, documents: pa.Array) -> Iterator[tuple[str, Round, pa.RecordBatch]]:
        # That of the other format too, where a copy of it is replaced; but not what is not ours.
        # The root's document may be both: of an array that leaves nothing else is to be said.
        there = {*self._documents_there.to_pylist(), self._consolidated}
        for key in sorted(there & {*CONSOLIDATED_KEY.values()}):
            if "" not in self._withdrawn and (shown := self._still_shown(key)) is not None:
                yield METADATA, Round.WITHDRAW, inline_entries([key], [""], [shown])
        of_arrays = documents.filter(_is_in(_parents(documents), self._withdrawn))
        yield METADATA, Round.WITHDRAW, delete_entries(of_arrays, _parents(of_arrays))

    def _still_shown(self, key: str) -> bytes | None:
        """Return consolidated metadata without the withdrawn; None where none lies there."""
        there = self._state.read(key)
        return None if there is None else without_arrays(there, self._withdrawn)

    @cached_property
    def _documents_there(self) -> pa.Array:
        # With those that an unfinished run may have put: a reader can meet them too.
        tables = [*self._state.keys({METADATA}), *self._state.touched(METADATA)]
        keys = pa.concat_arrays([combined(table["key"]) for table in tables] or [NO_KEYS]).unique()
        return keys.filter(pc.match_substring_regex(keys, DOCUMENT_PATTERN))

    def early_deletes(self, keys: pa.Array, nodes: pa.Array) -> pa.BooleanArray:
        """Say of each key whether it is out of view already: new chunks may need its place."""
        is_document = pc.match_substring_regex(keys, DOCUMENT_PATTERN)
        paths = pc.if_else(is_document, _parents(keys), nodes)
        unique = paths.unique()
        below = tuple(f"{array}/" for array in self._arrays if array)
        # A disk cannot have a chunk where a folder of the same name is to be, so what lies below a
        # new array goes before its chunks come.
        early = {
            path for path in unique.to_pylist() if path in self._withdrawn or path.startswith(below)
        }
        return _is_in(paths, early)


def _reading(facts: Mapping[str, Any]) -> Reading:
    return Reading(facts["reading"]["identity"], tuple(facts["reading"]["shape"]))


def _parents(keys: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(keys, PARENT, "")


def _is_in(values: pa.Array, wanted: Iterable[str]) -> pa.BooleanArray:
    return pc.is_in(values, pa.array(sorted(wanted), pa.string()))
