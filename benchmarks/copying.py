"""How fast an export moves objects, beside a peer in the same run.

    python benchmarks/copying.py [OBJECTS] [KILOBYTES] [RUNS]

Makes an Icechunk repository of that many chunks on the local disk and moves it to a SeaweedFS
server on loopback: by `freight export`, and, as the peer, the plain copy's files by fsspec's s3fs
(`put(recursive=True)`, as many at a time). Whole processes, in turn; prints objects per second (of
the transfer alone), CPU seconds per 1,000 objects, peak memory, and the ratio of the medians.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parts"))
from servers import S3Server, SeaweedFS

FREIGHT = str(Path(sysconfig.get_path("scripts")) / "freight")
CONCURRENCY = 64
DEFAULTS = (5000, 4, 3)
PEER = """
import sys, time, s3fs
files = s3fs.S3FileSystem(key=sys.argv[1], secret=sys.argv[2], endpoint_url=sys.argv[3])
began = time.monotonic()
files.put(sys.argv[4], sys.argv[5], recursive=True, batch_size=int(sys.argv[6]))
print(time.monotonic() - began)
"""


@dataclass
class Run:
    objects_per_s: float
    cpu_s_per_1000: float
    peak_mb: float


MAKE = "--make"
"""Made by another process: a child's peak memory counts what its parent had when it was forked."""


def make_repository(path: str, objects: int, size: int) -> None:
    import icechunk
    import numpy as np
    import zarr

    config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=0)
    storage = icechunk.local_filesystem_storage(path)
    session = icechunk.Repository.create(storage, config=config).writable_session("main")
    array = zarr.group(session.store).create_array(
        "a", shape=(objects * size,), chunks=(size,), dtype="u1", compressors=None
    )
    array[:] = np.random.default_rng(0).integers(1, 255, objects * size, dtype="u1")
    session.commit("write")


def measure(command: list[str], objects: int) -> tuple[str, Run]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    said = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return said, Run(0, cpu / objects * 1000, used.ru_maxrss / 1024)


def run_freight(server: S3Server, folder: Path, objects: int) -> Run:
    config = server.yaml(folder / "dest.yaml")
    url = f"s3://{server.new_bucket()}/copy"
    command = [FREIGHT, "export", str(folder / "repository"), url, "--config", str(config)]
    said, run = measure([*command, "--concurrency", str(CONCURRENCY), "--json"], objects)
    run.objects_per_s = objects / json.loads(said)["seconds"]
    return run


def run_peer(server: S3Server, folder: Path, objects: int) -> Run:
    keys = (server.access_key_id, server.secret_access_key, server.endpoint_url)
    place = (f"{folder / 'plain'}/", f"s3://{server.new_bucket()}/copy/", str(CONCURRENCY))
    said, run = measure([sys.executable, "-c", PEER, *keys, *place], objects)
    run.objects_per_s = objects / float(said)
    return run


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    objects, kilobytes, runs = [*given, *DEFAULTS[len(given) :]]
    with tempfile.TemporaryDirectory() as name, SeaweedFS(Path(name) / "server") as running:
        folder = Path(name)
        place = str(folder / "repository")
        make = [sys.executable, __file__, MAKE, place, str(objects), str(kilobytes * 1000)]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(
            [FREIGHT, "export", str(folder / "repository"), str(folder / "plain")],
            check=True,
            capture_output=True,
        )
        found: dict[str, list[Run]] = {"freight": [], "s3fs": []}
        for _ in range(runs):
            found["freight"].append(run_freight(running.server, folder, objects))
            time.sleep(1)
            found["s3fs"].append(run_peer(running.server, folder, objects))
    print(f"{objects} objects of {kilobytes} kB, medians of {runs} runs")
    for name, all_runs in found.items():
        columns = [statistics.median(getattr(r, f) for r in all_runs) for f in Run.__annotations__]
        print("{:8} {:7.0f} objects/s  {:6.2f} CPU-s/1000  {:6.0f} MB peak".format(name, *columns))
    rates = [statistics.median(r.objects_per_s for r in found[name]) for name in found]
    print(f"freight moves {rates[0] / rates[1]:.1f} times as many objects a second")


if __name__ == "__main__":
    if sys.argv[1:2] == [MAKE]:
        make_repository(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
