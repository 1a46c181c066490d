"""The verification of a copy as a flow, on a real Prefect server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fixtures_prefect import PrefectServer
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from runners import export_at_once

from prefect_freight.errors import ConfigError, InputError, IntegrityError
from prefect_freight.flows import verify_export
from prefect_freight.flows.findings import (
    verification_line,
    verification_markdown,
    verification_message,
)
from prefect_freight.flows.summary import artifact_key
from prefect_freight.plan.differences import Differences
from prefect_freight.verifying import Verification


def verification(**changes: Any) -> Verification:
    place = "file:///data/copy"
    return Verification(
        place, "icechunk+file:///r", "main", "SNAP", "zarr2", "checksums", Differences(**changes)
    )


def latest_run() -> FlowRun:
    async def read() -> FlowRun:
        async with get_client() as client:
            runs = await client.read_flow_runs(sort="EXPECTED_START_TIME_DESC", limit=1)
            return runs[0]

    return asyncio.run(read())


def artifact(copy: Path) -> Any:
    key = artifact_key("verify", f"file://{copy}")

    async def read() -> Any:
        async with get_client() as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            )
            return max(found, key=lambda one: str(one.created))  # they come in any order

    return asyncio.run(read())


def test_a_whole_copy_completes_the_run_and_a_changed_one_fails_it_with_the_cure(
    prefect_server: PrefectServer, weather: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    report = export_at_once(weather, copy)
    assert verify_export(copy, source=str(weather), values=True).whole
    run = latest_run()
    assert (run.name, run.state_name) == ("verify copy", "Completed")
    assert "The copy is whole." in artifact(copy).data

    chunk = copy / "surface/temperature/0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    (copy / "surface/lat/0").unlink()
    with pytest.raises(IntegrityError, match="1 object missing, 1 wrong"):
        verify_export(str(copy))
    run = latest_run()
    assert run.state_name == "Failed"
    assert run.state
    said = str(run.state.message)
    assert said.startswith("Not whole by checksums: 1 object missing, 1 wrong")
    assert "'surface/lat/0' is missing" in said
    assert f"freight export icechunk+file://{weather} file://{copy}" in said
    assert f"a run of export-repo with ref={report.snapshot}" in said
    shown = artifact(copy)
    assert "| `surface/lat/0` | missing |" in shown.data
    assert "surface/temperature/0.0.0" in shown.data
    assert "Mend it by" in shown.data

    export_at_once(weather, copy, ref=report.snapshot, verify="checksums")
    assert verify_export(str(copy)).whole


def test_a_place_without_a_copy_fails_the_run_by_its_message(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected a whole export"):
        verify_export(str(tmp_path / "nothing"))
    run = latest_run()
    assert run.state
    assert str(run.state.message).startswith("expected a whole export at")


def test_credentials_in_a_place_are_refused_before_prefect_hears_of_them() -> None:
    with pytest.raises(ConfigError, match="without credentials"):
        verify_export("s3://KEY:SECRET@bucket/copy")


def test_what_a_reader_would_take_for_the_copy_s_is_mended_by_replacing() -> None:
    wrong = [("a/0", "not of the copy")]
    said = verification_message(verification(missing=1, wrong=1, taken=1, wrong_keys=wrong))
    assert said.endswith("verify=checksums, on_existing=replace")
    assert "--on-existing replace" in said


def test_findings_are_cut_and_counted_and_their_text_breaks_no_table() -> None:
    wrong = [(f"a|{n}", "no\n| more | rows |") for n in range(50)]
    found = verification(wrong=70, wrong_keys=wrong, foreign=1, foreign_keys=["mine"])
    text = verification_markdown(found)
    assert text.count("| no \\| more \\| rows \\| |") == 20
    assert "and 50 more" in text
    assert "| `mine` | not ours |" in text
    assert "\n" not in verification_line(found)


def test_the_line_of_a_verification_counts_what_it_does_not_name() -> None:
    named = verification(missing=1, missing_keys=["a/0"])
    assert verification_line(named).endswith("1 object missing, 0 wrong ('a/0' is missing)")
    wrong = [("b/0", "expected 2 bytes, found 3"), ("b/1", "expected 2 bytes, found 3")]
    more = verification(missing=1, missing_keys=["a/0"], wrong=2, wrong_keys=wrong)
    line = verification_line(more)
    assert "1 object missing, 2 wrong ('a/0' is missing; 'b/0': " in line
    assert line.endswith("; and 1 more)")
