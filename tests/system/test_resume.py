"""`kill -9` at any moment, then the same command elsewhere: only what is missing moves."""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from command import Machine
from fixtures_bulk import COUNT, Bulk
from fixtures_faults import read_copy
from histories import data
from proxies import Fault, FaultProxy, Rule, proxied
from servers import S3Server

from prefect_freight.stores.urls import open_store

IN_FLIGHT = 1000
"""Objects that a kill may have moved a second time: four batches of 250."""
BATCH, THREADS = 250, 64
LOCK_OF_THE_DEAD = ".freight/lock"
"""It stays where the next command finds the copy whole, and holds nobody up."""
LAYOUTS = ["zarr2", "zarr3", "objects"]


@dataclass(frozen=True)
class Moment:
    """When to kill: as a request hangs."""

    fault: Fault
    key: str
    """Expression, with `{…}` for what a `Bulk` says."""
    there: int
    """How many objects the server has by then at least."""
    nth: int = 1

    def rule(self, bulk: Bulk) -> Rule:
        key = self.key
        for word in ("moved", "round", "documents", "last"):
            key = key.replace(f"{{{word}}}", getattr(bulk, word))
        return Rule(self.fault, "PUT", key, self.nth)


MOMENTS: Mapping[str, Moment] = {
    "run recorded": Moment(Fault.HANG_AFTER, r"/\.freight/runs/", 0),
    "part of the manifest": Moment(Fault.HANG_AFTER, "/manifest/{round}-", 0),
    "manifest written": Moment(Fault.HANG_AFTER, r"/manifest/manifest\.json", 0),
    "first objects": Moment(Fault.HANG, "{moved}", 100, nth=100),
    "many objects": Moment(Fault.HANG, "{moved}", 950, nth=950),
    "batch moved, not recorded": Moment(Fault.HANG, "/ledger/{round}/", 500, nth=3),
    "documents": Moment(Fault.HANG_AFTER, "{documents}", COUNT),
    "last object": Moment(Fault.HANG, "{last}", COUNT),
    "marker, before the record": Moment(Fault.HANG_AFTER, "/EXPORT_.*_SUCCESS$", COUNT),
    "pointer, before the record": Moment(Fault.HANG, r"/\.freight/runs/", COUNT, nth=2),
}
USUAL = {
    ("first objects", "zarr2"),
    ("marker, before the record", "zarr2"),
    ("part of the manifest", "objects"),
    ("batch moved, not recorded", "objects"),
}


@pytest.mark.parametrize(
    ("moment", "bulk"),
    [
        pytest.param(*case, marks=[] if case in USUAL else pytest.mark.slow, id="-".join(case))
        for moment in MOMENTS
        for case in [(moment, layout) for layout in LAYOUTS]
    ],
    indirect=["bulk"],
)
def test_a_killed_export_goes_on_elsewhere_where_it_was(
    s3: S3Server, bulk: Bulk, exporter: Callable[[str], Machine], tmp_path: Path, moment: str
) -> None:
    rule, there = MOMENTS[moment].rule(bulk), MOMENTS[moment].there
    with proxied(s3.endpoint_url, rule) as proxy:
        command = to_s3(s3, proxy, bulk, tmp_path)
        exporter("one").kill(rule.hit.is_set, *command)
        assert rule.hit.is_set()
        assert proxy.puts(bulk.moved) >= there - THREADS
        proxy.rules = []
        report = exporter("another").run(*command)
        assert proxy.puts(bulk.moved) <= most_puts(there)
    assert report["resumed"] or moment == "pointer, before the record"
    assert read_copy(open_store(str(command[1]), s3.config())) == bulk.expected
    assert control_keys(s3, str(command[1])) - {LOCK_OF_THE_DEAD} == {str(report["marker"])}


def most_puts(there: int) -> int:
    """Return how many objects are put over two runs, if the first was killed after so many."""
    recorded = there // BATCH * BATCH
    return COUNT + min(IN_FLIGHT, COUNT - recorded)


def to_s3(s3: S3Server, proxy: FaultProxy, bulk: Bulk, tmp_path: Path) -> list[object]:
    config = s3.yaml(tmp_path / "dest.yaml")
    config.write_text(config.read_text().replace(s3.endpoint_url, proxy.endpoint_url))
    return [bulk.source, f"s3://{s3.new_bucket()}/copy", "--config", config, *bulk.options]


def control_keys(s3: S3Server, url: str) -> set[str]:
    """Return the markers at a destination, and its lock."""
    keys = [key for page in open_store(url, s3.config()).list() for key in page["key"].to_pylist()]
    return {key for key in keys if key.startswith(("EXPORT_", ".freight/lock"))}


SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "bulk",
    ["zarr2", pytest.param("zarr3", marks=SLOW), pytest.param("objects", marks=SLOW)],
    indirect=True,
)
@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=SLOW) for n in (2, 3, 4, 5, 6))])
def test_killed_at_random_moments_no_object_moves_more_often_than_it_must(
    bulk: Bulk, exporter: Callable[[str], Machine], tmp_path: Path, seed: int
) -> None:
    copy, rng, moved = tmp_path / "copy", random.Random(seed), 0
    command, first = (bulk.source, copy, *bulk.options), copy / bulk.folder
    for number in range(2):
        n = rng.randrange(moved, COUNT)
        exporter(f"m{number}").kill(lambda n=n: count(first) >= n, *command)
        moved = count(first)
    report = exporter("last").run(*command)
    assert int(str(report["objects_transferred"])) <= len(bulk.expected) - moved + IN_FLIGHT
    assert data(copy) == bulk.expected
    assert not (copy / ".freight" / "lock").exists()


def count(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(
    "bulk",
    [pytest.param("zarr2", marks=SLOW), pytest.param("zarr3", marks=SLOW), "objects"],
    indirect=True,
)
def test_a_killed_export_from_s3_to_s3_goes_on_elsewhere_where_it_was(
    s3: S3Server,
    bulk: Bulk,
    bulk_on_s3: str,
    exporter: Callable[[str], Machine],
    tmp_path: Path,
) -> None:
    rule = Rule(Fault.HANG, "PUT", bulk.moved, first=600)
    source_config = s3.yaml(tmp_path / "source.yaml")
    with proxied(s3.endpoint_url, rule) as proxy:
        _, *rest = to_s3(s3, proxy, bulk, tmp_path)
        command = [bulk_on_s3, *rest, "--source-config", source_config]
        exporter("one").kill(rule.hit.is_set, *command)
        assert rule.hit.is_set()
        proxy.rules = []
        report = exporter("another").run(*command)
        # At least the first of the batches that were under way was recorded.
        assert proxy.puts(bulk.moved) <= COUNT + COUNT - BATCH
    assert report["resumed"]
    assert read_copy(open_store(str(command[1]), s3.config())) == bulk.expected


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 950])
def test_a_killed_flow_goes_on_with_another_database_where_it_was(
    s3: S3Server, bulk: Bulk, machine: Callable[[str], Machine], tmp_path: Path, n: int
) -> None:
    rule = Rule(Fault.HANG, "PUT", bulk.moved, first=n)
    with proxied(s3.endpoint_url, rule) as proxy:
        command = [*to_s3(s3, proxy, bulk, tmp_path), "--flow"]
        machine("one").kill(rule.hit.is_set, *command)
        assert rule.hit.is_set()
        proxy.rules = []
        report = machine("another").run(*command)
        assert proxy.puts(bulk.moved) <= most_puts(n)
    assert report["resumed"]
    assert read_copy(open_store(str(command[1]), s3.config())) == bulk.expected
