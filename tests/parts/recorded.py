"""Copies that are recorded as whole without moving a byte: what planning alone makes of nights."""

import dataclasses
from pathlib import Path
from typing import Any

from tables import md5_of

from prefect_freight.control.manifest import Manifest
from prefect_freight.control.manifest_reader import ManifestReader
from prefect_freight.control.part_checksums import CHECKSUM_BYTES, NO_CHECKSUM, put_checksums
from prefect_freight.control.runs import run_of, write_run
from prefect_freight.control.tables import read_table
from prefect_freight.model import ENTRY_SCHEMA, Format, Job, Options, Plan, Round
from prefect_freight.sources import Source
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.open_job import open_job
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store

NIGHT = Options(from_ref="last", verify="none")


def plan_night(
    source: Source | Path, destination: Store, ref: str = "main", **changes: Any
) -> tuple[Job, Manifest, Plan]:
    """Plan an export of the difference to what is recorded."""
    source = IcechunkSource(str(source)) if isinstance(source, Path) else source
    # A snapshot that was exported before is another run of it.
    options = dataclasses.replace(NIGHT, **changes)
    job = open_job(source, destination, source.resolve(ref), options)
    manifest = write_manifest(source, destination, job)
    return job, manifest, compute_diff(destination, job, manifest)


def close_night(destination: Store, job: Job, manifest: Manifest) -> None:
    """Record a planned export as if it had ended whole; a checksum tells the content it is of."""
    for part in manifest.parts:
        if part.round is not Round.DELETES:
            columns = ["content", "kept"]
            place = f"{manifest.area}/{part.key}"
            table = read_table(destination, place, columns, part.rows, part.digest)
            rows = zip(table["content"].to_pylist(), table["kept"].to_pylist(), strict=True)
            data = b"".join(NO_CHECKSUM if kept else md5_of(content) for content, kept in rows)
            assert len(data) == CHECKSUM_BYTES * part.rows
            put_checksums(destination, manifest.area, part, data)
    write_run(destination, run_of(job, "whole"))


def entries_of(destination: Store, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return all entries of the copy that a manifest describes, by their keys."""
    records, columns = ManifestReader(destination), [*ENTRY_SCHEMA.names, "round"]
    rows = [
        row
        for section in manifest.sections
        for row in records.entries(section, columns).select(columns).to_pylist()
    ]
    entries = {row.pop("key"): row for row in rows}
    assert len(entries) == len(rows), "each key once"
    return entries


def fresh_entries(
    source: Path, destination: Store, ref: str, format_: Format
) -> dict[str, dict[str, Any]]:
    """Return the entries of a snapshot's manifest that knows of no other."""
    _, manifest, _ = plan_night(source, destination, ref, format=format_, from_ref=None)
    return entries_of(destination, manifest)
