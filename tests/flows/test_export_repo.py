"""The flow is the plain loop, run by Prefect: same copy, same report, same errors."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import zarr
from fixtures_prefect import PrefectServer
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.states import State
from servers import S3Server

from prefect_freight import ExportReport, export
from prefect_freight.blocks import ObjectStore, ZarrStore
from prefect_freight.errors import DestinationError, IncompleteError, InputError, RefNotFoundError
from prefect_freight.flows import export_repo, run_export_flow
from prefect_freight.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("prefect_server")


def tree(root: Path) -> dict[str, bytes]:
    """Return all that lies at a root but the control area."""
    paths = [p for p in root.rglob("*") if p.is_file() and ".freight" not in p.parts]
    return {str(p.relative_to(root)): p.read_bytes() for p in paths}


def run(*args: Any, **kwargs: Any) -> tuple[FlowRun, State[ExportReport]]:
    """Run the flow to its end, good or bad; return the server's record of it and the state."""
    state = export_repo(*args, **kwargs, return_state=True)
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id), state


def artifacts(run: FlowRun) -> dict[str, Artifact]:
    """Return a run's artifacts by type."""
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        return {str(a.type): a for a in client.read_artifacts(artifact_filter=only)}


def logged(run: FlowRun, until: str) -> str:
    """Return a run's log, once it has a line with that text: logs are sent in the background."""
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    deadline = time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while True:
            text = "\n".join(line.message for line in client.read_logs(only))
            if until in text or time.monotonic() > deadline:
                return text
            time.sleep(0.2)


@pytest.fixture(scope="module")
def done(
    weather: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer
) -> tuple[FlowRun, ExportReport, Path]:
    """Return a run that ended well, its report and its copy."""
    copy = tmp_path_factory.mktemp("done") / "copy.zarr"
    record, state = run(str(weather), str(copy))
    return record, state.result(), copy


def test_flow_and_plain_loop_make_the_same_copy_and_report(
    done: tuple[FlowRun, ExportReport, Path], weather: Path, tmp_path: Path
) -> None:
    _, by_flow, copy = done
    plain = export(weather, tmp_path / "copy.zarr")
    assert tree(copy) == tree(tmp_path / "copy.zarr")
    differs = {"destination", "seconds", "bytes_per_second"}
    for name, value in plain.to_dict().items():
        assert name in differs or by_flow.to_dict()[name] == value, name


def test_flow_and_plain_loop_make_the_same_copy_on_s3(weather: Path, s3: S3Server) -> None:
    client, bucket = s3.client(), s3.new_bucket()
    run_export_flow(str(weather), f"s3://{bucket}/flow", config=s3.config(), format="zarr3")
    export(weather, f"s3://{bucket}/plain", config=s3.config(), format="zarr3")

    def objects(prefix: str) -> dict[str, bytes]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in keys
            if "/.freight/" not in key
        }

    assert objects("flow/") == objects("plain/")
    assert len(objects("flow/")) > 50


def test_the_run_has_a_readable_name_and_tags(done: tuple[FlowRun, ExportReport, Path]) -> None:
    record, report, _ = done
    assert record.name == "repository main → copy.zarr"
    assert {"format:zarr2", f"snapshot:{report.snapshot}"} <= set(record.tags)


def test_the_log_can_be_followed(done: tuple[FlowRun, ExportReport, Path]) -> None:
    record, report, _ = done
    text = logged(record, until="says so")
    steps = [
        f"is snapshot {report.snapshot}",
        f"Manifest: {report.objects_transferred} objects",
        "Copying chunks",
        "Writing metadata",
        f"{report.objects_transferred} of {report.objects_transferred} objects done",
        f"Whole: {report.marker} says so",
    ]
    places = [text.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_progress_ends_at_a_hundred_and_the_summary_has_the_numbers(
    done: tuple[FlowRun, ExportReport, Path],
) -> None:
    record, report, _ = done
    by_type = artifacts(record)
    assert by_type["progress"].data == 100.0
    assert by_type["progress"].key.startswith("progress-")
    assert "-copy-zarr" in by_type["progress"].key
    summary = str(by_type["markdown"].data)
    assert f"| Objects transferred | {report.objects_transferred} |" in summary
    assert f"`{report.marker}`" in summary


def test_a_whole_copy_is_left_as_it_is(
    done: tuple[FlowRun, ExportReport, Path], weather: Path
) -> None:
    _, first, copy = done
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*")}
    record, state = run(str(weather), str(copy))
    assert state.result().objects_transferred == 0
    assert state.result().objects_skipped == first.objects_transferred
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*")} == before
    assert "The copy is whole" in str(artifacts(record)["markdown"].data)


def test_it_is_a_subflow_of_a_flow(weather: Path, tmp_path: Path) -> None:
    @flow
    def pipeline() -> str:
        report = export_repo(str(weather), str(tmp_path / "copy"), format="zarr3")
        return str(zarr.open_group(tmp_path / "copy", mode="r").attrs["title"]) + report.format

    assert pipeline() == "A made-up weather archivezarr3"


def test_it_is_a_subflow_of_an_asynchronous_flow(weather: Path, tmp_path: Path) -> None:
    @flow
    async def pipeline() -> ExportReport:
        return export_repo(str(weather), str(tmp_path / "copy"), ref="v1")

    assert asyncio.run(pipeline()).whole
    assert zarr.open_group(tmp_path / "copy", mode="r")["surface/temperature"].shape


def test_one_object_at_a_time_makes_the_same_copy(
    done: tuple[FlowRun, ExportReport, Path], weather: Path, tmp_path: Path
) -> None:
    export_repo(str(weather), str(tmp_path / "copy"), concurrency=1, verify="none")
    assert tree(tmp_path / "copy") == tree(done[2])


def test_an_older_name_of_zarr3_is_taken(weather: Path, tmp_path: Path) -> None:
    assert export_repo(str(weather), str(tmp_path / "copy"), format="zarr3alpha").format == "zarr3"


def test_an_unknown_ref_fails_the_run_with_near_names_and_writes_nothing(
    weather: Path, tmp_path: Path
) -> None:
    record, state = run(str(weather), str(tmp_path / "copy"), ref="mian")
    assert record.state_type is not None
    assert record.state_type.value == "FAILED"
    assert "Did you mean 'main'" in str(record.state and record.state.message)
    with pytest.raises(RefNotFoundError):
        state.result()
    assert not (tmp_path / "copy").exists()


def test_an_occupied_destination_is_refused_and_left_alone(weather: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    with pytest.raises(DestinationError, match="precious"):
        export_repo(str(weather), str(tmp_path))
    assert tree(tmp_path) == {"precious": b"mine"}


def test_a_permanent_fault_on_one_key_fails_the_run_and_moves_everything_else(
    weather: Path, tmp_path: Path
) -> None:
    copy, key = tmp_path / "copy", "surface/temperature/0.0.0"
    (copy / key / "in-the-way").mkdir(parents=True)  # a folder where the object is to be
    record, state = run(str(weather), str(copy), on_existing="merge")
    assert f"could not put '{key}'" in str(record.state and record.state.message)
    with pytest.raises(IncompleteError) as caught:
        state.result()
    report = caught.value.report
    assert report is not None
    assert (report.objects_failed, report.rounds["chunks"]) == (1, report.objects_transferred + 1)
    assert key in (copy / report.marker).read_text()
    assert f"| `{key}` | put |" in str(artifacts(record)["markdown"].data)


def test_the_next_run_after_a_fault_moves_only_what_is_missing(
    weather: Path, tmp_path: Path, done: tuple[FlowRun, ExportReport, Path]
) -> None:
    copy, key = tmp_path / "copy.zarr", "surface/temperature/0.0.0"
    (copy / key / "in-the-way").mkdir(parents=True)
    first, _ = run(str(weather), str(copy), on_existing="merge")
    (copy / key / "in-the-way").rmdir()
    (copy / key).rmdir()
    _, state = run(str(weather), str(copy), on_existing="merge")
    rounds = state.result().rounds
    assert state.result().objects_transferred == 1 + rounds["documents"] + rounds["root"]
    assert {k for k in tree(copy) if not k.startswith("EXPORT")} == {
        k for k in tree(done[2]) if not k.startswith("EXPORT")
    }
    assert [p.name for p in copy.glob("EXPORT_*")] == [state.result().marker]
    assert first.state_name == "Failed"


def test_plain_objects_move_in_the_rounds_that_are_asked_for(weather: Path, tmp_path: Path) -> None:
    source, order = f"objects+file://{weather}", ["^snapshots/", "^repo$|^refs/"]
    record, state = run(source, str(tmp_path / "copy"), format="objects", rounds=order)
    assert state.result().objects_transferred == len(tree(weather))
    assert {k: v for k, v in tree(tmp_path / "copy").items() if k in tree(weather)} == tree(weather)
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    chunks = [t for p, t in written.items() if "chunks" in p.parts]
    snapshots = [t for p, t in written.items() if "snapshots" in p.parts]
    assert max(chunks) < min(snapshots)
    assert record.parameters["rounds"] == order


def test_a_round_that_is_no_expression_fails_the_run_by_name(weather: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RE2.*found '\['"):
        export_repo(str(weather), str(tmp_path / "copy"), rounds=["["])
    assert not (tmp_path / "copy").exists()


def test_a_store_as_the_source_is_one_of_plain_objects(s3: S3Server, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3.new_bucket()}/source", s3.config())
    store.write("a", b"1")
    block = ObjectStore.from_config(store.url, s3.config())
    report = export_repo(block, str(tmp_path / "one"), format="objects")
    assert report.source == f"objects+{store.url}"
    run_export_flow(
        report.source, str(tmp_path / "two"), source_config=s3.config(), format="objects"
    )
    assert (tmp_path / "one" / "a").read_bytes() == (tmp_path / "two" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("said", ["zarr+", ""])
def test_a_zarr_store_is_a_source_by_its_block_and_by_its_url(
    s3: S3Server, tmp_path: Path, said: str
) -> None:
    root = zarr.open_group(tmp_path / "store", mode="w", zarr_format=2)
    root.create_array("a", shape=(4,), chunks=(2,), dtype="i4")[:] = [1, 2, 3, 4]
    store = open_store(f"s3://{s3.new_bucket()}/source", s3.config())
    for key, blob in tree(tmp_path / "store").items():
        store.write(key, blob)
    report = export_repo(ZarrStore.from_config(store.url, s3.config()), str(tmp_path / "one"))
    assert (report.source, report.format) == (f"zarr+{store.url}", "zarr2")
    url = f"{said}{store.url}"
    run_export_flow(url, str(tmp_path / "two"), source_config=s3.config(), format="zarr3")
    for copy in ("one", "two"):
        assert zarr.open_group(tmp_path / copy, mode="r")["a"][:].tolist() == [1, 2, 3, 4]


def test_a_path_is_taken_where_a_text_is(weather: Path, tmp_path: Path) -> None:
    assert export_repo(weather, tmp_path / "copy").whole
