"""What unfinished runs did to each key, told from all that they planned and recorded. Pure.

The newest run that has a key decides, since it may have undone what an older one did. If all that
it planned for the key is recorded as done, the last of it is what lies there:

| rows of the newest run for the key | then                                   |
|------------------------------------|----------------------------------------|
| all done, the last is a put        | known: its content lies there          |
| all done, the last is a delete     | known: nothing lies there              |
| any not recorded as done           | unknown: it may have been begun or not |

A key is ours if any run has recorded that it began what it planned for it, or if the base has it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.plan.entries import combined

TOUCHED_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("node", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # the component that it is part of
        pa.field("run", pa.int64(), nullable=False),  # ascending; see below for others than runs
        pa.field("step", pa.int64(), nullable=False),  # order of what a run does to one key
        pa.field("done", pa.bool_(), nullable=False),  # recorded as done, by a run that is trusted
        pa.field("put", pa.bool_(), nullable=False),  # or deleted
        pa.field("content", pa.string(), nullable=False),  # "" is unknown
        pa.field("ours", pa.bool_(), nullable=False),  # what lies under the key is nobody else's
        pa.field("checksum", pa.binary()),
    ]
)
"""One row per key of each step of a run."""

BASE = -1
"""Stands for a run in rows of what the base holds, whose content is not relied on."""
AGAIN = 1_000_000
"""In rows of what this export itself takes away first: whatever was known of it will not hold."""
DELETED = AGAIN + 1
"""In rows of what this export deletes anyhow."""
STEPS = 2**40
"""More than a run has."""


def whatever(keys: pa.Table, name: str, run: int) -> pa.Table:
    """Return rows of keys (with their nodes) under which anything may lie."""
    values = {"name": name, "run": run, "step": 0, "done": False, "put": True, "content": ""}
    values["ours"] = True
    columns = {
        name: pa.repeat(pa.scalar(value, TOUCHED_SCHEMA.field(name).type), keys.num_rows)
        for name, value in (values | {"checksum": None}).items()
    }
    columns |= {"key": keys["key"], "node": keys["node"]}
    return pa.table({name: columns[name] for name in TOUCHED_SCHEMA.names}, TOUCHED_SCHEMA)


def last_known(touched: pa.Table) -> pa.Table:
    """Return each key once, with what is known of it.

    `run` is the newest that has the key, `known` and `put` say what is known of it, `content` and
    `checksum` are those of the last put, and `ours` is true if it is of any row. `node` and `name`
    are those of the oldest row: of the base's, if it has the key.
    """
    touched = touched.combine_chunks()
    number = pa.array(np.arange(touched.num_rows))
    order = pc.add(pc.multiply(touched["run"], STEPS), touched["step"])
    rows = touched.append_column("number", number).append_column("order", order)
    keys = rows.group_by("key").aggregate(
        [("run", "max"), ("order", "max"), ("order", "min"), ("ours", "any")]
    )
    where = combined(pc.index_in(rows["key"], combined(keys["key"])))
    newest = rows.filter(pc.equal(rows["run"], combined(keys["run_max"]).take(where)))
    done = newest.group_by("key").aggregate([("done", "all")])
    first = _one_each(rows.filter(pc.equal(order, combined(keys["order_min"]).take(where))))
    last = _one_each(rows.filter(pc.equal(order, combined(keys["order_max"]).take(where))))
    # All of these have each key once, in an order of their own.
    at = combined(pc.index_in(last["key"], combined(first["key"])))
    known = combined(done["done_all"]).take(
        combined(pc.index_in(last["key"], combined(done["key"])))
    )
    ours = combined(keys["ours_any"]).take(
        combined(pc.index_in(last["key"], combined(keys["key"])))
    )
    return pa.table(
        {
            "key": last["key"],
            "node": combined(first["node"]).take(at),
            "name": combined(first["name"]).take(at),
            "run": last["run"],
            "known": known,
            "put": last["put"],
            "content": last["content"],
            "ours": ours,
            "checksum": last["checksum"],
        }
    )


def same_content(wanted: pa.Table, last: pa.Table) -> tuple[pa.BooleanArray, pa.Array]:
    """Return of each wanted row whether its content is known to lie there, and the checksum."""
    at = combined(pc.index_in(wanted["key"], combined(last["key"])))
    there = pc.and_(last["known"], last["put"])
    content = pc.if_else(there, last["content"], "")
    same = pc.fill_null(pc.equal(combined(content).take(at), combined(wanted["content"])), False)
    same = pc.and_(same, pc.not_equal(combined(wanted["content"]), ""))
    return same, combined(last["checksum"]).take(at)


def _one_each(rows: pa.Table) -> pa.Table:
    chosen = rows.group_by("key").aggregate([("number", "min")])["number_min"]
    return rows.filter(pc.is_in(rows["number"], combined(chosen)))
