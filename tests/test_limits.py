"""How fast an export may go: `--bandwidth` and `--rate-limit`."""

import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command import freight
from engine import run_engine
from memory import MemoryStore
from runners import Run

from prefect_freight import export
from prefect_freight.control.lease import Lease
from prefect_freight.errors import EndedError, InputError
from prefect_freight.events import Event, Moved
from prefect_freight.limits import Limits, parse_bandwidth
from prefect_freight.stores.limited import LimitedStore

KB = 1000


def objects(folder: Path, count: int, size: int = KB) -> str:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}").write_bytes(bytes(size))
    return f"objects+file://{folder}"


@pytest.mark.parametrize(
    ("given", "a_second"),
    [
        ("50M", 50_000_000),
        ("50Mi", 50 * 2**20),
        ("50MB/s", 50_000_000),
        (" 1.5 GiB ", 3 * 2**29),
        ("7k", 7_000),
        ("900", 900),
        (900, 900),
        ("1T", 10**12),
    ],
)
def test_a_bandwidth_is_bytes_a_second_with_decimal_or_binary_suffixes(
    given: str | int, a_second: int
) -> None:
    assert parse_bandwidth(given) == a_second


@pytest.mark.parametrize("given", ["", "0", "-5M", "50m", "50Mb", "50Mbit/s", "fast", "M", 0])
def test_what_is_no_bandwidth_is_refused(given: str | int) -> None:
    with pytest.raises(InputError, match="bytes a second such as 50M"):
        parse_bandwidth(given)


def elapsed(work: Any, count: int, threads: int = 8) -> float:
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))
    return time.monotonic() - began


def test_all_threads_share_one_limit_of_bytes_and_those_read_are_counted_apart() -> None:
    store = LimitedStore(MemoryStore(), Limits(200 * KB, None))
    # 100 kB of the 200 kB a second, but for what is saved up, and the last, which begins at once.
    assert elapsed(lambda n: store.write(str(n), bytes(KB)), 100) == pytest.approx(0.45, abs=0.15)
    assert elapsed(lambda n: store.read(str(n), 0, KB), 100) == pytest.approx(0.45, abs=0.15)
    assert elapsed(lambda n: store.read(str(n)), 100) == pytest.approx(0.45, abs=0.15)


def test_requests_are_counted_together_and_a_delete_of_many_is_one() -> None:
    store = LimitedStore(MemoryStore(), Limits(None, 200))
    began = time.monotonic()
    for number in range(30):
        store.write(str(number), b"x")
        store.read(str(number))
    store.delete(map(str, range(500)))
    assert [page for page in store.list() if page.num_rows] == []
    assert time.monotonic() - began > 0.13  # 61 requests at 200 a second, of which some were saved


def test_limits_in_another_process_are_one_for_all_that_is_sent_there() -> None:
    limits = Limits(KB, 5.0)
    store = LimitedStore(MemoryStore(), limits)
    text = pickle.dumps((limits, limits))
    here, too = pickle.loads(text)
    assert here is limits
    assert too is limits
    del here, too, store, limits
    one, other = pickle.loads(text)
    assert one is other


def test_one_who_waits_when_the_export_ends_is_not_tried() -> None:
    limits = Limits(1, None)
    store = LimitedStore(MemoryStore(), limits)
    store.write("first", bytes(100))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.write, "second", b"x")
        time.sleep(0.1)
        limits.end()
        with pytest.raises(EndedError):
            waiting.result(timeout=5)
    store.write("marker", b"x")  # the end of an export waits for nobody


@pytest.mark.by_flow_too("rate_limit")
@pytest.mark.parametrize(
    ("limit", "at_least_s"),
    [
        # Read and put: 60 requests for the objects alone.
        pytest.param({"rate_limit": 60}, 1.0, id="rate_limit"),
        # 30 kB in and 30 kB out at a time.
        pytest.param({"bandwidth": "30k"}, 0.8, id="bandwidth"),
    ],
)
def test_an_export_takes_as_long_as_its_limit_says(
    export: Run, tmp_path: Path, limit: dict[str, Any], at_least_s: float
) -> None:
    source = objects(tmp_path / "source", 30)
    began = time.monotonic()
    report = export(source, tmp_path / "copy", format="objects", **limit)
    assert report.objects_transferred == 30
    assert time.monotonic() - began > at_least_s


def test_the_limit_is_no_part_of_what_is_exported(tmp_path: Path) -> None:
    source = objects(tmp_path / "source", 3)
    slow = export(source, tmp_path / "copy", format="objects", bandwidth="1M", rate_limit=1e6)
    again = export(source, tmp_path / "copy", format="objects")
    assert again.export_id == slow.export_id
    assert again.objects_transferred == 0


@pytest.mark.parametrize("runner", ["plain", pytest.param("flow", marks=pytest.mark.slow)])
def test_a_lock_is_renewed_in_time_however_low_the_limit_is(
    request: pytest.FixtureRequest, tmp_path: Path, runner: str
) -> None:
    if runner == "flow":
        request.getfixturevalue("prefect_server")
    source = objects(tmp_path / "source", 15)
    lease = Lease(lease_s=1.2, renew_s=0.2, look_s=0.1)
    began = time.monotonic()
    report = run_engine(
        runner, source, tmp_path / "copy", format="objects", lease=lease, rate_limit=20
    )
    assert report.whole
    assert time.monotonic() - began > 2 * lease.lease_s


def test_an_interrupt_ends_those_who_wait_for_their_turn(tmp_path: Path) -> None:
    source = objects(tmp_path / "source", 10, size=2000 * KB)

    def interrupt(event: Event) -> None:
        if isinstance(event, Moved):
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        # An object in 40 s: those behind the first wait for minutes.
        export(source, tmp_path / "copy", format="objects", bandwidth="50k", on_event=interrupt)
    assert time.monotonic() - began < 20
    (marker,) = (tmp_path / "copy").glob("EXPORT_*_FAILURE")
    assert "could not" not in marker.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--bandwidth", "50Mbit"], "such as 50M"), (["--rate-limit", "0"], "x>0")],
)
def test_a_wrong_limit_is_wrong_usage(tmp_path: Path, options: list[str], said: str) -> None:
    done = freight("export", tmp_path, tmp_path / "copy", *options)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("limit", [{"bandwidth": "x"}, {"rate_limit": 0}, {"rate_limit": -1}])
def test_a_wrong_limit_is_refused_before_anything_is_touched(
    tmp_path: Path, limit: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="a second"):
        export(tmp_path / "nothing", tmp_path / "copy", **limit)
