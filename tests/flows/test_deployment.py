"""The deployment in deployments/, on a real server, run by a real worker."""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr
from fixtures_prefect import PrefectServer
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.flow_engine import run_flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import AwaitingRetry
from told import log, until

from prefect_freight.blocks import IcechunkRepository, ObjectStore
from prefect_freight.errors import InputError
from prefect_freight.flows import export_repo, verify_export

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


def deployed(flow: Any, **parameters: str) -> FlowRun:
    """Return a run of a deployment, as a worker gets it."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(flow), "tested")
        return client.create_flow_run_from_deployment(deployment, parameters=parameters)


PATH, BLOCK = "copies/weather", "block:object-store/relative"
REFUSED = (
    (export_repo, "destination", PATH),
    (verify_export, "destination", BLOCK),
    pytest.param(export_repo, "destination", BLOCK, marks=pytest.mark.slow),
    pytest.param(export_repo, "source", PATH, marks=pytest.mark.slow),
    pytest.param(export_repo, "source", "zarr+" + PATH, marks=pytest.mark.slow),
    pytest.param(verify_export, "destination", PATH, marks=pytest.mark.slow),
    pytest.param(verify_export, "source", BLOCK, marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("flow", "name", "place"), REFUSED)
def test_a_deployment_s_run_refuses_a_relative_path_by_its_message_alone(
    prefect_server: PrefectServer,
    weather: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flow: Any,
    name: str,
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ObjectStore(url=PATH).save("relative", overwrite=True)
    places = {"source": str(weather), "destination": str(tmp_path / "copy"), name: place}
    run = deployed(flow, **places)
    expected = rf"expected an absolute path or a URL as {name} .* found '(zarr\+)?{PATH}'"
    with pytest.raises(InputError, match=expected):
        run_flow(flow, flow_run=run, error_logger=flow_run_logger(run))
    lines = until(lambda: [line for line in log(run.id) if "Finished in" in line])
    assert any("Give the whole path" in line for line in lines)
    assert not any("Traceback" in line for line in log(run.id))
    assert not list(tmp_path.iterdir())


def test_a_flow_that_is_called_takes_a_relative_path(
    prefect_server: PrefectServer,
    weather: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_repo(str(weather), "copy", settle_s=0).whole
    assert verify_export("copy").whole
    assert list((tmp_path / "copy").glob("EXPORT_*_SUCCESS"))


@pytest.mark.slow
def test_a_worker_s_run_that_fails_ends_in_its_message(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="freight", type="process"), overwrite=True)
    file = str(DEPLOYMENTS / "prefect.yaml")
    prefect_server.run(
        "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file, cwd=tmp_path
    )
    nowhere = {"destination": "copies/weather"}
    started = run_deployment("verify-export/weekly-verification", timeout=0, parameters=nowhere)
    worker = ("prefect", "worker", "start", "--pool", "freight", "--type", "process", "--run-once")
    said = prefect_server.run(*worker, cwd=tmp_path, PREFECT_WORKER_QUERY_SECONDS="2")
    with get_client(sync_client=True) as client:
        ended = client.read_flow_run(started.id)
    assert ended.state_name == "Failed", said
    assert ended.state is not None
    assert str(ended.state.message).startswith("expected an absolute path or a URL as destination")
    for text in (said, "\n".join(log(started.id))):
        assert "absolute path" in text
        assert "Traceback" not in text
        assert "unexpected exception" not in text


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
