"""Comparing tables of keys that may be larger than memory."""

import pyarrow as pa
import pytest

from prefect_freight.steps.partitions import partitioned

SCHEMA = pa.schema([("key", pa.string()), ("size", pa.int64())])


def table(keys: range) -> pa.Table:
    return pa.table({"key": [f"a/{k}" for k in keys], "size": list(keys)}, SCHEMA)


@pytest.mark.parametrize("rows", [10, 2_500])  # in memory; in three partitions on disk
def test_equal_keys_meet_and_none_is_lost(rows: int) -> None:
    left, right = range(rows), range(rows // 2, rows * 2)
    more = [table(right), table(range(0))]
    with partitioned((SCHEMA, SCHEMA), rows, [table(left)], more, 1000) as pairs:
        found = [(set(a["key"].to_pylist()), set(b["key"].to_pylist())) for a, b in pairs]
    assert len(found) == (1 if rows == 10 else 3)
    assert set().union(*(a for a, _ in found)) == {f"a/{k}" for k in left}
    shared = [a & b for a, b in found]
    assert sum(map(len, shared)) == rows - rows // 2
