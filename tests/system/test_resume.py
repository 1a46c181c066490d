"""`kill -9` at any moment, then the same command elsewhere: only what is missing moves."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Machine
from fixtures_faults import NATIVE_LOCAL, read_copy
from histories import data
from proxies import Fault, FaultProxy, Rule, proxied
from servers import S3Server

from prefect_freight import export
from prefect_freight.stores.urls import open_store

IN_FLIGHT = 1000
"""Objects that a kill may have moved a second time: four batches of 250."""
BATCH, THREADS = 250, 64
CHUNK = r"^copy/grid/\d"


@pytest.fixture(scope="session")
def whole(many_local: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return what an uninterrupted export makes."""
    copy = tmp_path_factory.mktemp("whole") / "copy"
    export(many_local, copy)
    return data(copy)


LOCK_OF_THE_DEAD = ".freight/lock"
"""It stays where the next command finds the copy whole, and holds nobody up."""
MOMENTS = {
    "run recorded": (Rule(Fault.HANG_AFTER, "PUT", r"/\.freight/runs/"), 0),
    "part of the manifest": (Rule(Fault.HANG_AFTER, "PUT", r"/manifest/chunks-"), 0),
    "manifest written": (Rule(Fault.HANG_AFTER, "PUT", r"/manifest/manifest\.json"), 0),
    "first chunks": (Rule(Fault.HANG, "PUT", CHUNK, first=100), 100),
    "many chunks": (Rule(Fault.HANG, "PUT", CHUNK, first=950), 950),
    "batch moved, not recorded": (Rule(Fault.HANG, "PUT", r"/ledger/chunks/", first=3), 500),
    "documents": (Rule(Fault.HANG_AFTER, "PUT", r"\.zarray$"), NATIVE_LOCAL),
    "consolidated metadata": (Rule(Fault.HANG, "PUT", r"\.zmetadata$"), NATIVE_LOCAL),
    "marker, before the record": (Rule(Fault.HANG_AFTER, "PUT", "_SUCCESS$"), NATIVE_LOCAL),
    "pointer, before the record": (
        Rule(Fault.HANG, "PUT", r"/\.freight/runs/", first=2),
        NATIVE_LOCAL,
    ),
}
"""When to kill: as a request hangs; and how many chunks the server has by then at least."""
USUAL = {
    *("part of the manifest", "first chunks", "many chunks", "batch moved, not recorded"),
    *("documents", "marker, before the record"),
}


@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=[] if moment in USUAL else pytest.mark.slow) for moment in MOMENTS],
)
def test_a_killed_export_goes_on_elsewhere_where_it_was(
    s3: S3Server,
    many_local: Path,
    whole: dict[str, bytes],
    exporter: Callable[[str], Machine],
    tmp_path: Path,
    moment: str,
) -> None:
    rule, there = MOMENTS[moment]
    rule = Rule(rule.fault, rule.method, rule.key, rule.first)
    with proxied(s3.endpoint_url, rule) as proxy:
        command = to_s3(s3, proxy, many_local, tmp_path)
        exporter("one").kill(rule.hit.is_set, *command)
        assert rule.hit.is_set()
        assert proxy.puts(CHUNK) >= there - THREADS
        proxy.rules = []
        report = exporter("another").run(*command)
        assert proxy.puts(CHUNK) <= most_puts(there)
    assert report["resumed"] or moment == "pointer, before the record"
    assert read_copy(open_store(str(command[1]), s3.config())) == whole
    assert control_keys(s3, str(command[1])) - {LOCK_OF_THE_DEAD} == {str(report["marker"])}


def most_puts(there: int) -> int:
    """Return how many chunks are put over two runs, if the first was killed after so many."""
    recorded = there // BATCH * BATCH
    return NATIVE_LOCAL + min(IN_FLIGHT, NATIVE_LOCAL - recorded)


def to_s3(s3: S3Server, proxy: FaultProxy, source: Path, tmp_path: Path) -> list[object]:
    config = s3.yaml(tmp_path / "dest.yaml")
    config.write_text(config.read_text().replace(s3.endpoint_url, proxy.endpoint_url))
    return [source, f"s3://{s3.new_bucket()}/copy", "--config", config]


def control_keys(s3: S3Server, url: str) -> set[str]:
    """Return the markers at a destination, and its lock."""
    keys = [key for page in open_store(url, s3.config()).list() for key in page["key"].to_pylist()]
    return {key for key in keys if key.startswith(("EXPORT_", ".freight/lock"))}


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4, 5, 6))]
)
def test_killed_at_random_moments_no_object_moves_more_often_than_it_must(
    many_local: Path,
    whole: dict[str, bytes],
    exporter: Callable[[str], Machine],
    tmp_path: Path,
    seed: int,
) -> None:
    copy, rng, moved = tmp_path / "copy", random.Random(seed), 0
    for number in range(2):
        n = rng.randrange(moved, NATIVE_LOCAL)
        exporter(f"m{number}").kill(lambda n=n: count(copy / "grid") >= n, many_local, copy)
        moved = count(copy / "grid")
    report = exporter("last").run(many_local, copy)
    assert int(str(report["objects_transferred"])) <= len(whole) - moved + IN_FLIGHT
    assert data(copy) == whole
    assert not (copy / ".freight" / "lock").exists()


def count(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 950])
def test_a_killed_flow_goes_on_with_another_database_where_it_was(
    s3: S3Server,
    many_local: Path,
    whole: dict[str, bytes],
    machine: Callable[[str], Machine],
    tmp_path: Path,
    n: int,
) -> None:
    rule = Rule(Fault.HANG, "PUT", CHUNK, first=n)
    with proxied(s3.endpoint_url, rule) as proxy:
        command = [*to_s3(s3, proxy, many_local, tmp_path), "--flow"]
        machine("one").kill(rule.hit.is_set, *command)
        proxy.rules = []
        report = machine("another").run(*command)
        assert proxy.puts(CHUNK) <= most_puts(n)
    assert report["resumed"]
    assert read_copy(open_store(str(command[1]), s3.config())) == whole
