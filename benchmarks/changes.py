"""What a night costs in which little has changed: time, and what is written down.

    python benchmarks/changes.py [CHUNKS ...]

For each number of chunks makes an Icechunk repository of one array, records a whole copy of it
(without moving it), and then plans the difference to it after one chunk, and after 1% of them, has
changed. Prints what the control area grew by, and the planning time beside Icechunk's own reading
of the references, in the same process. A thousand arrays, of which one changes, come last.
"""

import asyncio
import contextlib
import dataclasses
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STEP = 50_000
DEFAULTS = (20_000, 200_000)
ARRAYS = 1_000
MAKE, MEASURE = "--make", "--measure"


def open_repository(path: str) -> Any:
    import icechunk

    icechunk.set_logs_filter("error")
    storage = icechunk.local_filesystem_storage(path)
    return icechunk.Repository.open_or_create(storage)


def commit(path: str, change: Callable[[Any], None]) -> None:
    session = open_repository(path).writable_session("main")
    change(session.store)
    session.commit("change")


def make_array(store: Any, chunks: int) -> None:
    import zarr

    root = zarr.open_group(store, mode="a", zarr_format=3)
    root.create_array("a", shape=(chunks,), chunks=(1,), dtype="i4", compressors=None)
    refer(store, 0, chunks)


def refer(store: Any, first: int, count: int) -> None:
    """Refer to so many chunks that nobody has stored: only references are read here."""
    import numpy as np

    for start in range(first, first + count, STEP):
        n = min(STEP, first + count - start)
        names = [f"file:///nowhere/{secrets.token_hex(10)}" for _ in range(n)]
        offsets, lengths = np.zeros(n, np.uint64), np.full(n, 4, np.uint64)
        store.set_virtual_refs_arr(
            "a", (n,), names, offsets, lengths, validate_containers=False, arr_offset=(start,)
        )


def make_arrays(store: Any) -> None:
    import numpy as np
    import zarr

    root = zarr.open_group(store, mode="a", zarr_format=3)
    for number in range(ARRAYS):
        root.create_array(f"a{number:04d}", data=np.arange(1, 5), chunks=(2,))


def read_references(path: str) -> float:
    """Return the seconds in which Icechunk reads all references of the array."""
    repository = open_repository(path)
    store = repository.readonly_session("main").store

    async def read() -> int:
        return sum([len(columns[0]) async for columns in store.array_chunk_iterator("/a", STEP)])

    began = time.monotonic()
    asyncio.run(read())
    return time.monotonic() - began


def plan(path: str, copy: str) -> tuple[float, Any, Any]:
    """Plan the difference to what is recorded; return seconds, the job and its plan."""
    from prefect_freight.model import Options
    from prefect_freight.sources.icechunk.source import IcechunkSource
    from prefect_freight.steps.compute_diff import compute_diff
    from prefect_freight.steps.open_job import open_job
    from prefect_freight.steps.write_manifest import write_manifest
    from prefect_freight.stores.urls import open_store

    class AsNative(IcechunkSource):
        """Takes the references for those of chunks that the repository holds."""

        def read_chunks(self, snapshot: Any, path: str) -> Iterator[Any]:
            for refs in super().read_chunks(snapshot, path):
                yield dataclasses.replace(refs, virtual=refs.virtual & False)

    source, destination = AsNative(path), open_store(copy)
    snapshot = source.resolve("main")
    options = Options(from_ref="last", on_existing="merge")
    job = open_job(source, destination, snapshot, options)
    began = time.monotonic()
    manifest = write_manifest(source, destination, job)
    planned = compute_diff(destination, job, manifest)
    return time.monotonic() - began, job, planned


def close(copy: str, job: Any) -> None:
    """Record a planned export as if it had ended whole."""
    from prefect_freight.control.runs import run_of, write_run
    from prefect_freight.stores.urls import open_store

    write_run(open_store(copy), run_of(job, "whole"))


def area_bytes(copy: str) -> int:
    return sum(file.stat().st_size for file in Path(copy, ".freight").rglob("*") if file.is_file())


@contextlib.contextmanager
def measured(name: str, path: str, copy: str, change: Callable[[Any], None]) -> Iterator[None]:
    commit(path, change)
    before = area_bytes(copy)
    seconds, job, planned = plan(path, copy)
    grown = area_bytes(copy) - before
    yield
    beside = f", {seconds / read_references(path):.1f} times Icechunk's reading" if name else ""
    print(
        f"  {name or 'one array'} changed: {planned.objects} objects planned in {seconds:.2f} s"
        f"{beside}, {grown / 1000:.1f} kB written down"
    )
    close(copy, job)


def measure(path: str, copy: str, chunks: int) -> None:
    seconds, job, planned = plan(path, copy)
    close(copy, job)
    print(
        f"{chunks} chunks: the whole planned in {seconds:.2f} s, {planned.objects} objects, "
        f"{area_bytes(copy) / 1000:.0f} kB written down"
    )
    with measured("one chunk", path, copy, lambda store: refer(store, chunks // 2, 1)):
        pass
    with measured("1% of them", path, copy, lambda store: refer(store, chunks // 3, chunks // 100)):
        pass
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def change_one(store: Any) -> None:
    import zarr

    zarr.open_group(store, mode="a")["a0500"][0] = -1


def measure_arrays(path: str, copy: str) -> None:
    seconds, job, planned = plan(path, copy)
    close(copy, job)
    print(f"{ARRAYS} arrays: the whole planned in {seconds:.2f} s, {planned.objects} objects")
    with measured("", path, copy, change_one):
        pass


def main() -> None:
    for chunks in [int(argument) for argument in sys.argv[1:]] or [*DEFAULTS, 0]:
        with tempfile.TemporaryDirectory() as folder:
            for step in (MAKE, MEASURE):  # in processes of their own, for the memory
                command = [sys.executable, __file__, step, folder, str(chunks)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] in ([MAKE], [MEASURE]):
        repository, copied = os.path.join(sys.argv[2], "repository"), os.path.join(sys.argv[2], "c")
        count = int(sys.argv[3])
        if sys.argv[1] == MAKE:
            commit(
                repository, lambda store: make_array(store, count) if count else make_arrays(store)
            )
        elif count:
            measure(repository, copied, count)
        else:
            measure_arrays(repository, copied)
    else:
        main()
