"""The command line as a user runs it: a process, its two outputs and its exit status."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import FREIGHT, freight
from runners import export_at_once
from servers import S3Server

from prefect_freight.cli import cli
from prefect_freight.stores.urls import open_store

COMMANDS = sorted(cli.commands.keys() - {"blocks"})


def on_a_terminal(*args: object, columns: int = 120) -> str:
    """Run with both outputs on a terminal; return what that showed."""
    shown, terminal = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    with subprocess.Popen(
        [FREIGHT, *map(str, args)], stdin=terminal, stdout=terminal, stderr=terminal, env=env
    ):
        os.close(terminal)
        said = b""
        try:
            while more := os.read(shown, 4096):
                said += more
        except OSError:  # the terminal's other end is closed
            os.close(shown)
    return said.decode()


def test_an_export_prints_a_summary_and_its_steps_as_plain_lines(
    weather: Path, tmp_path: Path
) -> None:
    done = freight("export", weather, tmp_path / "copy")
    assert done.returncode == 0
    summary = dict(line.split(": ", 1) for line in done.stdout.splitlines()[1:])
    assert summary.keys() == {
        "Objects transferred",
        "Data transferred",
        "Export time",
        "Transfer rate",
        "Copy",
        "Snapshot",
        "Marker",
    }
    assert Path(tmp_path / "copy" / summary["Marker"]).is_file()
    steps = done.stderr.splitlines()
    assert steps[0] == "done: Resolving main"
    assert "done: Copying chunks" in steps
    assert "\x1b" not in done.stdout + done.stderr


def test_on_a_terminal_there_are_ticks_a_bar_and_a_table(weather: Path, tmp_path: Path) -> None:
    said = on_a_terminal("export", weather, tmp_path / "copy")
    assert "✓" in said
    assert "━" in said
    assert "objects" in said
    assert "left" in said
    assert "│ Objects transferred │" in said


def test_on_a_narrow_terminal_nothing_that_people_copy_is_cut_or_folded(
    weather: Path, tmp_path: Path
) -> None:
    said = on_a_terminal("export", weather, tmp_path / "copy", columns=60)
    (marker,) = (tmp_path / "copy").glob("EXPORT_*")
    assert f"Marker: {marker.name}" in said
    assert "…" not in said.partition("Export summary")[2]  # of what is over soon, it may be
    assert "left" in said


def test_json_is_the_report_alone(weather: Path, tmp_path: Path) -> None:
    done = freight("export", weather, tmp_path / "copy", "--json")
    report = json.loads(done.stdout)
    assert report["marker"] == f"EXPORT_{report['snapshot']}_SUCCESS"
    assert (tmp_path / "copy" / report["marker"]).exists()


@pytest.mark.usually("options1")
@pytest.mark.usually("options4")
@pytest.mark.usually("options6")
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--concurrency", "0"], 2, "1<=x<=256"),
        (["--concurrency", "257"], 2, "1<=x<=256"),
        (["--format", "zarr4"], 2, "'zarr4' is not one of"),
        (["--config", "missing.yaml"], 2, "missing.yaml"),
        (["--config", "typo.yaml"], 2, "'endpont_url' in typo.yaml. Did you mean 'endpoint_url'?"),
        (["--config", "broken.yaml"], 2, "YAML in broken.yaml, line"),
        (["--from-ref", ""], 2, "expected from_ref to be a ref or last, found an empty text"),
        (["--ref", "mian"], 1, "Did you mean 'main'?"),
        (["--include", "(("], 2, "for --include, found '(('"),
        (["--format", "objects"], 2, "plain objects for --format objects"),
        (["--bandwidth", "0"], 2, "above 0"),
    ],
)
def test_bad_input_has_its_exit_status_and_names_itself(
    weather: Path, tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    (tmp_path / "typo.yaml").write_text("endpont_url: x")
    (tmp_path / "broken.yaml").write_text("secret_access_key: hushhush\nregion: [")
    done = freight("export", weather, "copy", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "hushhush" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "copy").exists()


def test_the_three_keys_of_arraylakes_yaml_open_a_destination(
    weather: Path, tmp_path: Path, s3: S3Server
) -> None:
    url = f"s3://{s3.new_bucket()}/deep/copy"
    done = freight("export", weather, url, "--config", s3.yaml(tmp_path / "dest.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    listed = [k for page in open_store(url, s3.config()).list() for k in page["key"].to_pylist()]
    assert json.loads(done.stdout)["marker"] in listed
    assert s3.secret_access_key not in done.stdout + done.stderr


def test_wrong_credentials_and_a_missing_bucket_are_told_apart(
    weather: Path, tmp_path: Path, s3: S3Server
) -> None:
    config = s3.yaml(tmp_path / "dest.yaml")
    missing = freight("export", weather, "s3://no-such-bucket/copy", "--config", config)
    config.write_text(config.read_text().replace(s3.secret_access_key, "wrong-secret"))
    wrong = freight("export", weather, f"s3://{s3.new_bucket()}/copy", "--config", config)
    assert (missing.returncode, wrong.returncode) == (1, 1)
    said = [done.stderr.splitlines()[-1] for done in (missing, wrong)]
    assert said[0].startswith(f"Error: there is no bucket 'no-such-bucket' at {s3.endpoint_url}")
    assert said[1].startswith(f"Error: {s3.endpoint_url} refused the credentials for bucket")
    assert said[1].endswith("Check secret_access_key")
    assert "wrong-secret" not in wrong.stderr


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    weather: Path, tmp_path: Path
) -> None:
    done = freight("export", weather, tmp_path / "copy", "--dry-run", "--json")
    said = json.loads(done.stdout)
    assert not (tmp_path / "copy").exists()
    report = export_at_once(weather, tmp_path / "copy")
    assert sum(r["puts"] for r in said["rounds"].values()) == report.objects_transferred
    assert sum(r["bytes"] for r in said["rounds"].values()) == report.bytes_transferred
    assert said["nodes"]["surface/time"]["puts"] == 3  # .zarray, .zattrs and a chunk
    again = freight("export", weather, tmp_path / "copy", "--dry-run").stdout
    assert "nothing to do" in again


def test_status_lists_every_export_and_says_which_one_lies_there(
    weather: Path, tmp_path: Path
) -> None:
    export_at_once(weather, tmp_path / "copy", ref="v1")
    export_at_once(weather, tmp_path / "copy")
    first, second = json.loads(freight("status", tmp_path / "copy", "--json").stdout)["runs"]
    assert (first["run"]["ref"], first["run"]["state"], first["is_current"]) == (
        "v1",
        "whole",
        False,
    )
    assert (second["run"]["ref"], second["is_current"]) == ("main", True)
    assert second["done"] == second["objects"] > 0
    shown = freight("status", tmp_path / "copy").stdout.splitlines()[1:]
    assert "Run 2, whole, current: main as zarr2" in shown
    assert f"  snapshot {second['run']['snapshot']}" in shown
    assert max(map(len, shown)) <= 80  # no table, which no log and no pipe shows well


def test_the_summary_of_a_difference_names_what_it_is_the_difference_to(
    weather: Path, tmp_path: Path
) -> None:
    old = export_at_once(weather, tmp_path / "copy", ref="v1")
    said = freight("export", weather, tmp_path / "copy", "--from-ref", "last").stdout
    assert f"Difference to: {old.snapshot}\n" in said


def test_a_dry_run_of_plain_objects_tells_of_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_text("a")
    options = ["--format", "objects", "--dry-run"]
    said = freight("export", f"objects+file://{tmp_path}/source", tmp_path / "copy", *options)
    assert "objects" in said.stdout
    assert "Array" not in said.stdout


@pytest.mark.parametrize("command", [["status"], ["prune"], ["prune", "--dry-run"], ["verify"]])
def test_a_mistyped_destination_is_no_success_and_is_not_made(
    tmp_path: Path, command: list[str]
) -> None:
    done = freight(command[0], tmp_path / "copi", *command[1:])
    assert (done.returncode, done.stdout) == (1, "")
    assert "no record of any" in done.stderr
    assert not (tmp_path / "copi").exists()


@pytest.mark.parametrize("made", [False, True], ids=["new", "there, and empty"])
def test_a_refused_export_leaves_the_folders_that_there_were(
    weather: Path, tmp_path: Path, *, made: bool
) -> None:
    if made:
        (tmp_path / "deep/copy").mkdir(parents=True)
    done = freight("export", weather, tmp_path / "deep/copy", "--max-fill-chunks", 0)
    assert done.returncode == 1
    assert "--max-fill-chunks" in done.stderr
    assert (tmp_path / "deep/copy").exists() == (tmp_path / "deep").exists() == made


def test_an_export_that_failed_says_where_that_is_told(weather: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "surface/rain/9.9.9").mkdir(parents=True)  # a folder, where a reader looks for a chunk
    (copy / "surface/time/0").mkdir(parents=True)  # and one where a chunk is to be
    done = freight("export", weather, copy)
    assert done.returncode == 1
    (marker,) = copy.glob("EXPORT_*_FAILURE")
    assert f"note: see {marker.name} at file://{copy}" in done.stderr.splitlines()


@pytest.mark.parametrize("command", [*COMMANDS, "blocks register"])
def test_every_commands_help_ends_with_two_examples(command: str) -> None:
    said = CliRunner().invoke(cli, [*command.split(), "--help"]).output
    *_, heading, one, other = said.splitlines()
    assert heading.strip() == "Examples:"
    assert f"freight {command}" in one
    assert f"freight {command}" in other


def test_help_names_every_command() -> None:
    said = freight("--help").stdout
    assert all(command in said for command in ("export", "blocks", "demo"))


def test_python_dash_m_is_the_same_command(weather: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prefect_freight", "export", str(weather), str(tmp_path / "c")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_two_hundred_small_exports_exit_with_zero(weather: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(
            lambda n: freight("export", weather, tmp_path / str(n)).returncode, range(200)
        )
    assert set(ended) == {0}


def test_rounds_of_plain_objects_are_moved_one_after_the_other(tmp_path: Path) -> None:
    for key in ("a", "_SUCCESS", "z"):
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / key).write_text(key)
    rounds = ["--round", r"(^|/)_SUCCESS$", "--round", "^a"]
    command = ["export", f"objects+file://{tmp_path}/source", tmp_path / "copy", *rounds]
    preview = json.loads(freight(*command, "--format", "objects", "--dry-run", "--json").stdout)
    done = freight(*command, "--format", "objects", "--json")
    assert json.loads(done.stdout)["objects_transferred"] == 3, done.stderr
    assert preview["rounds"]["objects"]["puts"] == 3
    written = {key: (tmp_path / "copy" / key).stat().st_mtime_ns for key in ("a", "_SUCCESS", "z")}
    assert written["z"] <= written["_SUCCESS"] <= written["a"]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_round_that_is_no_expression_is_named(
    weather: Path, tmp_path: Path, options: list[str]
) -> None:
    done = freight("export", weather, tmp_path / "copy", "--round", "a", "--round", "[", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected regular expressions (RE2 syntax) for rounds, found '['" in done.stderr
    assert not (tmp_path / "copy").exists()


def test_a_configuration_is_not_ignored_silently(weather: Path, tmp_path: Path) -> None:
    (tmp_path / "s3.yaml").write_text("region: eu-west-3")
    done = freight("export", weather, "copy", "--config", "s3.yaml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "note: s3.yaml is not used for copy" in done.stderr


def test_help_tells_of_plain_objects_and_rounds() -> None:
    said = " ".join(freight("export", "--help").stdout.split())
    assert "--round RE" in said
    assert "objects+" in said


def shell(line: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run a line of bash with the command as $F and more arguments; return what the line says."""
    command = ["bash", "-c", line, "bash", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"F": FREIGHT}, timeout=120,
        check=False,
    )  # fmt: skip


STATUSES = "; echo ${PIPESTATUS[0]}"


@pytest.mark.usually("nobody reads the lines")
@pytest.mark.usually("no room")
@pytest.mark.parametrize(
    "line",
    [
        pytest.param('"$F" export "$@" | true', id="nobody reads the summary"),
        pytest.param('"$F" export "$@" 2>&1 | head -1 > /dev/null', id="nobody reads the lines"),
        pytest.param('"$F" export "$@" >&- 2>&- <&-', id="all is closed"),
        pytest.param('"$F" export "$@" > /dev/null 2> /dev/full', id="no room for lines"),
        pytest.param('"$F" export "$@" --json 2>&- | grep -q _SUCCESS', id="errors are closed"),
        pytest.param(
            '"$F" export "$@" --flow 2>&1 | head -1 > /dev/null', marks=pytest.mark.slow, id="flow"
        ),
    ],
)
def test_whoever_reads_what_it_says_or_does_not_the_status_is_that_of_the_export(
    weather: Path, tmp_path: Path, line: str
) -> None:
    done = shell(line + STATUSES, weather, tmp_path / "copy")
    assert done.stdout.splitlines()[-1:] == ["0"], done.stderr
    assert "Traceback" not in done.stderr
    assert [marker.name[-8:] for marker in (tmp_path / "copy").glob("EXPORT_*")] == ["_SUCCESS"]
    assert not (tmp_path / "copy/.freight/lock").exists()


def test_a_failure_has_its_status_though_nobody_reads(tmp_path: Path) -> None:
    done = shell('"$F" export "$@" 2>&1 | true' + STATUSES, tmp_path / "nothing", tmp_path / "copy")
    assert done.stdout.split() == ["1"]


def test_a_terminal_that_takes_nothing_stops_no_export(weather: Path, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, bytes(4096))
    os.set_blocking(theirs, True)
    command = [FREIGHT, "export", str(weather), str(tmp_path / "copy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        assert process.stdout
        assert "Objects transferred" in process.stdout.read()
        assert process.wait(30) == 0
    os.close(ours)
    os.close(theirs)
