"""The deployment in deployments/, on a real server, run by a real worker."""

import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr
from fixtures_prefect import PrefectServer
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment
from prefect.states import AwaitingRetry

from prefect_freight.blocks import IcechunkRepository, ObjectStore

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


def test_each_deployment_names_a_flow_and_parameters_that_it_takes() -> None:
    deployments = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())["deployments"]
    blocks = yaml.safe_load((DEPLOYMENTS / "blocks.yaml").read_text())
    assert deployments
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].partition(":")
        taken = inspect.signature(getattr(importlib.import_module(module), name).fn).parameters
        assert deployment["parameters"].keys() <= taken.keys()
        named = [p for p in deployment["parameters"].values() if p.startswith("block:")]
        assert named
        assert all(reference.rpartition("/")[2] in str(blocks) for reference in named)


@pytest.mark.slow
def test_a_worker_runs_the_nightly_export(
    prefect_server: PrefectServer, weather: Path, tmp_path: Path
) -> None:
    IcechunkRepository(url=str(weather)).save("weather", overwrite=True)
    ObjectStore(url=str(tmp_path / "copy")).save("archive", overwrite=True)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="freight", type="process"))
    file = str(DEPLOYMENTS / "prefect.yaml")
    prefect_server.run(
        "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file, cwd=tmp_path
    )

    # As the form of Prefect's UI refers to a block that was picked from its list.
    picked = {"$ref": {"block_document_slug": "object-store/archive"}}
    changed = {"ref": "v1", "destination": picked}
    started = run_deployment("export-repo/nightly-export", timeout=0, parameters=changed)
    worker = ("prefect", "worker", "start", "--pool", "freight", "--type", "process", "--run-once")
    said = prefect_server.run(*worker, cwd=tmp_path, PREFECT_WORKER_QUERY_SECONDS="2")

    with get_client(sync_client=True) as client:
        ended = client.read_flow_run(started.id)
    assert ended.state_name == "Completed", said
    assert ended.name == "weather v1 → archive"
    copy = zarr.open_array(tmp_path / "copy/surface/temperature", mode="r")
    assert np.isfinite(copy[...]).all()
    assert list((tmp_path / "copy").glob("EXPORT_*_SUCCESS"))


@pytest.mark.slow
def test_retry_on_a_failed_run_moves_only_what_failed(
    prefect_server: PrefectServer, weather: Path, tmp_path: Path
) -> None:
    IcechunkRepository(url=str(weather)).save("weather", overwrite=True)
    ObjectStore(url=str(tmp_path / "copy")).save("archive", overwrite=True)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="freight", type="process"), overwrite=True)
    file = str(DEPLOYMENTS / "prefect.yaml")
    prefect_server.run(
        "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file, cwd=tmp_path
    )
    (tmp_path / "copy/surface/lat/0").mkdir(parents=True)  # where an object has to be
    started = run_deployment("export-repo/nightly-export", timeout=0)
    worker = ("prefect", "worker", "start", "--pool", "freight", "--type", "process", "--run-once")
    prefect_server.run(*worker, cwd=tmp_path, PREFECT_WORKER_QUERY_SECONDS="2")
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(started.id).state_name == "Failed"
        (failed,) = (tmp_path / "copy").glob("EXPORT_*_FAILURE")
        assert "surface/lat/0" in failed.read_text()
        (tmp_path / "copy/surface/lat/0").rmdir()
        client.set_flow_run_state(started.id, AwaitingRetry(), force=True)  # the UI's button
    prefect_server.run(*worker, cwd=tmp_path, PREFECT_WORKER_QUERY_SECONDS="2")
    with get_client(sync_client=True) as client:
        again = client.read_flow_run(started.id)
    assert again.state_name == "Completed"
    own = [tag.partition(":")[0] for tag in again.tags if ":" in tag]
    assert sorted(own) == ["format", "snapshot"]  # once, though there were two attempts
    (said,) = (tmp_path / "copy/.freight").glob("*/report.json")
    report = json.loads(said.read_text())
    assert report["resumed"]
    assert (
        report["objects_transferred"]
        == 1 + report["rounds"]["documents"] + report["rounds"]["root"]
    )
