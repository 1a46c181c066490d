"""The records that the steps of an export pass on, and the schema of its manifest.

Records are small, frozen and picklable: a Prefect task gets them on any worker. What there can be
millions of (entries) is a table and never a record.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import pyarrow as pa

FORMAT_VERSION = 1
"""Of what `--json` prints and of `report.json`; records have one of their own."""

CONTROL_AREA = ".freight"
"""The folder under the destination's root that holds manifests, ledgers and reports."""

SECTION_ROWS = 250_000
KEEP_RUNS = 20
MAX_FILL_CHUNKS = 10_000_000
MAX_FAILURES_NAMED = 10_000
"""Of an outcome, and so the most that a failure marker names; the others are counted."""
RETRY_FOR_S = 300.0

MARKER_PATTERN = r"^EXPORT_[^/]+_(SUCCESS|FAILURE)$"
"""Keys of the objects that say whether a copy is whole (RE2)."""

VerifyLevel = Literal["none", "sizes", "checksums", "values"]
OnExisting = Literal["refuse", "merge", "replace"]


class Format(StrEnum):
    """What the copy is."""

    OBJECTS = "objects"
    ZARR2 = "zarr2"
    ZARR3 = "zarr3"


class Round(StrEnum):
    """Groups of entries, moved in their order, each when the one before is whole."""

    WITHDRAW = "withdraw"
    """Metadata without the arrays whose new chunks their old documents cannot read."""
    CLEAR = "clear"
    """Deletes that must come before the new chunks, of what is out of view already."""
    CHUNKS = "chunks"
    OBJECTS = "objects"
    DOCUMENTS = "documents"
    ROOT = "root"
    DELETES = "deletes"

    @property
    def is_data(self) -> bool:
        """What the user's phases order: objects that are not written by us."""
        return self in (Round.CHUNKS, Round.OBJECTS)

    @property
    def is_copied(self) -> bool:
        """Its puts are what lies at the destination in the end."""
        return self.is_data or self in (Round.DOCUMENTS, Round.ROOT)

    @property
    def any_order(self) -> bool:
        """Units of one phase may be moved side by side."""
        return self.is_data or self is Round.DELETES


class Kind(StrEnum):
    """Where the bytes of an entry come from."""

    INLINE = "inline"
    """The manifest holds them."""
    OBJECT = "object"
    """An object of the source's storage holds them."""
    FILL = "fill"
    """They are a chunk of fill values, which lies beside the manifest once for all."""


class Action(StrEnum):
    """What is done with an entry's key at the destination."""

    PUT = "put"
    DELETE = "delete"


ENTRY_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # under the destination's root
        pa.field("action", pa.string(), nullable=False),  # put or delete
        pa.field("kind", pa.string(), nullable=False),  # inline, object or fill
        pa.field("node", pa.string(), nullable=False),  # path of the array or group, "" is the root
        pa.field("location", pa.string()),  # object of the source's storage, or a fill's digest
        pa.field("offset", pa.int64(), nullable=False),  # bytes
        pa.field("size", pa.int64(), nullable=False),  # bytes, at the source and at the destination
        pa.field("content", pa.string(), nullable=False),  # equal, equal bytes; "" is unknown
        pa.field("checksum", pa.binary()),  # MD5 of the bytes, where it is known beforehand
        # For inline the bytes themselves; of an object what stores may keep beside them, as JSON:
        # `content_type`, and the user's `metadata`.
        pa.field("data", pa.binary()),
    ]
)
"""One row per object that an export puts or deletes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ref and the immutable snapshot that it resolved to."""

    source: str
    """The source's canonical URL."""
    ref: str
    """What the user typed."""
    id: str
    """The snapshot's id."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a snapshot is exported; `prefect_freight.plan.selection` has the rule."""

    group: str = ""
    """Path of the group (or array) that all of it lies in; `""` is the root."""
    include: tuple[str, ...] = ()
    """Regular expressions, sorted."""
    exclude: tuple[str, ...] = ()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Options:
    """What changes the result or how it is reached."""

    format: Format = Format.ZARR2
    verify: VerifyLevel = "sizes"
    on_existing: OnExisting = "refuse"
    from_ref: str | None = None
    """Export only the difference to this ref, or to the `last` export."""
    phases: Sequence[str] | Callable[[str], int] = ()
    """Order within a round of data; see `prefect_freight.plan.phases`."""
    settle_s: float = 2.0
    """How long a reader that has just opened the copy has to read it before objects go."""
    section_rows: int = SECTION_ROWS
    """Entries that are compared and remembered as one."""
    keep_runs: int = KEEP_RUNS
    """Runs whose records are kept though nothing refers to them any more."""
    max_fill_chunks: int = MAX_FILL_CHUNKS
    """Chunks of fill values that may be written out at most."""
    retry_for: float = RETRY_FOR_S
    """Seconds for which a store that does not answer is waited for."""
    bandwidth: int | None = None
    """Bytes that may be read, and put, in a second by each process."""
    rate_limit: float | None = None
    """Requests that may be sent in a second by each process."""
    selection: Selection = EVERYTHING
    prune: bool = False
    """Delete what lies there and is not of the copy, whoever put it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One export, pinned: all that a step needs to know beside its source and destination."""

    export_id: str
    """Digest of source, snapshot and all options that change the result."""
    sequence: int
    """Number of this run among all that the destination has seen, from 1."""
    snapshot: Snapshot
    destination: str
    options: Options
    started_at: float
    """Seconds since the epoch."""
    resumed: bool
    """An earlier, unfinished run of the same export left a ledger."""
    is_planned: bool = False
    """That run had written down what it does."""
    already_whole: bool = False
    """The copy is whole already: there is nothing to do."""
    is_marked: bool = False
    """Of a copy that is whole already: its marker was there, when it was looked at."""
    base: str | None = None
    """The snapshot whose copy lies there, if only the difference is exported."""
    base_assumed: bool = False
    """Nothing at the destination records the base: the user says so."""
    notes: tuple[str, ...] = ()
    """What the report has to say of how the export was opened."""
    first_began_at: float | None = None
    """When the run began that this resumes, in seconds since the epoch."""

    @property
    def area(self) -> str:
        """The run's own folder of the control area."""
        return f"{CONTROL_AREA}/{self.sequence:06d}-{self.export_id}"

    @property
    def assumed_area(self) -> str:
        """The folder of the manifest of a base that nothing but the user's word vouches for."""
        return f"{self.area}/base"

    @property
    def marker(self) -> str:
        """Key of the object whose presence means that the copy is whole."""
        return f"EXPORT_{self.snapshot.id}_SUCCESS"

    @property
    def failure_marker(self) -> str:
        """Key of the object that lists what failed."""
        return f"EXPORT_{self.snapshot.id}_FAILURE"


@dataclass(frozen=True, slots=True)
class Unit:
    """A range of batches of one round: the work of one task."""

    round: Round
    first: int
    """Number of the first batch."""
    stop: int
    """Number after the last batch."""
    objects: int
    bytes: int
    phase: int = 0
    """Ordering group within the round, as the user wants it."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Arrays that readers of the copy do not see while their chunks are replaced."""

    arrays: tuple[str, ...] = ()
    """Their paths."""
    began_at: float | None = None
    """Seconds since the epoch; None as long as all are in view."""
    ended_at: float | None = None
    """When they were back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a written diff has to do, summed up."""

    units: tuple[Unit, ...]
    objects: int
    bytes: int
    totals: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What the copy is made of, counted, such as `arrays` and `groups`."""
    kept: int = 0
    """Objects that lie there already as they are wanted."""
    notes: tuple[str, ...] = ()
    """What the format could not express of the snapshot, for the user."""
    is_damaged: bool = False
    """Records of what earlier exports put could not be read."""
    replaced: int = 0
    """Objects that are not ours and are put over or deleted, as the user wants it;"""
    replaced_keys: tuple[str, ...] = ()
    """the first thousand of them."""
    known: int = 0
    """Objects that need not be put or deleted, since the ledgers of unfinished exports have it."""
    withdrawal: Withdrawal = Withdrawal()

    def of(self, round_: Round) -> tuple[Unit, ...]:
        """Return the units of one round, in order."""
        return tuple(u for u in self.units if u.round == round_)

    def phases(self, round_: Round) -> list[tuple[Unit, ...]]:
        """Return the units of one round by phase; a phase starts when the one before is whole."""
        units = self.of(round_)
        numbers = sorted({unit.phase for unit in units})
        return [tuple(unit for unit in units if unit.phase == n) for n in numbers]


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that could not be moved."""

    key: str
    action: Action
    location: str
    kind: str
    """Kind of the error, from `prefect_freight.errors`."""
    message: str
    transient: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What moving one or more units came to."""

    transferred: int = 0
    """Objects put by this run."""
    bytes: int = 0
    """Bytes put by this run."""
    skipped: int = 0
    """Objects that the ledger said were there already."""
    deleted: int = 0
    failures: tuple[Failure, ...] = ()
    """What failed, the first `MAX_FAILURES_NAMED` of it: of a store that is gone it may be all."""
    unnamed: int = 0
    """How many failed beside those."""
    unnamed_transient: bool = False
    """Some of the unnamed may be retried."""
    gave_up: bool = False
    """Nothing works any more, a store is gone or full: no other unit is worth beginning."""

    @property
    def done(self) -> int:
        """How many objects are as they are wanted."""
        return self.transferred + self.skipped + self.deleted

    @property
    def failed(self) -> int:
        """How many could not be moved."""
        return len(self.failures) + self.unnamed

    @property
    def transient(self) -> bool:
        """Some of what failed may be retried."""
        return self.unnamed_transient or any(failure.transient for failure in self.failures)

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return the outcome of both."""
        room = MAX_FAILURES_NAMED - len(self.failures)
        named, unnamed = other.failures[:room], other.failures[room:]
        return Outcome(
            self.transferred + other.transferred,
            self.bytes + other.bytes,
            self.skipped + other.skipped,
            self.deleted + other.deleted,
            self.failures + named if named else self.failures,
            self.unnamed + other.unnamed + len(unnamed),
            self.unnamed_transient
            or other.unnamed_transient
            or any(failure.transient for failure in unnamed),
            self.gave_up or other.gave_up,
        )


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did, as `--json` prints it and the control area keeps it."""

    export_id: str
    source: str
    ref: str
    snapshot: str
    base_snapshot: str | None
    destination: str
    format: str
    objects_transferred: int
    bytes_transferred: int
    objects_skipped: int
    objects_deleted: int
    objects_failed: int
    seconds: float
    bytes_per_second: float
    rounds: dict[str, int]
    """Objects per round."""
    verified: str
    """The level of verification that passed; `none` where none did."""
    marker: str
    """Key of the marker object, `EXPORT_<snapshot>_SUCCESS` or `EXPORT_<snapshot>_FAILURE`; empty
    where none could be written."""
    resumed: bool
    notes: tuple[str, ...] = ()
    """What a reader of the copy ought to know, such as foreign objects that were left in place."""
    objects_not_begun: int = 0
    """Objects that are neither done nor failed, of an export that stopped before their turn."""
    arrays_withdrawn: tuple[str, ...] = ()
    """Arrays that readers did not see while they changed;"""
    seconds_withdrawn: float = 0.0
    """for how long, up to the end of the export if they are not back."""
    selection: Selection = EVERYTHING
    """What of the snapshot the copy holds."""

    @property
    def whole(self) -> bool:
        """The copy is the snapshot, all of it."""
        return self.marker.endswith("_SUCCESS")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {"format_version": FORMAT_VERSION} | dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an export would do, as `--dry-run` says it."""

    source: str
    ref: str
    snapshot: str
    base_snapshot: str | None
    destination: str
    format: str
    finished: bool
    """A whole copy lies there already, and nothing would be done."""
    rounds: dict[str, dict[str, int]]
    """Per round what is still to be done: `puts`, `bytes` and `deletes`."""
    nodes: dict[str, dict[str, int]]
    """Per array or group with anything to do: `puts`, `bytes` and `deletes`."""
    kept: int
    """Objects that lie there already as they are wanted."""
    put_requests: int
    """PUT requests of all kinds: the parts of large objects, the manifest and the ledger too."""
    notes: tuple[str, ...] = ()
    replaced: int = 0
    """Objects that are not ours and would be put over or deleted;"""
    replaced_keys: tuple[str, ...] = ()
    """the first thousand of them."""
    recorded: int = 0
    """Objects that the unfinished export that would be resumed has done; none of the above."""
    selection: Selection = EVERYTHING
    """What of the snapshot would be exported."""

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain JSON values."""
        return {"format_version": FORMAT_VERSION} | dataclasses.asdict(self)
