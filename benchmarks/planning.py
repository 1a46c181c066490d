"""What planning an export costs as the repository grows: time and memory of `--dry-run`.

    python benchmarks/planning.py [CHUNKS ...]

For each number of chunks makes an Icechunk repository (chunks of 4 bytes, inline) and runs
`freight export --dry-run` on it as a process. Prints references per second and peak memory, which
must not grow by more than what Icechunk holds of its own manifest file.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

FREIGHT = str(Path(sysconfig.get_path("scripts")) / "freight")
STEP = 50_000


MAKE = "--make"
"""Made by another process: a child's peak memory counts what its parent had when it was forked."""


def make_repository(path: str, chunks: int) -> None:
    import icechunk
    import numpy as np
    import zarr

    storage = icechunk.local_filesystem_storage(path)
    session = icechunk.Repository.create(storage).writable_session("main")
    array = zarr.group(session.store).create_array(
        "a", shape=(chunks,), chunks=(1,), dtype="i4", compressors=None
    )
    for first in range(0, chunks, STEP):
        array[first : first + STEP] = np.arange(1, STEP + 1)[: chunks - first]
    session.commit("write")


def main() -> None:
    for chunks in [int(argument) for argument in sys.argv[1:]] or [100_000, 400_000]:
        with tempfile.TemporaryDirectory() as name:
            make = [sys.executable, __file__, MAKE, f"{name}/repository", str(chunks)]
            subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
            began = time.monotonic()
            command = [FREIGHT, "export", f"{name}/repository", f"{name}/copy", "--dry-run"]
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            print(
                f"{chunks} chunks: {seconds:.1f} s, {chunks / seconds:.0f} references/s, "
                f"{used.ru_maxrss / 1024:.0f} MB peak, exit status {status}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == [MAKE]:
        make_repository(sys.argv[2], int(sys.argv[3]))
    else:
        main()
