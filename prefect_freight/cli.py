"""The command line, `freight`. What is heavy is imported by the command that needs it."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from prefect_freight.examples import examples

if TYPE_CHECKING:
    from prefect_freight.config import StoreConfig
    from prefect_freight.model import ExportReport

FAILED, WRONG_USAGE = 1, 2
EMBEDDED_SERVER = {
    # On a busy machine with a fresh home it takes longer than the 20 s that Prefect gives it,
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
    # and without a network it complains that it cannot report its use.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
FORMATS = ("zarr2", "zarr3", "objects", "zarr3alpha")


def _check_bandwidth(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    from prefect_freight.errors import InputError
    from prefect_freight.limits import parse_bandwidth

    try:
        if given is not None:
            parse_bandwidth(given)
    except InputError as error:
        raise click.BadParameter(str(error)) from None
    return given


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="prefect-freight")
def cli() -> None:
    """Ship snapshots of versioned data repositories to plain copies.

    Exit status: 0 the copy is whole, 1 it is not, 2 wrong usage.
    """


@cli.command(epilog=examples("export"))
@click.argument("source")
@click.argument("destination")
@click.option("--ref", default="main", show_default=True, help="Branch, tag or snapshot id.")
@click.option(
    "--from-ref",
    help="Move only the difference to the copy of this ref, which must be at the destination; "
    "`last` is the copy that was exported there last.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="What the copy is: a Zarr 2 or Zarr 3 store of the source's arrays, or, of a source "
    "lakefs://… or objects+…, plain objects, each under its key and as it is. (zarr3alpha is an "
    "older name of zarr3.)  [default: zarr2 of an Icechunk repository, a Zarr store's own, objects "
    "of lakefs://… and objects+…]",
)
@click.option(
    "--group",
    metavar="PATH",
    help="Export only this group or array, and what lies in it; paths stay as they are.",
)
@click.option(
    "--include",
    metavar="RE",
    multiple=True,
    help="Export only arrays and groups whose path matches this regular expression (Python's, "
    "anywhere in the path), or plain objects whose key does; beside --exclude, what stays though "
    "that matches it. Coordinates of a selected array's dimensions come with it. Repeatable.",
)
@click.option(
    "--exclude",
    metavar="RE",
    multiple=True,
    help="Export all but what matches this regular expression and no --include. A coordinate that "
    "is excluded by its own name stays out. Repeatable.",
)
@click.option(
    "--round",
    "rounds",
    metavar="RE",
    multiple=True,
    help="Move chunks or objects whose key matches this regular expression (RE2, anywhere in the "
    "key) only when all others are there, and delete such keys before the others change: "
    "`--round '(^|/)_SUCCESS$'`. Repeated, each is a round after the one before.",
)
@click.option("--config", type=click.Path(), help="YAML with the destination's credentials.")
@click.option("--source-config", type=click.Path(), help="YAML with the source's credentials.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=64,
    show_default=True,
    help="Objects that move at the same time.",
)
@click.option(
    "--verify",
    type=click.Choice(["none", "sizes", "checksums", "values"]),
    default="sizes",
    show_default=True,
    help="How the copy is compared with the manifest before the marker says that it is whole.",
)
@click.option(
    "--on-existing",
    type=click.Choice(["refuse", "merge", "replace"]),
    default="refuse",
    show_default=True,
    help="What to do where the destination holds anything that is not ours: refuse; merge, which "
    "keeps it, writes beside it, and refuses by name what is in the way; or replace, which puts "
    "over that or deletes it, and takes over another source's copy, or one of another format or "
    "selection. "
    "--dry-run lists what would be replaced.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Delete what lies at a copy of ours and is not of it, whoever put it; --dry-run lists it. "
    "A new place that holds anything needs --on-existing replace beside it.",
)
@click.option(
    "--max-fill-chunks",
    metavar="N",
    type=click.IntRange(min=0),
    default=10_000_000,
    show_default=True,
    help="Refuse to write out more missing chunks than that, which a zarr2 copy may need for their "
    "fill values.",
)
@click.option(
    "--retry-for",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=300,
    show_default=True,
    help="How long a store that does not answer is waited for.",
)
@click.option(
    "--read-through",
    type=click.Choice(["bucket", "gateway", "presigned", "rest"]),
    help="How objects of a lakeFS repository are read: from the bucket below it (`storage:` of "
    "--source-config has its credentials), through lakeFS's S3 gateway, by presigned addresses, or "
    "its REST interface.  [default: the first that is offered of bucket, gateway, rest]",
)
@click.option(
    "--bandwidth",
    metavar="BYTES",
    callback=_check_bandwidth,
    help="Read, and put, at most so many bytes a second: 50M, or 50Mi in powers of 1024.",
)
@click.option(
    "--rate-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Send at most so many requests a second, to SOURCE and DESTINATION together.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--flow", is_flag=True, help="Run as a Prefect flow.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    source: str,
    destination: str,
    config: str | None,
    source_config: str | None,
    *,
    dry_run: bool,
    flow: bool,
    as_json: bool,
    format_: str | None,
    **options: Any,
) -> None:
    """Make DESTINATION a plain copy of a snapshot of SOURCE.

    SOURCE is an Icechunk repository: a path, s3://bucket/prefix, the same with icechunk+ before it,
    or a saved block, block:icechunk-repository/NAME; or a Zarr store: a path or any URL, the same
    with zarr+ before it, or block:zarr-store/NAME; or a lakeFS repository: lakefs://repository,
    lakefs://repository/prefix, or block:lakefs-repository/NAME, with the server and keys of
    --source-config, LAKECTL_… or ~/.lakectl.yaml; or plain objects: any file://, s3:// or other
    URL with objects+ before it. DESTINATION is a path, file:// or s3://
    URL, any fsspec URL, or block:object-store/NAME.
    """
    configs = {
        "config": _read_config(config, destination),
        "source_config": _read_config(source_config, source),
    }
    if dry_run:
        _dry_run(source, destination, as_json=as_json, format=format_, **configs, **options)
        return
    run = _export_as_flow if flow else _export_here
    report = run(source, destination, format=format_, **configs, **options)
    _show(report, as_json=as_json)


@cli.command(epilog=examples("status"))
@click.argument("destination")
@click.option("--config", type=click.Path(), help="YAML with the destination's credentials.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(destination: str, config: str | None, *, as_json: bool) -> None:
    """List the exports at DESTINATION: finished and unfinished, and the one whose copy is there."""
    from prefect_freight.control.status import read_status
    from prefect_freight.results import print_status
    from prefect_freight.stores.urls import open_store

    place = _resolved(destination)
    store = (
        open_store(place, _read_config(config, destination)) if isinstance(place, str) else place
    )
    record = read_status(store)
    if as_json:
        click.echo(json.dumps(record.to_dict()))
    else:
        print_status(record)


@cli.command(epilog=examples("verify"))
@click.argument("destination")
@click.option("--source", help="Compare the manifest with this repository's snapshot too.")
@click.option("--values", is_flag=True, help="Decode source and copy, and compare the values.")
@click.option("--config", type=click.Path(), help="YAML with the destination's credentials.")
@click.option("--source-config", type=click.Path(), help="YAML with the source's credentials.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(
    destination: str,
    source: str | None,
    config: str | None,
    source_config: str | None,
    *,
    values: bool,
    as_json: bool,
) -> None:
    """Compare the copy at DESTINATION with its manifest: keys, sizes and every checksum.

    Names what is missing, what is wrong, and what is not ours.
    """
    from prefect_freight.results import print_verification
    from prefect_freight.verifying import verify as run

    verification = run(
        _resolved(destination),
        source=None if source is None else _resolved(source),
        values=values,
        config=_read_config(config, destination),
        source_config=_read_config(source_config, source),
    )
    if as_json:
        click.echo(json.dumps(verification.to_dict()))
    else:
        print_verification(verification)
    if not verification.whole:
        click.get_current_context().exit(FAILED)


@cli.command(epilog=examples("prune"))
@click.argument("destination")
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Runs before the last whole one whose records stay though nothing needs them.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--config", type=click.Path(), help="YAML with the destination's credentials.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def prune(destination: str, keep: int, config: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Remove the records of exports at DESTINATION that nothing refers to any more.

    All that the next export may need stays: what the copy's record refers to, and whatever came
    after the last whole export, which may be resumed. No object of the copy is touched.
    """
    from prefect_freight.console import open_display
    from prefect_freight.pruning import prune as run
    from prefect_freight.results import print_pruning

    with open_display() as display:
        pruning = run(
            _resolved(destination),
            keep=keep,
            dry_run=dry_run,
            config=_read_config(config, destination),
            on_event=display,
        )
    if as_json:
        click.echo(json.dumps(pruning.to_dict()))
    else:
        print_pruning(pruning)


@cli.group()
def blocks() -> None:
    """Credentials in Prefect blocks."""


@blocks.command(epilog=examples("register"))
@click.argument("file", type=click.Path())
def register(file: str) -> None:
    """Save the blocks that the YAML file FILE describes to the Prefect server."""
    from prefect_freight.blocks.register import register_file

    _tell_of_server()
    for reference in register_file(file):
        click.echo(reference)


@cli.command(epilog=examples("demo"))
@click.argument("directory", default="freight-demo", type=click.Path())
def demo(directory: str) -> None:
    """Make a small Icechunk repository in DIRECTORY and export it, as a Prefect flow.

    Needs no account and no server: Prefect's own runs embedded.
    """
    from prefect_freight.demo import run_demo

    run_demo(directory)


def main() -> NoReturn:
    """Run the command line; errors become one line on standard error and an exit status."""
    from prefect_freight.errors import ConfigError, FreightError, IncompleteError, OptionError
    from prefect_freight.interrupts import end_when_interrupted
    from prefect_freight.streams import protect_streams

    protect_streams()
    for name, value in EMBEDDED_SERVER.items():
        os.environ.setdefault(name, value)
    end_when_interrupted(FAILED)
    try:
        status = cli.main(prog_name="freight", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Run the same command again to go on.", err=True)
        status = FAILED
    except FreightError as error:
        if isinstance(error, IncompleteError) and error.report and "--json" in sys.argv:
            _show(error.report, as_json=True)
        click.echo(f"Error: {error}", err=True)
        if isinstance(error, IncompleteError) and error.report:
            _tell_more(error.report)
        # A configuration that cannot be used is told like a wrong option: nothing was tried.
        status = WRONG_USAGE if isinstance(error, ConfigError | OptionError) else FAILED
    _exit(status)


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    if "prefect" in sys.modules:  # its embedded server is stopped by the interpreter's exit
        sys.exit(status)
    # Icechunk's threads may be running Rust code that wants the interpreter; where that is being
    # torn down meanwhile, the process aborts with status 134, all its work done. So nothing is
    # torn down: the work is done and written, and the system takes the rest.
    os._exit(status)


def _read_config(path: str | None, place: str | None) -> "StoreConfig | None":
    """Return the configuration of a place; says so where that has no use for one."""
    from prefect_freight.config import read_config

    if path is None:
        return None
    config = read_config(path)
    scheme = place.rpartition("://")[0].rpartition("+")[2] if place else "unknown"
    # Who forgets `s3://` would find a copy on the local disk, and wonder where the other one is.
    if place and scheme in ("", "file", "local") and not place.startswith("block:"):
        text = f"{path} is not used for {place}, which is a path of this machine's disk"
        click.echo(f"note: {text}. A bucket is s3://bucket/prefix.", err=True)
    return config


class _WithoutPandas:
    """Keeps pandas from being imported in this process.

    pyarrow imports it, where it is installed, to see that nothing of ours is of its types: a second
    and a half, which is half of a small export.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError("pandas is not needed here")


def _export_here(source: str, destination: str, **options: Any) -> "ExportReport":
    sys.meta_path.insert(0, _WithoutPandas())
    from prefect_freight.console import open_display
    from prefect_freight.exporting import export as run

    with open_display() as display:
        return run(_resolved(source), _resolved(destination), on_event=display, **options)


def _dry_run(source: str, destination: str, *, as_json: bool, **options: Any) -> None:
    from prefect_freight.console import open_display
    from prefect_freight.exporting import dry_run
    from prefect_freight.results import print_preview

    # The others decide how objects are moved, and none is.
    names = ["ref", "from_ref", "rounds", "format", "on_existing", "prune"]
    names += ["max_fill_chunks"]
    names += ["group", "include", "exclude", "read_through", "config", "source_config"]
    with open_display() as display:
        preview = dry_run(
            _resolved(source),
            _resolved(destination),
            on_event=display,
            **{name: options[name] for name in names},
        )
    if as_json:
        click.echo(json.dumps(preview.to_dict()))
    else:
        print_preview(preview)


def _export_as_flow(source: str, destination: str, **options: Any) -> "ExportReport":
    from prefect_freight.flows.export import run_export_flow

    _tell_of_server()
    return run_export_flow(source, destination, **options)


def _resolved(place: str) -> Any:
    """Return what a `block:` reference names, opened; anything else as it is."""
    if not place.startswith("block:"):
        return place
    from prefect_freight.blocks.references import load_reference

    _tell_of_server()
    return load_reference(place).open()


def _tell_more(report: "ExportReport") -> None:
    """Print what an error of an export that began does not say, on standard error."""
    from prefect_freight.plan.report import marker_text

    for note in (*report.notes, marker_text(report)):
        click.echo(f"note: {note}", err=True)


def _tell_of_server() -> None:
    """Say so where Prefect starts a server by itself: what is stored is not where others look."""
    from prefect_freight.blocks.server import temporary_server

    if text := temporary_server():
        click.echo(f"note: {text}.", err=True)


def _show(report: "ExportReport", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_dict()))
        return
    from prefect_freight.results import print_summary

    print_summary(report)
    for note in report.notes:
        click.echo(f"note: {note}")
