"""Faults of a real S3 server, made by a proxy before it: outlived, or named, and then resumed."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fixtures_faults import read_copy
from histories import data
from proxies import Fault, FaultProxy, Rule, proxied
from servers import S3Server

from prefect_freight import export
from prefect_freight.errors import (
    AccessError,
    FreightError,
    IncompleteError,
    NotFoundError,
    TransientError,
)
from prefect_freight.model import ExportReport
from prefect_freight.retry import retrying
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

KEY = "grid/5.0"
CHUNK = r"^copy/grid/\d"
IN_TOTAL = 6
"""Attempts of an operation whose error may pass."""
ALONE_IF_SLOW = [
    *(Fault.RESET_BEFORE, Fault.TRUNCATED),
    *(Fault.SERVER_ERROR, Fault.SLOW_BODY, Fault.LATENCY),
]
EVERY = [Fault.SLOW_DOWN, Fault.RESET_AFTER, *ALONE_IF_SLOW]

LOSE_ANY = {Fault.SLOW_DOWN, Fault.SERVER_ERROR, Fault.RESET_BEFORE, Fault.RESET_AFTER}
"""Faults that no request passes; an answer without a body cannot be cut short, say."""


ACTS: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("k", b"other bytes"),
    "read": lambda store: store.read("k"),
    "delete": lambda store: store.delete(["k"]),
}


class Route:
    """A way to a new S3 destination through a proxy, and one that has no faults."""

    def __init__(self, s3: S3Server, proxy: FaultProxy, source: str) -> None:
        self.proxy, self._s3, self._source = proxy, s3, source
        self.url = f"s3://{s3.new_bucket()}/copy"
        self.direct = open_store(self.url, s3.config())
        self.config = s3.config(endpoint_url=proxy.endpoint_url)

    def export(self) -> ExportReport:
        return export(self._source, self.url, config=self.config, source_config=self.config)

    def marker(self, report: ExportReport) -> str:
        return self.direct.read(report.marker).decode()


@contextmanager
def route(s3: S3Server, source: str, *rules: Rule) -> Iterator[Route]:
    with proxied(s3.endpoint_url, *rules) as proxy:
        yield Route(s3, proxy, source)


@pytest.mark.usually("[reset_after]")
@pytest.mark.parametrize(
    "faults",
    [
        [Fault.SLOW_DOWN],
        [Fault.RESET_AFTER],
        *(pytest.param([fault], marks=pytest.mark.slow) for fault in ALONE_IF_SLOW),
        EVERY,
    ],
    ids=lambda faults: "-".join(fault.name.lower() for fault in faults),
)
def test_one_fault_in_twenty_requests_leaves_no_trace_in_the_copy(
    s3: S3Server, many: str, many_copy: dict[str, bytes], faults: list[Fault]
) -> None:
    rules = [Rule(fault, probability=0.05 / len(faults)) for fault in faults]
    with route(s3, many, *rules) as way:
        report = way.export()
        assert all(way.proxy.faults[fault] > 3 for fault in faults)
        if {*faults} <= LOSE_ANY:
            assert attempts_beyond_need(way.proxy) == {}
    assert report.whole
    assert report.objects_transferred == len(many_copy)
    assert read_copy(way.direct) == many_copy


def attempts_beyond_need(proxy: FaultProxy) -> dict[tuple[str, str], int]:
    """Return what of the data was asked for more often than once and once for each fault it met.

    A chunk is not read again because its put was lost: with two requests an attempt, six attempts
    in a row fail 64 times as often as with one.
    """
    return {
        (method, key): requests
        for (method, key), requests in proxy.requests.items()
        if (method == "PUT" and re.search(CHUNK, key)) or (method == "GET" and "/chunks/" in key)
        if requests != 1 + proxy.met[method, key]
    }


@pytest.mark.usually("DENIED")
@pytest.mark.parametrize(("fault", "attempts"), [(Fault.DENIED, 1), (Fault.SLOW_DOWN, IN_TOTAL)])
def test_a_key_that_cannot_be_put_is_named_and_the_next_run_puts_only_that(
    s3: S3Server, many: str, many_copy: dict[str, bytes], fault: Fault, attempts: int
) -> None:
    with route(s3, many, Rule(fault, method="PUT", key=f"/{re.escape(KEY)}$")) as way:
        with pytest.raises(IncompleteError, match=f"could not put '{KEY}': ") as caught:
            way.export()
        failed = caught.value.report
        assert failed is not None
        assert way.proxy.requests["PUT", f"copy/{KEY}"] == attempts
        (line,) = [
            line for line in way.marker(failed).splitlines() if line.startswith("Unable to copy")
        ]
        assert f"/{KEY} from source chunks/" in line
        assert (failed.objects_failed, failed.rounds["chunks"]) == (
            1,
            failed.objects_transferred + 1,
        )
        way.proxy.forget()
        again = way.export()
        assert way.proxy.puts(CHUNK) == 1
    assert again.resumed
    assert again.objects_transferred == 1 + sum(again.rounds.values()) - again.rounds["chunks"]
    assert read_copy(way.direct) == many_copy
    with pytest.raises(NotFoundError):
        way.marker(failed)


def test_credentials_that_expire_stop_the_export_early_and_new_ones_move_the_rest(
    s3: S3Server, many: str, many_copy: dict[str, bytes]
) -> None:
    with route(s3, many, Rule(Fault.EXPIRED, first=1200)) as way:
        with pytest.raises(
            IncompleteError, match=r"ExpiredToken.*credentials have expired"
        ) as caught:
            way.export()
        stopped = caught.value.report
        assert stopped is not None
        # What was sent has failed, what was not has not.
        assert stopped.objects_failed <= way.proxy.faults[Fault.EXPIRED]
        done = stopped.objects_transferred + stopped.objects_failed + stopped.objects_not_begun
        assert done == sum(stopped.rounds.values())
        assert stopped.notes[0] == f"{stopped.objects_not_begun:,} objects were not begun"
        doomed, arrived = way.proxy.faults[Fault.EXPIRED], way.proxy.puts(CHUNK)
        assert doomed < 500
        assert arrived > 200
        way.proxy.forget()
        report = way.export()
    assert report.resumed
    assert read_copy(way.direct) == many_copy


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [
        (Fault.SLOW_DOWN, TransientError, IN_TOTAL),
        (Fault.SERVER_ERROR, TransientError, IN_TOTAL),
        (Fault.RESET_BEFORE, TransientError, IN_TOTAL),
        (Fault.RESET_AFTER, TransientError, IN_TOTAL),
        (Fault.EXPIRED, AccessError, 1),
        (Fault.DENIED, AccessError, 1),
    ],
)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_only_what_may_pass_is_tried_again(
    s3: S3Server,
    act: Callable[[Store], object],
    fault: Fault,
    error: type[FreightError],
    attempts: int,
) -> None:
    with proxied(s3.endpoint_url, Rule(fault)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        store = open_store(f"s3://{s3.new_bucket()}/copy", config)
        open_store(store.url, s3.config()).write("k", b"some bytes")
        with pytest.raises(error) as caught:
            retrying(lambda: act(store), sleep=lambda _: None)
        assert type(caught.value) is error
        assert sum(proxy.requests.values()) == attempts


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [(Fault.TRUNCATED, TransientError, IN_TOTAL), (Fault.EXPIRED, AccessError, 1)],
)
def test_a_listing_is_tried_again_by_itself(
    s3: S3Server, fault: Fault, error: type[FreightError], attempts: int
) -> None:
    with proxied(s3.endpoint_url, Rule(fault)) as proxy:
        store = open_store("s3://bucket/copy", s3.config(endpoint_url=proxy.endpoint_url))
        with pytest.raises(error):
            list(store.list())
        assert sum(proxy.requests.values()) == attempts


def test_a_lock_whose_put_was_done_and_never_answered_is_held(
    s3: S3Server, many: str, many_copy: dict[str, bytes]
) -> None:
    with route(s3, many, Rule(Fault.RESET_AFTER, "PUT", r"\.freight/lock$", times=1)) as way:
        assert way.export().whole
        assert way.proxy.faults[Fault.RESET_AFTER] == 1
    assert read_copy(way.direct) == many_copy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of two megabytes, which can be given more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system of a certain size")
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_with_more_room_the_rest_is_moved(
    new_repository: Callable[..., Path], small_disk: Path, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(1).integers(0, 2**31, (60, 2**14), dtype="i4")  # 64 KiB a chunk
    source = new_repository(
        lambda root: root.create_array("a", data=numbers, chunks=(1, 2**14), compressors=None)
    )
    copy = small_disk / "copy"
    with pytest.raises(IncompleteError, match=r"No space left.*Make room") as caught:
        export(source, copy)
    failed = caught.value.report
    assert failed is not None
    assert failed.objects_transferred > 20
    assert "No space left" in (copy / failed.marker).read_text()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = export(source, copy)
    assert again.resumed
    export(source, tmp_path / "clean")
    assert data(copy) == data(tmp_path / "clean")
    assert failed.objects_transferred + again.objects_transferred == len(data(copy))


@pytest.mark.slow
def test_a_store_that_is_gone_is_given_up_soon(s3: S3Server, many: str) -> None:
    with route(s3, many, Rule(Fault.SERVER_ERROR, "PUT", CHUNK)) as way:
        with pytest.raises(IncompleteError, match="500 InternalError"):
            way.export()
        assert way.proxy.faults[Fault.SERVER_ERROR] < 1000


@pytest.mark.parametrize("key", ["/repo$", "/snapshots/", "/manifests/"])
def test_what_icechunk_reads_is_read_again_too(
    s3: S3Server, many: str, many_copy: dict[str, bytes], key: str, tmp_path: Path
) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.TRUNCATED, "GET", key, times=2)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        export(many, tmp_path / "copy", source_config=config)
        assert proxy.faults[Fault.TRUNCATED] == 2
    assert data(tmp_path / "copy") == many_copy


@pytest.mark.parametrize("key", ["/repo$", "/snapshots/", "/manifests/"])
def test_what_icechunk_is_refused_is_not_asked_for_again(
    s3: S3Server, many: str, key: str, tmp_path: Path
) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.EXPIRED, "GET", key)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        with pytest.raises(FreightError, match=r"ExpiredToken.*credentials have expired"):
            export(many, tmp_path / "copy", source_config=config)
        assert proxy.faults[Fault.EXPIRED] == 1
