"""How often each request is made when one answer in twenty is lost.

`python benchmarks/attempts.py [--exports 10] [--busy 0]` exports a repository on a local S3 server
to the same server, through a proxy that resets connections after the server has done what it was
asked. It prints how many requests for data passed after so many faults in a row, beside what chance
makes of them, and which were made though the one before had been answered. `--busy` processes keep
the machine occupied meanwhile.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parts"))

from fixtures_faults import write_many
from proxies import Fault, FaultProxy, Rule
from servers import S3Server, SeaweedFS

from prefect_freight import export

SHARE = 0.05


class RecordingProxy(FaultProxy):
    """Remembers of each request for data whether it met a fault."""

    def __init__(self, upstream: str, seed: int) -> None:
        super().__init__(upstream, [Rule(Fault.RESET_AFTER, probability=SHARE)], seed)
        self.faulty: dict[tuple[str, str], list[bool]] = defaultdict(list)

    def _choose(self, method: str, key: str) -> Fault | None:
        fault = super()._choose(method, key)
        put = method == "PUT" and key.startswith("copy/") and ".freight" not in key
        if put or (method == "GET" and "/chunks/" in key):
            self.faulty[method, key].append(fault is not None)
        return fault


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--exports", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0)
    given = parser.parse_args()
    for _ in range(given.busy):
        multiprocessing.Process(target=spin, daemon=True).start()
    rows, needless = Counter[int](), 0
    with tempfile.TemporaryDirectory() as folder, SeaweedFS(Path(folder) / "s3") as running:
        s3 = running.server
        source = f"s3://{s3.new_bucket()}/repository"
        write_many(s3.icechunk_storage(source))
        for seed in range(given.exports):
            for faulty in run(s3, source, seed).values():
                rows[faulty.index(False)] += 1
                needless += len(faulty) - faulty.index(False) - 1
    total = rows.total()
    for row in range(max(rows) + 1):
        chance = total * SHARE**row * (1 - SHARE)
        print(f"passed after {row} faults: {rows[row]:>8,}   by chance {chance:>10,.1f}")
    print(f"asked for again though answered: {needless:,}")


def run(s3: S3Server, source: str, seed: int) -> dict[tuple[str, str], list[bool]]:
    """Export once, and return which requests met a fault."""
    with RecordingProxy(s3.endpoint_url, seed) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        url = f"s3://{s3.new_bucket()}/copy"
        export(source, url, config=config, source_config=config, settle_s=0)
        return proxy.faulty


def spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
