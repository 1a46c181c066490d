"""An export that is suspended past its lease, while another one exports, writes nothing more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import held_up
import pytest
from engine import run_engine
from fixtures_prefect import PrefectServer
from folders import Folder, put
from histories import History, create, data, tree
from proxies import Fault, Rule, proxied
from servers import S3Server
from suspending import Suspended, end_of

from prefect_freight.control.lease import Lease
from prefect_freight.control.runs import read_runs
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

LEASE = (1.5, 0.4, 0.1)
"""Seconds of a lease, between renewals, and between looks."""
CHUNKS = 300
MOMENTS = {
    "manifest": (r"/manifest/", 1),
    "batch": (r"^(a|f)/(c/)?\d+$", 100),
    "record": (r"/ledger/", 1),
    "marker": (r"_SUCCESS$", 1),
    "end": (r"/last\.json$", 1),
}
type Start = Callable[[Suspended], None]


@pytest.fixture(params=["plain", pytest.param("flow", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environment(request: pytest.FixtureRequest, runner: str) -> dict[str, str]:
    """Return that of a process which may export by this runner."""
    if runner == "plain":
        return dict(os.environ)
    server: PrefectServer = request.getfixturevalue("prefect_server")
    return server.environment


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Return a list for processes that are to end with the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Return the URL of a repository and two snapshots, of which every chunk differs."""
    history = History(tmp_path_factory.mktemp("suspended") / "repository")
    first = history.commit(create("a", CHUNKS, chunks=(1,)))
    second = history.commit(lambda root: root["a"].__setitem__(slice(None), 7), create("b"))
    return str(history.path), first, second


@pytest.mark.parametrize("winner", [pytest.param("the same", marks=pytest.mark.slow), "another"])
@pytest.mark.parametrize(
    ("moment", "format_"),
    [
        ("batch", "zarr2"),
        *(pytest.param(m, "zarr3", marks=pytest.mark.slow) for m in MOMENTS if m != "marker"),
        pytest.param("marker", "zarr2", marks=pytest.mark.slow),
    ],
)
def test_who_was_suspended_while_another_exported_changes_nothing_any_more(
    repository: tuple[str, str, str],
    runner: str,
    environment: dict[str, str],
    started: list[int],
    tmp_path: Path,
    moment: str,
    format_: str,
    winner: str,
) -> None:
    source, first, second = repository
    copy, (key, nth) = tmp_path / "copy", MOMENTS[moment]
    loser = Suspended(runner, source, str(copy), first, format_, key, nth, LEASE)
    process = loser.start(environment)
    started.append(process.pid)
    ref = first if winner == "the same" else second
    report = run_engine("plain", source, copy, ref=ref, format=format_, lease=Lease(*LEASE))
    assert report.whole
    left = tree(copy)
    assert end_of(process) == {"error": "IncompleteError", "cause": "LockedError"}
    assert tree(copy) == left
    assert [marker.name for marker in copy.glob("EXPORT_*")] == [f"EXPORT_{ref}_SUCCESS"]
    assert read_runs(open_store(str(copy)))[-1].state == "whole"
    assert verify(copy, source=source).whole


@pytest.mark.slow
def test_plain_objects_that_it_had_begun_are_not_put_either(
    runner: str, environment: dict[str, str], started: list[int], tmp_path: Path
) -> None:
    folder, copy = Folder(tmp_path / "folder"), tmp_path / "copy"
    folder.change(*(put(f"f/{n}", b"%d" % n) for n in range(CHUNKS)))
    loser = Suspended(
        runner, folder.url, str(copy), "main", "objects", *MOMENTS["batch"], LEASE
    )  # fmt: skip
    process = loser.start(environment)
    started.append(process.pid)
    folder.change(*(put(f"f/{n}", b"new %d" % n) for n in range(CHUNKS)))
    report = run_engine("plain", folder.url, copy, format="objects", lease=Lease(*LEASE))
    assert report.whole
    left = tree(copy)
    assert end_of(process) == {"error": "IncompleteError", "cause": "LockedError"}
    assert tree(copy) == left
    assert data(copy)["f/7"] == b"new 7"


@pytest.mark.slow
def test_who_was_suspended_past_his_lease_goes_on_if_nobody_else_came(
    repository: tuple[str, str, str],
    runner: str,
    environment: dict[str, str],
    started: list[int],
    tmp_path: Path,
) -> None:

    source, first, _ = repository
    copy = tmp_path / "copy"
    loser = Suspended(runner, source, str(copy), first, "zarr2", *MOMENTS["batch"], LEASE)
    process = loser.start(environment)
    started.append(process.pid)
    time.sleep(2 * LEASE[0])
    assert end_of(process) == {"error": None}
    assert [marker.name for marker in copy.glob("EXPORT_*")] == [f"EXPORT_{first}_SUCCESS"]
    assert verify(copy, source=source).whole


HELD = Path(held_up.__file__)
IDLE_S = 2


@pytest.mark.slow
def test_requests_to_s3_that_were_held_up_are_not_sent_again(
    repository: tuple[str, str, str],
    runner: str,
    environment: dict[str, str],
    started: list[int],
    s3: S3Server,
    tmp_path: Path,
) -> None:
    """The loser's batch is in flight, and none of its requests arrives, nor its renewals."""
    source, first, second = repository
    chunk = Rule(Fault.HANG, "PUT", r"^copy/a/\d+$", first=100)
    renewal = Rule(Fault.HANG, "PUT", r"/lock$", first=2)  # from the one after it was taken
    with proxied(s3.endpoint_url, chunk, renewal) as proxy:
        url = f"s3://{s3.new_bucket()}/copy"
        yaml = s3.yaml(tmp_path / "held.yaml", endpoint_url=proxy.endpoint_url)
        command = [sys.executable, str(HELD), runner, source, url, first, str(yaml)]
        process = subprocess.Popen(
            [*command, *map(str, (*LEASE, IDLE_S))],
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process.pid)
        assert chunk.hit.wait(60), process.communicate()
        assert renewal.hit.wait(60)
        process.send_signal(signal.SIGSTOP)
        copy = open_store(url, s3.config())
        assert run_engine("plain", source, copy, ref=second, lease=Lease(*LEASE)).whole
        left = objects(copy)
        proxy.forget()
        assert end_of(process) == {"error": "IncompleteError", "cause": "LockedError"}
        assert {method for method, _ in proxy.requests} <= {"GET"}, proxy.requests
    assert objects(copy) == left
    assert [key for key in left if key.startswith("EXPORT_")] == [f"EXPORT_{second}_SUCCESS"]
    assert verify(copy, source=source).whole


def objects(store: Store) -> dict[str, bytes]:
    keys = [key for page in store.list() for key in page["key"].to_pylist()]
    return {key: store.read(key) for key in sorted(keys)}
