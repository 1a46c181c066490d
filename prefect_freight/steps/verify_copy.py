"""Comparing what lies at the destination with what the manifest says.

| level     | what is compared                                                                   |
|-----------|------------------------------------------------------------------------------------|
| sizes     | keys and sizes, of the manifest and of a listing                                   |
| checksums | and each object's MD5: the listing's entity tag where it is one, else it is read;  |
|           | where no MD5 was ever recorded, its bytes and those of the source                  |
| values    | and what zarr decodes of the source and of the copy                                |
"""

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.checksums import CheckedReader, keep_checksums
from prefect_freight.control.data import list_data
from prefect_freight.control.diff import read_diff
from prefect_freight.control.manifest import count_copy
from prefect_freight.control.manifest_reader import read_copy
from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.formats import Reader
from prefect_freight.formats.choice import compare_values, open_reader
from prefect_freight.model import Job, VerifyLevel
from prefect_freight.plan.differences import MAX_KEYS_NAMED, Differences
from prefect_freight.plan.entries import combined, md5
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.steps.compare_unchecked import compare_unchecked
from prefect_freight.steps.partitions import partitioned
from prefect_freight.stores import Store
from prefect_freight.threads import Threads

WANTED = pa.schema([("key", pa.string()), ("size", pa.int64()), ("checksum", pa.binary())])
FOUND = pa.schema([("key", pa.string()), ("size", pa.int64()), ("etag", pa.string())])
READERS = 16
MD5_ETAG = re.compile(r'^"?([0-9a-f]{32})"?$')


def verify_copy(source: Source, destination: Store, job: Job) -> Differences:
    """Compare the copy with the manifest, and with the source, as far as the options ask for it."""
    keep_checksums(destination, job)
    level = job.options.verify
    # Who takes somebody's word for what lies there, a ledger's or the user's, looks at that much.
    if level == "none" and _relies_on_word(destination, job):
        level = "sizes"
    differences = compare(destination, job, level)
    if level in ("checksums", "values"):
        compare_unchecked(source, destination, job, differences, keep=True)
    if job.options.verify == "values":
        compare_values(source, destination, job, differences)
    return differences


def _relies_on_word(destination: Store, job: Job) -> bool:
    if job.resumed or job.base_assumed:
        return True
    diff = read_diff(destination, job.area)
    # Where records are lost, what is left of an earlier copy is seen in the listing alone.
    return diff is not None and (diff.plan.known > 0 or diff.plan.is_damaged)


def compare(destination: Store, job: Job, level: VerifyLevel) -> Differences:
    """Compare a listing of the destination with the manifest, as far as `level` says.

    What is there and not in the manifest is foreign, and wrong where a reader of the copy would
    take it for a part of it. (Values are compared by `prefect_freight.formats.zarr.values`, and
    what has no checksum by `prefect_freight.steps.compare_unchecked`; here it is counted.) Memory
    is bounded: see `prefect_freight.steps.partitions`.
    """
    differences = Differences()
    if level == "none":
        return differences
    records = CheckedReader(destination)
    manifest = records.manifest(job.area)
    # Checksums lie in objects of their own, which sizes do not need; but of a base on the user's
    # word it is told how much nobody has checked.
    sizes = pa.schema([WANTED.field(name) for name in ("key", "size")])
    schema = WANTED if level != "sizes" or job.base_assumed else sizes
    expected = read_copy(records, manifest, schema.names)
    rows = count_copy(manifest)
    reader = open_reader(manifest.by_name, job.options.format)
    differences.notes += reader.notes
    with partitioned((schema, FOUND), rows, expected, list_data(destination)) as pairs:
        for wanted, listed in pairs:
            present = _compare_sizes(wanted, listed, differences)
            _look_at_foreign(wanted, listed, reader, differences)
            if schema is WANTED:
                differences.unchecked += present["checksum"].null_count
            if level != "sizes":
                _compare_checksums(destination, present, differences)
    return differences


def _compare_sizes(wanted: pa.Table, listed: pa.Table, differences: Differences) -> pa.Table:
    """Return what is there in the right size, with the entity tags of the listing."""
    where = pc.index_in(wanted["key"], listed["key"].combine_chunks())
    missing = wanted.filter(pc.is_null(where))
    present, where = wanted.filter(pc.is_valid(where)), where.drop_null()
    sizes = listed["size"].take(where)
    differ = pc.not_equal(present["size"], sizes)
    for key, expected, size in zip(
        present["key"].filter(differ).to_pylist(),
        present["size"].filter(differ).to_pylist(),
        sizes.filter(differ).to_pylist(),
        strict=True,
    ):
        differences.add_wrong(key, f"expected {expected} bytes, found {size}")
    differences.missing += missing.num_rows
    differences.missing_keys += _first(missing["key"], differences.missing_keys)
    present = present.append_column("etag", listed["etag"].take(where))
    return present.filter(pc.invert(differ))


def _look_at_foreign(
    wanted: pa.Table, listed: pa.Table, reader: Reader, differences: Differences
) -> None:
    """Add what is there and not wanted."""
    of_copy = pc.is_in(listed["key"], wanted["key"].combine_chunks())
    keys = combined(listed["key"].filter(pc.invert(of_copy)))
    what = reader.taken_for(keys)
    taken = pc.is_valid(what)
    foreign = keys.filter(pc.invert(taken))
    differences.foreign += len(foreign)
    differences.foreign_keys += _first(foreign, differences.foreign_keys)
    first = zip(
        _first(keys.filter(taken), differences.wrong_keys),
        _first(what.filter(taken), differences.wrong_keys),
        strict=True,
    )
    differences.add_taken(len(keys) - len(foreign), first)


def _compare_checksums(destination: Store, present: pa.Table, differences: Differences) -> None:
    doubtful = [
        (key, checksum)
        for key, checksum, etag in _rows(present)
        if checksum is not None and not _is_md5(etag, checksum)
    ]
    with Threads(READERS) as pool:
        reasons = pool.map(lambda row: _compare_bytes(destination, *row), doubtful)
        for (key, _), reason in zip(doubtful, reasons, strict=True):
            if reason:
                differences.add_wrong(key, reason)


def _rows(present: pa.Table) -> Iterable[tuple[str, bytes | None, str | None]]:
    columns = (present[name].to_pylist() for name in ("key", "checksum", "etag"))
    return zip(*columns, strict=True)


def _is_md5(etag: str | None, checksum: bytes) -> bool:
    # A tag that differs proves nothing: that of an encrypted object, or of one in parts, is another
    # digest. Then the object is read.
    match = MD5_ETAG.match(etag or "")
    return match is not None and match[1] == checksum.hex()


def _compare_bytes(destination: Store, key: str, checksum: bytes) -> str:
    try:
        actual = md5(retrying(lambda: destination.read(key)))
    except (NotFoundError, IntegrityError) as error:
        return str(error)
    return "" if actual == checksum else f"expected MD5 {checksum.hex()}, found {actual.hex()}"


def _first(keys: pa.Array | pa.ChunkedArray, keys_named: Sequence[object]) -> list[str]:
    room = max(0, MAX_KEYS_NAMED - len(keys_named))
    first: list[str] = keys.slice(0, room).to_pylist()
    return first
