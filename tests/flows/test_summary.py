"""What people read of a flow run: names, keys and Markdown."""

import re
from pathlib import Path

import pytest
from histories import History, create

from prefect_freight.flows.summary import (
    artifact_key,
    progress_percent,
    progress_text,
    run_tags,
    short_name,
    summary_line,
    summary_markdown,
)
from prefect_freight.model import Action, ExportReport, Failure, Options, Outcome, Plan
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.steps.open_job import look_at_job
from prefect_freight.stores.urls import open_store


def report(**changes: object) -> ExportReport:
    values: dict[str, object] = {
        "export_id": "e",
        "source": "icechunk+s3://bucket/weather",
        "ref": "main",
        "snapshot": "SNAP",
        "base_snapshot": None,
        "destination": "s3://bucket/copy",
        "format": "zarr2",
        "objects_transferred": 1234,
        "bytes_transferred": 5_000_000,
        "objects_skipped": 0,
        "objects_deleted": 0,
        "objects_failed": 0,
        "seconds": 2.0,
        "bytes_per_second": 2_500_000.0,
        "rounds": {},
        "verified": "sizes",
        "marker": "EXPORT_SNAP_SUCCESS",
        "resumed": False,
    }
    return ExportReport(**(values | changes))  # type: ignore[arg-type]


def failure(key: str, message: str = "denied") -> Failure:
    return Failure(key, Action.PUT, "chunks/x", "access", message, transient=False)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("data/weather", "weather"),
        ("/data/weather/", "weather"),
        ("icechunk+s3://bucket/a/daily", "daily"),
        ("s3://bucket", "bucket"),
        ("s3://KEY:SECRET@bucket", "bucket"),  # refused later, and shown nowhere
        ("s3://bucket/copy?token=SECRET", "copy"),
        ("block:object-store/archive", "archive"),
        ("x" * 60, "x" * 39 + "…"),
        ("/", "?"),
    ],
)
def test_a_place_has_a_short_name_without_credentials(place: str, name: str) -> None:
    assert short_name(place) == name


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("s3://bucket/k1/ocean", "export-bucket-k1-ocean"),
        ("file:///data/copy", "export-data-copy"),
        ("s3://KEY:SECRET@bucket/a", "export-bucket-a"),
    ],
)
def test_artifact_keys_have_only_what_prefect_allows(place: str, key: str) -> None:
    assert artifact_key("export", place) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://bucket/k1/ocean", "s3://bucket/k2/ocean"),
        ("s3://bucket/a_b", "s3://bucket/a-b"),
        ("file:///data/日本", "file:///data/中国"),
        (f"s3://b/{'x' * 300}/1/end", f"s3://b/{'x' * 300}/2/end"),
    ],
)
def test_artifacts_of_different_destinations_have_different_keys(one: str, other: str) -> None:
    keys = {artifact_key("export", one), artifact_key("export", other)}
    assert len(keys) == 2
    assert all(re.fullmatch("[a-z0-9-]{1,100}", key) for key in keys)


@pytest.mark.parametrize(
    ("done", "objects", "percent"),
    [(0, 4, 0.0), (1, 4, 25.0), (4, 4, 100.0), (5, 4, 100.0), (0, 0, 100.0)],
)
def test_progress_stays_between_nothing_and_all(done: int, objects: int, percent: float) -> None:
    plan = Plan((), objects, 0, 0, 0)
    assert progress_percent(done, plan) == percent


def test_progress_says_objects_bytes_and_rate() -> None:
    said = progress_text(Outcome(1500, 4_000_000), Plan((), 3000, 0, 0, 0), 2.0)
    assert said == "1,500 of 3,000 objects done, 4.0 MB moved, 2.0 MB/s, 2.0 s left"


def test_of_an_export_that_has_ended_no_time_is_left() -> None:
    said = progress_text(Outcome(1500, 4_000_000), Plan((), 3000, 0), 2.0, ended=True)
    assert said == "1,500 of 3,000 objects done, 4.0 MB moved, 2.0 MB/s"


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (Outcome(skipped=2000), "2,000 of 3,000 objects done, 0 B moved, 0 B/s"),
        # Only what moved now has taken time.
        (Outcome(500, 50, skipped=2000), "50 B moved, 5 B/s, 10 s left"),
        (Outcome(250, 50, deleted=250), "50 B moved, 5 B/s, 50 s left"),
        (Outcome(3000, 50), "3,000 of 3,000 objects done, 50 B moved, 5 B/s"),
    ],
)
def test_the_time_that_is_left_follows_what_moved_now(outcome: Outcome, end: str) -> None:
    assert progress_text(outcome, Plan((), 3000, 0), 10.0).endswith(end)


def test_a_run_that_is_tried_again_has_its_tags_once(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"))
    store, source = open_store(str(tmp_path / "copy")), IcechunkSource(str(history.path))
    first = look_at_job(source, store, source.resolve("main"), Options())
    tags = run_tags(["nightly", "nightly"], first)
    assert tags == ["nightly", "format:zarr2", f"snapshot:{first.snapshot.id}"]
    assert run_tags(tags, first) == tags
    history.commit(create("b"))
    later = look_at_job(source, store, source.resolve("main"), Options())
    assert run_tags(tags, later) == ["nightly", "format:zarr2", f"snapshot:{later.snapshot.id}"]


def test_the_summary_has_the_four_numbers_snapshot_and_marker() -> None:
    text = summary_markdown(report(), Outcome())
    for cell in (
        "Objects transferred",
        "5.0 MB",
        "2.0 s",
        "2.5 MB/s",
        "`SNAP`",
        "`EXPORT_SNAP_SUCCESS`",
    ):
        assert f"| {cell} |" in text
    assert "The copy is whole." in text
    assert "failed" not in text.replace("Objects failed", "")


def test_of_a_marker_that_could_not_be_written_the_summary_says_so() -> None:
    text = summary_markdown(report(marker=""), Outcome(), "the store is gone")
    assert "| Marker | none: it could not be written |" in text
    assert "The copy is **not** whole" in text


@pytest.mark.parametrize(("marker", "state"), [("A_SUCCESS", "Whole"), ("A_FAILURE", "Not whole")])
def test_an_export_is_summed_up_in_a_line(marker: str, state: str) -> None:
    assert summary_line(report(marker=marker)) == f"{state}: 1,234 objects, 5.0 MB in 2.0 s"


def test_the_summary_of_a_failure_says_why_what_and_what_next() -> None:
    outcome = Outcome(failures=tuple(failure(f"a/{n}") for n in range(25)))
    text = summary_markdown(
        report(marker="EXPORT_SNAP_FAILURE", objects_failed=25), outcome, "could not put 'a/0'"
    )
    assert "**not** whole" in text
    assert "> could not put 'a/0'" in text
    assert text.count("| put | denied |") == 20
    assert "and 5 more; the marker lists them all" in text
    assert "Run the same export again" in text


def test_text_from_outside_cannot_break_the_table() -> None:
    hostile = failure("a|b`c\nd", "no\n| more | rows |" + "x" * 1000)
    text = summary_markdown(report(marker="M_FAILURE"), Outcome(failures=(hostile,)))
    (line,) = [line for line in text.splitlines() if "a\\|b" in line]
    assert line.startswith("| `a\\|b'c d` | put | no \\| more \\| rows \\|xxx")
    assert len(line) < 400
