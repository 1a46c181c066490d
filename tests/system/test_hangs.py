"""An interrupt ends an export soon, whatever hangs: a store, a server, or a listener."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import FREIGHT
from engine import run_engine
from folders import Folder, put
from histories import History, create
from proxies import Fault, Rule, proxied
from runners import Run
from scripted import LOCK, ScriptedStore
from servers import S3Server

from prefect_freight import export as export_plainly
from prefect_freight.control.lease import Lease
from prefect_freight.control.runs import read_runs
from prefect_freight.errors import FreightError, LockedError
from prefect_freight.events import Event, Moved, StepStarted
from prefect_freight.stores.s3.store import S3Store
from prefect_freight.stores.urls import open_store

CHUNKS, NTH = 40, 20
SOON_S = 10.0
LAYOUTS = {"zarr2": "array", "zarr3": "array", "objects": "objects"}


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> str:
    history = History(tmp_path_factory.mktemp("hangs") / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)))
    return str(history.path)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = Folder(tmp_path_factory.mktemp("hangs") / "objects")
    folder.change(*(put(f"a/{n}", b"%d" % n) for n in range(CHUNKS)))
    return folder.url


@pytest.fixture
def store(tmp_path: Path) -> ScriptedStore:
    return ScriptedStore(open_store(str(tmp_path / "copy")))


class Hanging:
    """From the n-th object on nothing comes back that is asked for, until `goes_on` is set."""

    def __init__(self, only: Callable[[str, str], bool]) -> None:
        self._only, self._lock, self._puts = only, threading.Lock(), 0
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, operation: str, key: str) -> None:
        with self._lock:
            self._puts += operation == "write" and key.startswith("a/")
            hangs = self._puts >= NTH and self._only(operation, key)
        if hangs:
            self.hangs.set()
            self.goes_on.wait()


def interrupt_main_thread() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def interrupt_once(event: threading.Event) -> list[float]:
    """Press Ctrl-C a moment after something was the case; return when, once it was."""
    pressed: list[float] = []

    def press() -> None:
        event.wait(60)
        time.sleep(0.3)
        pressed.append(time.monotonic())
        interrupt_main_thread()

    threading.Thread(target=press, daemon=True).start()
    return pressed


def markers(copy: Path) -> list[str]:
    return [path.name.rpartition("_")[2] for path in copy.glob("EXPORT_*")]


@pytest.mark.usually("plain-zarr2-objects alone")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "only",
    [lambda op, key: op == "write" and key.startswith("a/"), lambda op, key: True],
    ids=["objects alone", "everything"],
)
def test_a_destination_that_hangs(
    export: Run,
    store: ScriptedStore,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    layout: str,
    only: Callable[[str, str], bool],
) -> None:
    source, copy = request.getfixturevalue(LAYOUTS[layout]), tmp_path / "copy"
    flow = request.node.callspec.params["export"] == "flow"
    store.script = hanging = Hanging(only)
    pressed = interrupt_once(hanging.hangs)
    if flow:  # Prefect waits for its threads, which end when the requests do
        threading.Timer(20, hanging.goes_on.set).start()
    with pytest.raises(KeyboardInterrupt):
        export(source, store, format=layout, concurrency=4)
    assert time.monotonic() - pressed[0] < (30 if flow else SOON_S)
    says_so = markers(copy)
    assert "SUCCESS" not in says_so
    if not flow:
        # What was sent may still arrive: nobody is let in, be it in this very process.
        assert (copy / LOCK).exists()
        with pytest.raises(LockedError, match="expected no other export"):
            export_plainly(source, copy, format=layout)
        hanging.goes_on.set()
    while store.changing:
        time.sleep(0.01)
    changes = store.changes
    time.sleep(0.2)
    assert store.changes == changes, "what was given up goes on"
    report = export(source, store, format=layout)
    assert (report.whole, report.resumed) == (True, True)
    assert markers(copy) == ["SUCCESS"]


def test_where_only_objects_hang_the_marker_says_that_it_failed(
    store: ScriptedStore, array: str, tmp_path: Path
) -> None:
    store.script = hanging = Hanging(lambda op, key: op == "write" and key.startswith("a/"))
    interrupt_once(hanging.hangs)
    with pytest.raises(KeyboardInterrupt):
        export_plainly(array, store, settle_s=0, concurrency=4)
    hanging.goes_on.set()
    assert markers(tmp_path / "copy") == ["FAILURE"]
    assert [run.state for run in read_runs(store.inner)] == ["failed"]


@pytest.mark.by_flow_too("zarr2")
@pytest.mark.parametrize(
    "layout",
    ["zarr2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zarr3", "objects"))],
)
def test_who_may_be_interrupted_asks_no_store_for_anything(
    export: Run, store: ScriptedStore, request: pytest.FixtureRequest, layout: str
) -> None:
    asked: set[tuple[str, str]] = set()

    def script(operation: str, key: str) -> None:
        if threading.current_thread() is threading.main_thread():
            asked.add((operation, key))

    store.script = script
    source = request.getfixturevalue(LAYOUTS[layout])
    for _ in range(2):  # a copy that is whole already has an end of its own
        assert export(source, store, format=layout).whole
    assert asked == set()


@pytest.mark.parametrize(
    "at",
    [
        lambda event: isinstance(event, Moved),
        pytest.param(lambda event: isinstance(event, StepStarted), marks=pytest.mark.slow),
        pytest.param(lambda event: True, marks=pytest.mark.slow),
    ],
    ids=["in a thread that moves", "between steps", "everywhere"],
)
def test_a_listener_that_never_comes_back(
    array: str, tmp_path: Path, at: Callable[[Event], bool]
) -> None:
    copy, hangs = tmp_path / "copy", threading.Event()

    def listen(event: Event) -> None:
        if at(event):
            hangs.set()
            threading.Event().wait()

    pressed = interrupt_once(hangs)
    with pytest.raises(KeyboardInterrupt):
        export_plainly(array, copy, settle_s=0, concurrency=4, on_event=listen)
    assert time.monotonic() - pressed[0] < SOON_S
    assert "SUCCESS" not in markers(copy)
    assert not (copy / LOCK).exists()
    assert export_plainly(array, copy, settle_s=0).whole


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """Return a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def yaml_of(folder: Path, port: int) -> Path:
    path = folder / "mute.yaml"
    path.write_text(
        f"endpoint_url: http://127.0.0.1:{port}\naccess_key_id: id\nsecret_access_key: secret\n"
    )
    return path


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("flow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_command_whose_server_is_mute(
    array: str, tmp_path: Path, mute: socket.socket, number: int, flow: bool
) -> None:
    yaml = yaml_of(tmp_path, mute.getsockname()[1])
    command = [FREIGHT, "export", array, "s3://bucket/copy", "--config", str(yaml)]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}
    process = subprocess.Popen(
        [*command, *(["--flow"] if flow else [])],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    connection, _ = mute.accept()
    connection.recv(1)
    process.send_signal(number)
    pressed = time.monotonic()
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1, errors
    assert "Interrupted" in errors
    assert time.monotonic() - pressed < (3 * SOON_S if flow else SOON_S)
    deadline = time.monotonic() + 10
    while is_group(process.pid):  # Prefect's embedded server ends too
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_group(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_a_command_whose_requests_hang(
    array: str, tmp_path: Path, s3: S3Server, presses: int
) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.HANG, first=30)) as proxy:
        yaml = s3.yaml(tmp_path / "hang.yaml", endpoint_url=proxy.endpoint_url)
        url = f"s3://{s3.new_bucket()}/copy"
        command = [FREIGHT, "export", array, url, "--config", str(yaml)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert proxy.rules[0].hit.wait(60)
        began = time.monotonic()
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < (SOON_S + 2 if presses == 1 else 3)
        assert process.returncode == 1
        assert "Run the same command again" in errors
    keys = [key for page in open_store(url, s3.config()).list() for key in page["key"].to_pylist()]
    assert not any(key.endswith("_SUCCESS") for key in keys)
    again = [FREIGHT, "export", array, url, "--config", str(s3.yaml(tmp_path / "s3.yaml"))]
    subprocess.run(again, check=True, capture_output=True)  # its lock is seen to be a dead one's


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_that_drip_are_asked_for_again(
    export: Run, s3: S3Server, request: pytest.FixtureRequest, layout: str
) -> None:
    source = request.getfixturevalue(LAYOUTS[layout])
    with proxied(s3.endpoint_url, Rule(Fault.DRIP, "GET", r"/\.freight/", times=2)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        # Not shorter: a healthy server is to answer in time on a busy machine, too.
        store = S3Store(s3.new_bucket(), "copy", config, idle_s=4)
        assert export(source, store, format=layout).whole
        assert proxy.faults[Fault.DRIP] == 2


@pytest.mark.slow
def test_a_server_that_does_nothing_but_drip_ends_the_export(array: str, s3: S3Server) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.DRIP, "GET", first=5)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        store = S3Store(s3.new_bucket(), "copy", config, idle_s=1)
        began = time.monotonic()
        with pytest.raises(FreightError):
            export_plainly(array, store, retry_for=3, settle_s=0)
        assert time.monotonic() - began < 90


@pytest.mark.parametrize("runner", ["plain", pytest.param("flow", marks=pytest.mark.slow)])
def test_a_renewal_that_hangs_costs_no_lease(
    array: str, store: ScriptedStore, request: pytest.FixtureRequest, runner: str
) -> None:
    if runner == "flow":
        request.getfixturevalue("prefect_server")
    hung = threading.Event()

    def script(operation: str, key: str) -> None:
        if (operation, key) == ("replace", LOCK) and not hung.is_set():
            hung.set()
            time.sleep(20)
        if operation == "write" and key.startswith("a/"):
            hung.wait()

    store.script = script
    began = time.monotonic()
    report = run_engine(runner, array, store, lease=Lease(1.5, 0.4, 0.1))
    assert report.whole
    assert time.monotonic() - began < 15
