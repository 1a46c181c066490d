"""Comparing what lies at the destination with what the manifest says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from prefect_freight.model import CONTROL_AREA, Job
from prefect_freight.stores import Store
from prefect_freight.transfer.partitions import partitioned
from prefect_freight.transfer.state import count_copy, read_copy

KEY_SIZE = pa.schema([("key", pa.string()), ("size", pa.int64())])
NAMED = 1000
MARKER_PATTERN = r"^EXPORT_[^/]+_(SUCCESS|FAILURE)$"


@dataclass(slots=True)
class Differences:
    """How a destination differs from a manifest: how many keys, and the first of them by name."""

    missing: int = 0
    wrong_size: int = 0
    foreign: int = 0
    missing_keys: list[str] = field(default_factory=list)
    wrong_sizes: list[tuple[str, int, int]] = field(default_factory=list)
    """(key, expected bytes, found bytes)."""
    foreign_keys: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """All that must be there is there; foreign objects do not count."""
        return not self.missing and not self.wrong_size

    def lines(self) -> list[str]:
        """Say each difference that keeps the copy from being whole, by name."""
        lines = [f"missing {key}" for key in self.missing_keys]
        lines += [
            f"wrong size {key}: expected {expected} bytes, found {found}"
            for key, expected, found in self.wrong_sizes
        ]
        unnamed = self.missing + self.wrong_size - len(lines)
        return lines + ([f"and {unnamed} more"] if unnamed else [])


def compare_sizes(destination: Store, job: Job) -> Differences:
    """List the destination and compare keys and sizes with the manifest's.

    Memory is bounded: see `prefect_freight.transfer.partitions`.
    """
    differences = Differences()
    expected = read_copy(destination, job, KEY_SIZE.names)
    rows = count_copy(destination, job)
    with partitioned(KEY_SIZE, rows, expected, list_data(destination)) as pairs:
        for wanted, found in pairs:
            _compare(wanted, found, differences)
    return differences


def list_data(destination: Store) -> Iterator[pa.Table]:
    """Yield what lies at the destination apart from our control area and the markers."""
    for page in destination.list():
        table = pa.Table.from_batches([page])
        ours = pa.compute.or_(
            pa.compute.starts_with(table["key"], f"{CONTROL_AREA}/"),
            pa.compute.match_substring_regex(table["key"], MARKER_PATTERN),
        )
        yield table.filter(pa.compute.invert(ours))


def _compare(wanted: pa.Table, found: pa.Table, differences: Differences) -> None:
    where = pa.compute.index_in(wanted["key"], found["key"].combine_chunks())
    missing = wanted.filter(pa.compute.is_null(where))
    there = wanted.filter(pa.compute.is_valid(where))
    sizes = found["size"].take(where.drop_null())
    differ = pa.compute.not_equal(there["size"], sizes)
    wrong, wrong_sizes = there.filter(differ), sizes.filter(differ)
    foreign = found.filter(
        pa.compute.invert(pa.compute.is_in(found["key"], wanted["key"].combine_chunks()))
    )
    differences.missing += missing.num_rows
    differences.wrong_size += wrong.num_rows
    differences.foreign += foreign.num_rows
    differences.missing_keys += _first(missing["key"], differences.missing_keys)
    differences.foreign_keys += _first(foreign["key"], differences.foreign_keys)
    differences.wrong_sizes += zip(
        _first(wrong["key"], differences.wrong_sizes),
        wrong["size"].to_pylist(),
        wrong_sizes.to_pylist(),
        strict=False,
    )


def _first(keys: pa.ChunkedArray, named: Sequence[object]) -> list[str]:
    room = max(0, NAMED - len(named))
    first: list[str] = keys.slice(0, room).to_pylist()
    return first
