"""Joins of what is wanted and what is recorded, key by key. Pure.

| wanted | recorded             | then    |
|--------|----------------------|---------|
| yes    | no                   | changed |
| yes    | with other content   | changed |
| yes    | with the same        | kept    |
| no     | yes                  | gone    |

Content that is unknown (`""`) is never the same.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.plan.entries import combined, no_rows

STATE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("node", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("checksum", pa.binary()),  # MD5; null is unknown
    ]
)
"""What the record of a copy holds of each object, keys being there once."""


class Join:
    """Compares wanted entries, some at a time, with recorded ones."""

    def __init__(self, recorded: pa.Table) -> None:
        # Once, and not at each comparison: taking rows out of many chunks costs by the chunk.
        recorded = recorded.combine_chunks()
        self._keys = combined(recorded["key"])
        self._content = combined(recorded["content"])
        self._checksums = combined(recorded["checksum"])
        self._nodes = combined(recorded["node"])
        self._wanted = np.zeros(len(self._keys), np.bool_)
        self._next = 0

    def compare(self, keys: pa.Array, content: pa.Array) -> tuple[pa.BooleanArray, pa.Array]:
        """Return of each wanted entry whether it is kept, and the checksum recorded of those.

        Each call may hash the recorded keys once, so give it as many entries as memory allows.
        """
        if not len(self._keys):
            return no_rows(len(keys)), pa.nulls(len(keys), pa.binary())
        rows = self._rows_of(keys)
        self._wanted[rows.drop_null().to_numpy()] = True
        # What is not recorded is null here, and null equals nothing.
        same = pc.fill_null(pc.equal(self._content.take(rows), content), False)
        kept = pc.and_(same, pc.not_equal(content, ""))
        checksums = pc.if_else(kept, self._checksums.take(rows), pa.scalar(None, pa.binary()))
        return kept, checksums

    def gone(self) -> pa.Table:
        """Return key and node of the recorded entries that nothing so far wanted."""
        missed = pa.array(~self._wanted)
        return pa.table({"key": self._keys.filter(missed), "node": self._nodes.filter(missed)})

    def _rows_of(self, keys: pa.StringArray) -> pa.Int64Array:
        # Both sides have one order: mostly the same keys come next, and nothing need be hashed.
        first, stop = self._next, self._next + len(keys)
        if stop <= len(self._keys) and keys.equals(self._keys.slice(first, len(keys))):
            self._next = stop
            return pa.array(np.arange(first, stop, dtype=np.int64))
        rows = pc.index_in(keys, self._keys).cast(pa.int64())
        # Behind the last one that was found: after a gap both sides go side by side again.
        last = pc.max(rows).as_py()
        self._next = self._next if last is None else last + 1
        return rows
