"""The export of a repository as a flow: `prefect_freight.exporting`, run by Prefect."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import BeforeValidator, Field

from prefect_freight.blocks import IcechunkRepository, LakeFSRepository, ObjectStore, ZarrStore
from prefect_freight.blocks.server import asking_server
from prefect_freight.config import StoreConfig
from prefect_freight.exporting import run_export
from prefect_freight.flows.careful import (
    PLACES,
    careful,
    refuse_stored_credentials,
)
from prefect_freight.flows.ends import ending_plainly
from prefect_freight.flows.places import (
    open_given_source,
    open_given_store,
    place_of,
    source_block,
)
from prefect_freight.flows.runner import WORKERS, PrefectRunner
from prefect_freight.flows.summary import short_name
from prefect_freight.model import (
    MAX_FILL_CHUNKS,
    RETRY_FOR_S,
    ExportReport,
    Format,
    OnExisting,
    VerifyLevel,
)
from prefect_freight.options import MAX_CONCURRENCY, plan_options, with_own_format
from prefect_freight.sources.kinds import prepared
from prefect_freight.stores.credentials import (
    PLACE_PATTERN,
    refuse_credentials,
    without_credentials,
)
from prefect_freight.threads import aside

RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=WORKERS)
Place = Annotated[str, Field(json_schema_extra={"pattern": PLACE_PATTERN})]
STARTUP_S = 60
"""How long the embedded server may take: with a fresh home on a busy machine, over 20 s."""


def _newer_name(format_: Any) -> Any:
    if format_ != "zarr3alpha":
        return format_
    get_logger("freight").warning("format 'zarr3alpha' is called 'zarr3' now")
    return Format.ZARR3.value


def as_text(place: Any) -> Any:
    """Return a path as a text, anything else as it is: Prefect's parameters are no paths."""
    return str(place) if isinstance(place, PurePath) else place


def _run_name() -> str:
    given = flow_run.parameters
    source, destination = (without_credentials(place_of(given[name])) for name in PLACES)
    return f"{short_name(source)} {given.get('ref', 'main')} → {short_name(destination)}"


@careful
@ending_plainly
@flow(
    name="export-repo",
    flow_run_name=_run_name,
    task_runner=RUNNER,
)
def export_repo(
    source: Annotated[
        IcechunkRepository | LakeFSRepository | ZarrStore | ObjectStore | Place,
        BeforeValidator(as_text),
    ],
    destination: Annotated[ObjectStore | Place, BeforeValidator(as_text)],
    ref: str = "main",
    from_ref: str | None = None,
    rounds: list[str] | None = None,
    format: Annotated[  # noqa: A002
        Literal["zarr2", "zarr3", "objects"] | None, BeforeValidator(_newer_name)
    ] = None,
    concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] = 64,
    verify: VerifyLevel = "sizes",
    on_existing: OnExisting = "refuse",
    prune: bool = False,
    settle_s: Annotated[float, Field(ge=0)] = 2.0,
    max_fill_chunks: Annotated[int, Field(ge=0)] = MAX_FILL_CHUNKS,
    retry_for: Annotated[float, Field(ge=0)] = RETRY_FOR_S,
    group: str | None = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    read_through: Literal["bucket", "gateway", "presigned", "rest"] | None = None,
    bandwidth: str | None = None,
    rate_limit: Annotated[float, Field(gt=0)] | None = None,
) -> ExportReport:
    """Make the destination a plain copy of a snapshot: of a repository, a Zarr store, or objects.

    At the end an object `EXPORT_<snapshot>_SUCCESS` at the destination's root says that the copy is
    whole. An export that fails leaves `EXPORT_<snapshot>_FAILURE` there, with a line for each
    operation that failed; run again, it moves only what is missing.

    Args:
        source: The repository: a saved Icechunk Repository block, a path, s3://bucket/prefix, or
            block:icechunk-repository/NAME. Or a lakeFS repository: a saved LakeFS Repository block,
            lakefs://repository, lakefs://repository/prefix, or block:lakefs-repository/NAME. Or a
            Zarr store: a saved Zarr Store block, a path or URL
            of any kind, with zarr+ before it or without, or block:zarr-store/NAME. Or plain
            objects: a saved Object Store block, block:object-store/NAME, or a URL with objects+
            before it, such as objects+s3://bucket/prefix.
        destination: Where the copy goes: a saved Object Store block, a path, s3://bucket/prefix,
            any fsspec URL, or block:object-store/NAME.
        ref: Branch, tag or snapshot id. A branch is exported as it is when the run starts.
        from_ref: Move only the difference to the copy of this ref, which lies there; last is
            whichever was exported there last, or nothing. None moves everything; a field that is
            left empty takes the deployment's own value.
        rounds: Regular expressions (RE2), in order. Chunks or objects whose key matches one of
            them, anywhere, move when all that match none are there, and those of the next one after
            them; such keys are deleted before the others change. With (^|/)_SUCCESS$, for example,
            success markers come last.
        format: What the copy is: a Zarr 2 or a Zarr 3 store of the source's arrays; or objects,
            each under its key and as it is. None is zarr2 of a repository, a Zarr store's own
            format, and objects of plain objects.
        concurrency: How many objects move at the same time, from 1 to 256.
        verify: How the copy is compared with the snapshot before it is marked as whole: none, sizes
            (of what is listed), checksums (of contents too), or values (both are decoded).
        on_existing: What to do where the destination holds anything that is not ours: refuse;
            merge, which keeps it, writes beside it, and refuses by name what is in the way; or
            replace, which puts over that or deletes it, and takes over another source's copy, or
            one of another format or selection.
        prune: Delete what lies at the destination and is not of the copy, whoever put it.
        settle_s: Seconds to wait before anything goes that a reader may have just opened.
        max_fill_chunks: Refuse to write out more missing chunks than that, which a Zarr 2 copy may
            need for their fill values.
        retry_for: Seconds for which a store that does not answer is waited for.
        group: Export only this group or array (its path), and what lies in it; paths stay as they
            are.
        include: Regular expressions (Python's). Arrays and groups whose path matches one of them,
            anywhere, are exported, or plain objects whose key does; and, without exclude, nothing
            else. Coordinates of a selected array's dimensions come with it.
        exclude: Regular expressions. All is exported but what matches one of them and none of
            include; a coordinate that is excluded by its own name stays out. The selection is part
            of what a copy is: another one at the same destination is refused.
        read_through: How objects of a lakeFS repository are read: from the bucket below it, through
            its S3 gateway, by presigned addresses, or its REST interface. None is the best that is
            offered.
        bandwidth: Bytes a second that may be read, and as many put, such as 50M (or 50Mi). With a
            task runner in several processes that is each process's.
        rate_limit: Requests a second that may be sent, to source and destination together.
    """
    refuse_stored_credentials(source, destination)
    options = plan_options(
        format,
        concurrency,
        verify,
        on_existing,
        from_ref=from_ref,
        rounds=tuple(rounds or ()),
        settle_s=settle_s,
        max_fill_chunks=max_fill_chunks,
        retry_for=retry_for,
        group=group,
        include=include,
        exclude=exclude,
        prune=prune,
        bandwidth=bandwidth,
        rate_limit=rate_limit,
    )
    opened = aside(
        lambda: (
            prepared(open_given_source(source), read_through, format),
            open_given_store(destination),
        )
    )
    chosen = aside(lambda: with_own_format(options, format, opened[0]))
    with PrefectRunner(concurrency, get_run_logger()) as runner:
        return run_export(*opened, ref, chosen, runner)


def run_export_flow(
    source: str,
    destination: str,
    *,
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    **options: Any,
) -> ExportReport:
    """Run `export_repo` in this process, with credentials that Prefect's server never sees.

    Where no server is configured, Prefect's embedded one starts, and gets the time that it needs.
    Raises what `prefect_freight.exporting.export` raises, and `ServerError` where the server that
    is configured does not answer.
    """
    refuse_credentials(source)
    refuse_credentials(destination)
    # A block passed as an object stays in this process; Prefect stores its fields masked.
    given_source = source_block(source, source_config) if source_config else source
    given_destination = ObjectStore.from_config(destination, config) if config else destination
    with (
        temporary_settings(
            set_defaults={PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: STARTUP_S}
        ),
        asking_server(),
    ):
        report: ExportReport = export_repo(given_source, given_destination, **options)
        return report
