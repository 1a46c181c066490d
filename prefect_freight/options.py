"""What an export is asked to do: options as they are given, looked at and made a record."""

from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

from prefect_freight.errors import OptionError
from prefect_freight.events import Notice, OnEvent, ignore_event
from prefect_freight.formats.choice import own_format
from prefect_freight.limits import parse_limits
from prefect_freight.model import (
    KEEP_RUNS,
    MAX_FILL_CHUNKS,
    RETRY_FOR_S,
    SECTION_ROWS,
    Format,
    OnExisting,
    Options,
    VerifyLevel,
)
from prefect_freight.plan.phases import Phases, check_phases
from prefect_freight.plan.selection import plan_selection
from prefect_freight.sources import Phased, Source
from prefect_freight.stores import Store
from prefect_freight.stores.urls import with_checksums

MAX_CONCURRENCY = 256


def plan_options(
    format_: str | None,
    concurrency: int,
    verify: str,
    on_existing: str,
    *,
    from_ref: str | None = None,
    rounds: Phases = (),
    settle_s: float = 2.0,
    section_rows: int = SECTION_ROWS,
    keep_runs: int = KEEP_RUNS,
    max_fill_chunks: int = MAX_FILL_CHUNKS,
    retry_for: float = RETRY_FOR_S,
    bandwidth: str | int | None = None,
    rate_limit: float | None = None,
    group: str | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    prune: bool = False,
    on_event: OnEvent = ignore_event,
) -> Options:
    """Return the options if they are possible; raises `OptionError` that names the wrong one.

    Where no format is given, `with_own_format` finds it when the source is known.
    """
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise OptionError(f"expected concurrency from 1 to {MAX_CONCURRENCY}, found {concurrency}")
    for name, number in (("section_rows", section_rows), ("keep_runs", keep_runs)):
        if number < 1:
            raise OptionError(f"expected {name} of at least 1, found {number}")
    if max_fill_chunks < 0:
        raise OptionError(f"expected max_fill_chunks of at least 0, found {max_fill_chunks}")
    # So, since NaN is neither below nothing nor above it.
    if not retry_for >= 0:
        raise OptionError(f"expected retry_for of 0 seconds or more, found {retry_for}")
    _refuse_empty(from_ref)
    if format_ == "zarr3alpha":
        on_event(Notice("format 'zarr3alpha' is called 'zarr3' now, and is taken as that"))
        format_ = "zarr3"
    format_ = format_ or Format.ZARR2
    # Here and not where they are used: half of an export would have moved by then.
    check_phases(rounds)
    if format_ not in set(Format):
        raise OptionError(f"expected format {' or '.join(Format)}, found {format_!r}")
    if verify not in get_args(VerifyLevel):
        raise OptionError(f"expected verify {' or '.join(get_args(VerifyLevel))}, found {verify!r}")
    _check_existing(on_existing, prune=prune)
    return Options(
        Format(format_),
        verify,  # type: ignore[arg-type]
        on_existing,  # type: ignore[arg-type]
        from_ref,
        rounds,
        settle_s,
        section_rows,
        keep_runs,
        max_fill_chunks,
        retry_for,
        *parse_limits(bandwidth, rate_limit),
        selection=plan_selection(group, include, exclude, Format(format_)),
        prune=prune,
    )


def _check_existing(on_existing: str, *, prune: bool) -> None:
    if on_existing not in get_args(OnExisting):
        choices = " or ".join(get_args(OnExisting))
        raise OptionError(f"expected on_existing {choices}, found {on_existing!r}")
    if prune and on_existing == "merge":
        raise OptionError(
            "expected prune, which deletes what is not of the copy, or on_existing merge, which "
            "keeps it, found both"
        )


def _refuse_empty(from_ref: str | None) -> None:
    if from_ref is not None and not from_ref.strip():
        raise OptionError(
            "expected from_ref to be a ref or last, found an empty text. Leave it out (null in a "
            "flow's parameters, None in Python) to export everything"
        )


def with_own_format(options: Options, given: str | None, source: Source) -> Options:
    """Return the options with the source's own format, if none was given, and its own rounds.

    Raises what the source raises where it has to look.
    """
    if not options.phases and isinstance(source, Phased):
        options = replace(options, phases=source.rounds)
    if given is not None:
        return options
    chosen, format_ = options.selection, own_format(source)
    # Looked at again: what may be selected depends on the format.
    selection = plan_selection(chosen.group, chosen.include, chosen.exclude, format_)
    return replace(options, format=format_, selection=selection)


def checksummed(destination: Store, options: Options) -> Store:
    """Return the destination as the options want it written: with checksums or without."""
    # S3 compares them as an object arrives; who asks for no more than sizes is spared the hashing.
    return destination if options.verify in ("none", "sizes") else with_checksums(destination)
