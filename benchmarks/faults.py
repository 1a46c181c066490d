"""How much longer an export takes when one request in twenty fails.

`python benchmarks/faults.py [--objects 1000] [--rounds 3]` exports a repository on a local S3
server to the same server, through a proxy that makes the faults, and prints the medians and their
ratio to the time without faults. Every copy is compared with the clean one.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import icechunk

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parts"))

from fixtures_faults import read_copy, write_many
from proxies import Fault, Rule, proxied
from servers import S3Server, SeaweedFS

from prefect_freight import export
from prefect_freight.stores.urls import open_store

SHARE = 0.05
KINDS = [
    Fault.SLOW_DOWN,
    Fault.SERVER_ERROR,
    Fault.RESET_BEFORE,
    Fault.RESET_AFTER,
    Fault.TRUNCATED,
    Fault.SLOW_BODY,
    Fault.LATENCY,
]
CASES = {fault.name.lower(): [fault] for fault in KINDS} | {"all of them": KINDS}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, SeaweedFS(Path(folder) / "s3") as running:
        s3 = running.server
        source = make(s3, given.objects)
        clean: dict[str, bytes] = {}
        run(s3, source, [], clean)  # imports and first connections
        plain = [run(s3, source, [], clean) for _ in range(given.rounds)]
        print(f"{'no faults':<14} {statistics.median(plain):6.2f} s")
        for name, faults in CASES.items():
            rules = [(fault, SHARE / len(faults)) for fault in faults]
            # Beside each other, since a machine's speed changes.
            pairs = [
                (run(s3, source, rules, clean), run(s3, source, [], clean))
                for _ in range(given.rounds)
            ]
            faulty, beside = (statistics.median(times) for times in zip(*pairs, strict=True))
            print(f"{name:<14} {faulty:6.2f} s   {faulty / beside:4.2f} of {beside:.2f} s")


def run(
    s3: S3Server, source: str, faults: list[tuple[Fault, float]], clean: dict[str, bytes]
) -> float:
    """Export through the proxy, compare, and return the seconds that the export took."""
    rules = [Rule(fault, probability=share) for fault, share in faults]
    with proxied(s3.endpoint_url, *rules) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        url = f"s3://{s3.new_bucket()}/copy"
        began = time.perf_counter()
        export(source, url, config=config, source_config=config)
        seconds = time.perf_counter() - began
    found = read_copy(open_store(url, s3.config()))
    if found != (clean or found):
        raise SystemExit("the copy differs from the clean one")
    clean.update(found)
    return seconds


def make(s3: S3Server, objects: int) -> str:
    bucket = s3.new_bucket()
    storage = icechunk.s3_storage(
        bucket=bucket,
        prefix="repository",
        region="us-east-1",
        endpoint_url=s3.endpoint_url,
        allow_http=True,
        access_key_id=s3.access_key_id,
        secret_access_key=s3.secret_access_key,
        force_path_style=True,
    )
    write_many(storage, native=objects)
    return f"s3://{bucket}/repository"


if __name__ == "__main__":
    main()
