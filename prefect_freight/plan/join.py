"""What must change at a destination: a join of what is wanted and what lies there. Pure.

| wanted | there                   | done   |
|--------|-------------------------|--------|
| yes    | no                      | put    |
| yes    | with other content      | put    |
| yes    | with unknown content    | put    |
| yes    | with the same content   | kept   |
| no     | yes, whatever it holds  | delete |

Content is unknown (null) where an export may have written and did not end, and all of it counts as
unknown in a full export.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STATE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("content", pa.string()),  # null is unknown
        pa.field("checksum", pa.binary()),  # MD5; null is unknown
    ]
)
"""What lies at a destination of ours: keys, each once, and what they hold."""


def merge_states(known: Iterable[pa.Table], unknown: Iterable[pa.Table]) -> pa.Table:
    """Return one state of keys whose content is known and of keys that may hold anything.

    A key that is in both is unknown.

    >>> known = to_state(["a", "b"], ["1", "2"])
    >>> merge_states([known], [to_state(["b", "b"])]).select(["key", "content"]).to_pylist()
    [{'key': 'b', 'content': None}, {'key': 'a', 'content': '1'}]
    """
    empty = STATE_SCHEMA.empty_table()
    doubtful = pa.concat_tables([empty, *unknown])["key"].unique()
    sure = pa.concat_tables([empty, *known])
    sure = sure.filter(pc.invert(pc.is_in(sure["key"], doubtful)))
    return pa.concat_tables([to_state(doubtful), sure])


def to_state(keys: Any, content: Any = None) -> pa.Table:
    """Return a state of keys and what they hold: unknown without `content`."""
    n = len(keys)
    content = pa.nulls(n, pa.string()) if content is None else content
    return pa.table([keys, content, pa.nulls(n, pa.binary())], schema=STATE_SCHEMA)


class Diff:
    """Compares wanted entries, batch by batch, with what lies there."""

    def __init__(self, there: pa.Table) -> None:
        there = there.combine_chunks()
        self._keys = there["key"].combine_chunks()
        self._content = there["content"].combine_chunks()
        self._checksums = there["checksum"].combine_chunks()
        self._wanted = np.zeros(len(self._keys), np.bool_)

    def split(self, wanted: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Return the wanted entries that must be put, and those that lie there already.

        The latter have the checksums of what lies there.
        """
        if not len(self._keys):
            return wanted, wanted.slice(0, 0)
        where = pc.index_in(wanted["key"], self._keys)
        self._wanted[where.drop_null().to_numpy()] = True
        same = pc.equal(self._content.take(where), wanted["content"]).fill_null(False)
        kept = wanted.filter(same)
        column = kept.schema.get_field_index("checksum")
        kept = kept.set_column(column, "checksum", self._checksums.take(where.filter(same)))
        return wanted.filter(pc.invert(same)), kept

    def gone(self) -> pa.Array:
        """Return the keys that no batch so far wanted."""
        return self._keys.filter(pa.array(~self._wanted))
