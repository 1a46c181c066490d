"""Prefect tries again what may pass, and only what is missing; what it cannot mend it names."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import FaultyObjectStore
from fixtures_prefect import PrefectServer
from told import percent

from prefect_freight.errors import AccessError, IncompleteError, TransientError
from prefect_freight.flows import export_repo
from prefect_freight.plan.numbers import format_bytes

pytestmark = pytest.mark.usefixtures("prefect_server")
KEY = "surface/temperature/0.0.0"
IN_ENGINE = 7
"""Attempts that the engine makes at most before the task fails."""
TERMINATED = """
import os, signal, sys
from faulty import FaultyObjectStore
from prefect_freight.flows import export_repo

source, destination, key = sys.argv[1:]

def fault(written, attempt):
    if written == key:  # in a thread of a task; the signal reaches the flow's
        os.kill(os.getpid(), signal.SIGTERM)

export_repo(source, FaultyObjectStore(url=destination).failing(fault))
"""


def test_a_task_is_tried_again_and_moves_only_what_failed(weather: Path, tmp_path: Path) -> None:
    def fault(key: str, attempt: int) -> Exception | None:
        return TransientError("503") if key == KEY and attempt <= IN_ENGINE else None

    block = FaultyObjectStore(url=str(tmp_path / "copy")).failing(fault)
    report = export_repo(str(weather), block)
    data = {k: n for k, n in block.attempts.items() if not k.startswith((".freight", "EXPORT"))}
    assert data.pop(KEY) == IN_ENGINE + 1
    assert set(data.values()) == {1}
    assert report.objects_transferred == len(data) + 1
    assert (report.objects_skipped, report.objects_failed) == (0, 0)
    assert report.whole


def test_a_refused_object_is_not_tried_again_and_stops_no_other(
    weather: Path, tmp_path: Path
) -> None:
    def fault(key: str, attempt: int) -> Exception | None:
        return AccessError("may not write") if key == KEY else None

    block = FaultyObjectStore(url=str(tmp_path / "copy")).failing(fault)
    with pytest.raises(IncompleteError, match=f"could not put '{KEY}': may not write") as caught:
        export_repo(str(weather), block)
    report = caught.value.report
    assert report is not None
    assert block.attempts[KEY] == 1
    assert (report.objects_failed, report.objects_transferred) == (1, report.rounds["chunks"] - 1)
    lines = (tmp_path / "copy" / report.marker).read_text().splitlines()
    assert lines[0].startswith("Unable to copy file ")
    assert f"/{KEY} from source " in lines[0]
    assert not (tmp_path / "copy" / ".zmetadata").exists()


@pytest.mark.slow
def test_a_flow_that_is_tried_again_moves_only_what_failed(weather: Path, tmp_path: Path) -> None:
    def fault(key: str, attempt: int) -> Exception | None:
        return AccessError("may not write") if key == KEY and attempt == 1 else None

    block = FaultyObjectStore(url=str(tmp_path / "copy")).failing(fault)
    report = export_repo.with_options(retries=1)(str(weather), block)
    chunks = {k: n for k, n in block.attempts.items() if k.startswith("surface/temperature/0")}
    assert chunks.pop(KEY) == 2
    assert set(chunks.values()) == {1}
    assert (report.whole, report.resumed) == (True, True)
    assert not (tmp_path / "copy" / f"EXPORT_{report.snapshot}_FAILURE").exists()


@pytest.mark.slow
def test_a_terminated_run_leaves_the_marker_of_a_failure_and_can_go_on(
    prefect_server: PrefectServer, weather: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    ended = subprocess.run(
        [sys.executable, "-c", TERMINATED, str(weather), str(copy), KEY],
        env=prefect_server.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    (marker,) = copy.glob("EXPORT_*_FAILURE")
    (line,) = (line for line in ended.stderr.splitlines() if "Not whole: cancelled" in line)
    assert "WARNING" in line  # whoever cancelled it finds no error
    reason, not_begun = marker.read_text().splitlines()  # what was not begun has not failed
    (written,) = copy.glob(".freight/*/report.json")
    told = json.loads(written.read_text())
    moved, size = told["objects_transferred"], format_bytes(told["bytes_transferred"])
    assert reason.startswith(f"cancelled when {moved} of ")
    assert reason.endswith(f" objects were done, {size} moved")
    assert told["notes"] == [reason, not_begun]
    done = percent(f"file://{copy}")
    assert done is not None  # where it stopped
    assert done == pytest.approx(100 * moved / (moved + told["objects_not_begun"]))
    assert not_begun.endswith("objects were not begun")
    assert not (copy / ".freight" / "lock").exists()
    report = export_repo(str(weather), str(copy))
    assert report.resumed
    assert [p.name for p in copy.glob("EXPORT_*")] == [report.marker]
