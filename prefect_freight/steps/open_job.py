"""Opening an export at its destination: new, unfinished (then resumed), or whole already."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from prefect_freight.control.data import list_data
from prefect_freight.control.manifest import is_manifest, read_manifest
from prefect_freight.control.marker import exported_by_lakefs, failed_markers, is_marked
from prefect_freight.control.runs import (
    LAST,
    RUNS,
    Run,
    mark_unsound,
    run_of,
    runs_since_whole,
    write_run,
)
from prefect_freight.errors import (
    AccessError,
    DestinationError,
    InputError,
    NotFoundError,
    UnsoundError,
)
from prefect_freight.formats.choice import check_format
from prefect_freight.model import EVERYTHING, Job, OnExisting, Options, Selection, Snapshot
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.keys import first_few
from prefect_freight.plan.report import foreign_note, plan_export_id
from prefect_freight.plan.selection import to_text
from prefect_freight.retry import retrying
from prefect_freight.sources import Below, Source
from prefect_freight.steps.compare_unchecked import compare_unchecked
from prefect_freight.steps.foreign import nested_refusal
from prefect_freight.steps.verify_copy import compare
from prefect_freight.stores import Store
from prefect_freight.stores.locations import ancestors, comparable, is_same_service
from prefect_freight.stores.remembering import Remembering
from prefect_freight.stores.wrapping import innermost

KEYS_IN_MESSAGE = 3
ASSUMED = (
    "that a copy of {ref} (snapshot {snapshot}) lay there was taken on the user's word: nothing "
    "there recorded it"
)
VERSION1 = "an export of an earlier version was left unfinished there, so all of it {was} copied"
TAKEN_OVER = "a copy of {source} in format {format} {lay} there, and {was} replaced"
RESELECTED = "a copy of {copy} {lay} there, and {was} replaced"
UNSOUND = "what {lay} there was not what its record said, so all of it {was} copied"
DONE = {"lay": "lay", "was": "was"}
WOULD = {"lay": "lies", "was": "would be"}
"""The words of these notes in a report, and where nothing is written."""


def open_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job that `look_at_job` returns, recorded at the destination as begun.

    A record that was found wrong is recorded as that before: if the repair is cut off, whatever is
    exported next must know that there was something to repair.
    """
    job, unsound = _look(source, destination, snapshot, options, DONE)
    if unsound is not None:
        mark_unsound(destination, unsound)
    if not job.already_whole:
        write_run(destination, run_of(job, "open"))
    return job


def look_at_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination; nothing is written.

    The same export, left unfinished, is resumed; one that is whole, and still lies there whole, is
    `already_whole`. Raises `DestinationError` if the destination lies inside the source or another
    destination, holds anything not ours (unless told to write beside it), or another copy (unless
    told to replace it); `InputError` for a format that the source has nothing of.
    """
    return _look(source, destination, snapshot, options, WOULD)[0]


def _look(
    source: Source,
    destination: Store,
    snapshot: Snapshot,
    options: Options,
    words: Mapping[str, str],
) -> tuple[Job, Run | None]:
    """Return the job, and the whole run of which it was found only now that it is unsound."""
    # Several questions are asked of the same manifest, and each would cost a request.
    destination = Remembering(destination, is_manifest)
    check_format(source, options.format)
    _refuse_overlap(source, destination)
    last, earlier = runs_since_whole(destination)
    if not earlier:
        _refuse_place(source, destination, options)
    others = _other_copies(earlier, snapshot, options, destination)
    unsound = None if _has_manifest(last, destination) else last
    disturbed = False
    if _is_whole(earlier, snapshot, options):
        job = _whole_job(earlier[-1], snapshot, options, destination)
        job = replace(job, is_marked=is_marked(destination, job))
        differences = _compare(source, destination, job)
        pruned = differences is not None and _is_to_be_pruned(differences, options)
        if differences is not None and differences.whole and not pruned:
            beside = foreign_note(differences.foreign, differences.foreign_keys)
            return replace(job, notes=(beside,) if differences.foreign else ()), None
        disturbed = differences is not None and (differences.is_only_taken or pruned)
        # Objects of others beside a whole copy are no fault of its record.
        unsound = unsound if disturbed else earlier[-1]
    if any(_is_foreign(run, snapshot, options) for run in others):
        return _take_over(others, earlier, snapshot, options, destination, words), None
    sound = unsound is None and all(run.state != "unsound" for run in earlier)
    if (
        sound
        and last is not None
        and (disturbed or _was_disturbed(earlier, last, snapshot, options))
    ):
        # All of it lies there, and something else does. That is no reason to copy it again.
        return _plan_job(earlier, snapshot, options, destination, (last.snapshot, False)), None
    base = _plan_base(source, options, last, destination)
    # Where the record was found wrong, no difference to it can be relied on.
    job = _plan_job(earlier, snapshot, options, destination, base if sound else (None, False))
    if not sound:
        job = replace(job, notes=(UNSOUND.format_map(words),))
    elif _is_after_version1(earlier, job, destination):
        job = _plan_job(earlier, snapshot, options, destination, (None, False))
        job = replace(job, notes=(VERSION1.format_map(words),))
    if job.base_assumed:
        job = replace(job, notes=(ASSUMED.format(ref=options.from_ref, snapshot=job.base),))
    if others:
        note = RESELECTED.format(copy=_text(others[0].selection), **words)
        job = replace(job, notes=(*job.notes, note))
    return job, unsound


def _has_manifest(last: Run | None, destination: Store) -> bool:
    """Say whether the manifest of the last whole copy can be read, if there is such a copy."""
    return last is None or read_manifest(destination, last.area) is not None


def _is_after_version1(earlier: Sequence[Run], job: Job, destination: Store) -> bool:
    """Say whether an earlier version left a run unfinished that this job does not resume.

    What such a run touched is known by its keys alone, and not what they were part of.
    """
    unfinished = [run for run in earlier if not run.ended_whole and run.sequence < job.sequence]
    manifests = (read_manifest(destination, run.area) for run in unfinished)
    return job.base is not None and any(m is not None and m.version == 1 for m in manifests)


def _is_whole(earlier: Sequence[Run], snapshot: Snapshot, options: Options) -> bool:
    return bool(
        earlier
        and earlier[-1].state == "whole"
        and earlier[-1].snapshot == snapshot.id
        and not _is_other(earlier[-1], snapshot, options)
    )


def _is_to_be_pruned(differences: Differences, options: Options) -> bool:
    return options.prune and differences.whole and differences.foreign > 0


def _whole_job(run: Run, snapshot: Snapshot, options: Options, destination: Store) -> Job:
    return Job(
        export_id=run.export_id,
        sequence=run.sequence,
        snapshot=snapshot,
        destination=destination.url,
        options=options,
        started_at=time.time(),
        resumed=False,
        already_whole=True,
    )


def _plan_base(
    source: Source, options: Options, last: Run | None, destination: Store
) -> tuple[str | None, bool]:
    """Return the snapshot whose copy lies there, and whether only the user says so."""
    if options.from_ref is None:
        return None, False
    if last is None and (commit := _exported_by_lakefs(source, destination, options)):
        return commit, True
    if options.from_ref == "last" and last is None:
        return None, False
    if options.from_ref == "last" and last is not None:
        return last.snapshot, False
    wanted = source.resolve(options.from_ref).id
    if last is None and options.on_existing != "merge":
        raise DestinationError(
            f"expected a copy of {options.from_ref} (snapshot {wanted}) at {destination.url}, "
            "found no record of any, so exporting only the difference would leave holes. Export "
            "without --from-ref; or, if such a copy does lie there, add --on-existing merge"
        )
    if last is not None and last.snapshot != wanted:
        raise DestinationError(
            f"expected a copy of {options.from_ref} (snapshot {wanted}) at {destination.url}, "
            f"found one of {last.ref} (snapshot {last.snapshot}). Say --from-ref last for the "
            "difference to that, or leave --from-ref out to copy all"
        )
    return wanted, last is None


def _exported_by_lakefs(source: Source, destination: Store, options: Options) -> str | None:
    """Return the commit whose copy lakeFS's own exporter left there, if that is the base.

    `last` names it where there is but one: of several nobody knows which was the last.
    """
    if options.from_ref is None or not isinstance(innermost(source), Below):
        return None
    # Theirs is a copy of the whole repository, and what replaces or prunes it is told to.
    if "/" in source.url.partition("://")[2] or options.on_existing != "refuse" or options.prune:
        return None
    commits = exported_by_lakefs(destination)
    if commits and (failed := failed_markers(destination)):
        raise DestinationError(
            f"expected a whole copy of lakeFS's own exporter at {destination.url}, found "
            f"{failed[0]} too: nobody knows what that export left. Export without --from-ref, "
            "with --on-existing replace"
        )
    if options.from_ref != "last" and len(commits) == 1:
        wanted = source.resolve(options.from_ref).id
        return wanted if wanted in commits else None
    if len(commits) > 1:
        raise DestinationError(
            f"expected one marker of lakeFS's own exporter at {destination.url}, found "
            f"{len(commits)}: commits {', '.join(commits)}. If you know whose copy lies there, say "
            "so: --from-ref COMMIT --on-existing merge"
        )
    return commits[0] if commits else None


def _plan_job(
    earlier: Sequence[Run],
    snapshot: Snapshot,
    options: Options,
    destination: Store,
    base: tuple[str | None, bool],
) -> Job:
    base_id, assumed = base
    export_id = plan_export_id(snapshot, base_id, options)
    newest = earlier[-1] if earlier else None
    # An older unfinished run is not resumed: a later one may have changed what it recorded.
    resumed = (
        newest is not None and newest.export_id == export_id and newest.state in ("open", "failed")
    )
    # From the newest record and not from the last whole one: each run has an area of its own.
    sequence = newest.sequence if newest else 0
    return Job(
        export_id=export_id,
        sequence=sequence if resumed else sequence + 1,
        snapshot=snapshot,
        destination=destination.url,
        options=options,
        started_at=time.time(),
        resumed=resumed,
        is_planned=resumed and newest is not None and newest.was_planned,
        base=base_id,
        base_assumed=assumed,
        first_began_at=newest.started_at if resumed and newest is not None else None,
    )


def _compare(source: Source, destination: Store, job: Job) -> Differences | None:
    """Return how a copy that is recorded as whole differs from its record, None without one."""
    if read_manifest(destination, job.area) is None:
        return None
    # The record of a finished export is not taken for the copy, not even by who asks for no check.
    level = "sizes" if job.options.verify == "none" else job.options.verify
    # Without its marker another export may have been here since, whose records are gone: sizes say
    # too little then.
    if level == "sizes" and not job.is_marked:
        level = "checksums"
    try:
        differences = compare(destination, job, level)
        if level != "sizes":
            compare_unchecked(source, destination, job, differences, keep=False)
        return differences
    except UnsoundError:  # what says that it is whole cannot be read
        return None


def _was_disturbed(earlier: Sequence[Run], last: Run, snapshot: Snapshot, options: Options) -> bool:
    """Say whether all runs since the last whole copy found it whole, and disturbed by others."""
    ours = Snapshot(last.source, last.ref, last.snapshot)
    choices = [
        replace(options, on_existing=choice, prune=prune)
        for choice in get_args(OnExisting)
        for prune in (False, True)
    ]
    of_itself = {plan_export_id(ours, last.snapshot, choice) for choice in choices}
    since = [run.export_id for run in earlier if run.sequence > last.sequence]
    same = last.snapshot == snapshot.id and not _is_other(last, snapshot, options)
    return same and bool(since) and of_itself.issuperset(since)


def _refuse_overlap(source: Source, destination: Store) -> None:
    place = innermost(source)
    below = place.namespace() if isinstance(place, Below) else ""
    inner, outer = comparable(destination.url), comparable(below or source.storage_url)
    overlap = f"{inner}/".startswith(f"{outer}/") or f"{outer}/".startswith(f"{inner}/")
    if overlap and is_same_service(source, destination):
        raise DestinationError(
            f"expected a destination apart from the source, found {destination.url} and "
            f"{below or source.storage_url}, of which one lies inside the other. Choose another "
            "destination"
        )


def _refuse_place(source: Source, destination: Store, options: Options) -> None:
    """Refuse a place that is new to us, and another's."""
    _refuse_nested(destination)
    if not _exported_by_lakefs(source, destination, options):
        _refuse_occupied(destination, options)


def _refuse_nested(destination: Store) -> None:
    """Refuse a place inside another destination; what lies inside this one, a listing tells."""
    for place in ancestors(destination):
        if _is_destination(place):
            raise nested_refusal(destination.url, place.url)


def _is_destination(place: Store) -> bool:
    try:
        retrying(lambda: place.read(LAST, 0, 0))
    except NotFoundError:
        pass
    except (AccessError, InputError):
        return False  # whoever may not look there cannot export to it either
    else:
        return True
    try:
        return any(page.num_rows for page in place.list(RUNS))
    except (AccessError, InputError):
        return False


def _refuse_occupied(destination: Store, options: Options) -> None:
    if options.on_existing != "refuse":
        return
    keys = (key for table in list_data(destination) for key in table["key"].to_pylist())
    # One more than is named, to know whether there are more; the listing is not read to its end.
    names = [repr(key) for key in itertools.islice(keys, KEYS_IN_MESSAGE + 1)]
    if names:
        shown = first_few(names, len(names), KEYS_IN_MESSAGE)
        raise DestinationError(
            f"expected {destination.url} to be empty or a copy of ours, found {shown}. Nothing was "
            "touched. Choose another destination, or write beside what is there with "
            "--on-existing merge"
        )


def _other_copies(
    earlier: Sequence[Run], snapshot: Snapshot, options: Options, destination: Store
) -> list[Run]:
    """Return the runs of another source, format or selection; refuses them unless told to replace.

    Raises `DestinationError`, with the cure.
    """
    others = [run for run in earlier if not run.is_damaged and _is_other(run, snapshot, options)]
    if not others or options.on_existing == "replace":
        return others
    other, cure = others[0], "Export"
    if other.format != options.format:
        expected, found = f"in format {options.format}", f"in format {other.format}"
    elif other.source == snapshot.source:
        expected, found = f"of {_text(options.selection)}", f"of {_text(other.selection)}"
        again = to_text(other.selection)
        cure = f"Say {again} again" if again else f"Leave {to_text(options.selection)} out"
        cure += ", export"
    else:
        expected, found = f"of {snapshot.source}", f"of {other.source}"
    raise DestinationError(
        f"expected a copy {expected} at {destination.url}, found one {found}. {cure} to "
        "another destination, or replace that copy with --on-existing replace"
    )


def _is_foreign(run: Run, snapshot: Snapshot, options: Options) -> bool:
    """Say whether a run's names of objects mean nothing to an export of the snapshot."""
    return (run.source, run.format) != (snapshot.source, options.format.value)


def _is_other(run: Run, snapshot: Snapshot, options: Options) -> bool:
    """Say whether a run made another copy, whatever the snapshot."""
    return _is_foreign(run, snapshot, options) or run.selection != options.selection


def _text(selection: Selection) -> str:
    return f"what {to_text(selection)} selects" if selection != EVERYTHING else "everything"


def _take_over(
    others: Sequence[Run],
    earlier: Sequence[Run],
    snapshot: Snapshot,
    options: Options,
    destination: Store,
    words: Mapping[str, str],
) -> Job:
    """Return the job that replaces a copy of another source or format: all of it.

    Nothing of it is relied on, not even where keys and contents look the same: these are the
    other source's own names for its objects.
    """
    job = _plan_job(earlier, snapshot, options, destination, (None, False))
    note = TAKEN_OVER.format(source=others[0].source, format=others[0].format, **words)
    return replace(job, notes=(note,))
