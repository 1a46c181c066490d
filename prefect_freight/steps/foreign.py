"""Finding what is not ours where a copy is to be, before anything is touched.

Ours is what the last whole copy holds, and what unfinished exports may have begun. Of all else that
lies at the destination it is of no concern what the copy and its readers have no use for. The rest:

| an object that is not ours        | and the copy                      | then it would be      |
|-----------------------------------|-----------------------------------|-----------------------|
| has the key                       | of an object that is put          | replaced              |
| is a file                         | needs a folder there (on a disk)  | deleted, first        |
| lies in a folder                  | has an object there (on a disk)   | deleted, first        |
| is what a reader of a node reads  | has nothing there                 | deleted, at the end   |

The cost follows what changes. Where little is new, those keys alone are asked for, and what else a
reader would take for the copy's is found when the copy is verified; where much is, or the place is
new to us, it is listed: a request for a thousand objects.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.data import list_data
from prefect_freight.control.manifest import Manifest, Slice, count_copy
from prefect_freight.control.state import State
from prefect_freight.errors import InputError, NotFoundError, OccupiedError
from prefect_freight.formats.choice import open_reader
from prefect_freight.model import CONTROL_AREA, ENTRY_SCHEMA, Job, Round
from prefect_freight.plan.entries import combined
from prefect_freight.plan.keys import NO_KEYS, first_few, folders_of
from prefect_freight.plan.numbers import format_objects
from prefect_freight.plan.sections import Section
from prefect_freight.retry import retrying
from prefect_freight.steps.partitions import partitioned
from prefect_freight.stores import Store
from prefect_freight.stores.locations import has_folders
from prefect_freight.threads import Threads

FOUND_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("why", pa.string()),  # it is in the way
        pa.field("round", pa.string()),  # in which it must be deleted; null: it is put over
    ]
)
ROLE_SCHEMA = pa.schema([pa.field("key", pa.string()), pa.field("role", pa.int8())])
LISTED_SCHEMA = pa.schema([pa.field("key", pa.string()), pa.field("is_folder", pa.bool_())])
PLANNED, OURS, FOLDER = range(3)
"""Roles of a key: the copy gets it, it is ours already, keys that the copy gets lie below it."""

FEW, LISTED_AT_ONCE = 64, 1_000
"""Keys that are asked for whatever a listing would cost; objects that a request lists."""
ASKING = 16
KEYS_IN_MESSAGE, MAX_KEYS = 5, 1_000
NESTED_PATTERN = rf"/{CONTROL_AREA.replace('.', '[.]')}/(runs/|last[.]json$)"

OVER = "the copy has an object of this name"
IN_A_FOLDERS_PLACE = "the copy has a folder of this name"
BELOW = "it lies below an object of the copy"
UNACCOUNTED = "no record that can be read tells whose it is"


@dataclass(frozen=True, slots=True)
class Foreign:
    """How many objects that are not ours are in the way, and the first of them."""

    count: int = 0
    keys: tuple[str, ...] = ()
    whys: tuple[str, ...] = ()

    def plus(self, found: pa.Table) -> "Foreign":
        """Return these and those of a table (`FOUND_SCHEMA`)."""
        first = found.slice(0, MAX_KEYS - len(self.keys))
        return Foreign(
            self.count + found.num_rows,
            self.keys + tuple(first["key"].to_pylist()),
            self.whys + tuple(first["why"].to_pylist()),
        )

    def note(self) -> str:
        """Say that they are replaced."""
        shown = first_few(self.keys, self.count, KEYS_IN_MESSAGE)
        are = "is not ours and is" if self.count == 1 else "are not ours and are"
        return f"{format_objects(self.count)} there {are} replaced or deleted: {shown}"

    def unaccounted_note(self) -> str:
        """Say that they are put over, though they may be somebody's."""
        shown = first_few(self.keys, self.count, KEYS_IN_MESSAGE)
        return (
            f"put over, though no record that can be read tells whose they were: {shown} "
            f"({format_objects(self.count)})"
        )

    def refusal(self, url: str) -> OccupiedError:
        """Return the error that names them."""
        named = [f"{key!r} ({why})" for key, why in zip(self.keys, self.whys, strict=True)][
            :KEYS_IN_MESSAGE
        ]
        more = f" and {self.count - len(named):,} more" if self.count > len(named) else ""
        return OccupiedError(
            f"expected nothing in the way of the copy at {url}, found objects that are not ours: "
            f"{', '.join(named)}{more}. Nothing was touched. Move them away, choose another "
            "destination, or have them replaced with --on-existing replace (--dry-run lists them)"
        )


def find_foreign(
    destination: Store, job: Job, state: State, manifest: Manifest
) -> Iterator[pa.Table]:
    """Yield what is not ours and in the way of what the manifest has put (`FOUND_SCHEMA`).

    Raises `OccupiedError` if another destination of ours lies inside this one.
    """
    search = _Search(destination, job, state, manifest)
    new = sum(part.rows - part.kept for part in manifest.parts if part.round is not Round.DELETES)
    new_place = job.base is None or job.base_assumed
    # A listing asks for a thousand objects at a time, so many new keys are cheaper listed.
    few = new <= max(FEW, count_copy(manifest) // LISTED_AT_ONCE)
    options = job.options
    if few and not new_place and options.on_existing != "replace" and not options.prune:
        return search.by_asking()
    return search.by_listing()


class _Search:
    """One search."""

    def __init__(self, destination: Store, job: Job, state: State, manifest: Manifest) -> None:
        self._destination, self._job = destination, job
        self._state, self._manifest = state, manifest
        self._is_disk = has_folders(destination)

    def by_listing(self) -> Iterator[pa.Table]:
        """Compare all that lies there with what is ours and what is planned."""
        reader = open_reader(self._manifest.by_name, self._job.options.format)
        schemas = (ROLE_SCHEMA, LISTED_SCHEMA)
        rows = 2 * count_copy(self._manifest)
        full: list[pa.Array] = []
        with partitioned(schemas, rows, self._roles(), self._listed()) as pairs:
            # What cannot be read of our records may be ours: all that the copy gets is taken for
            # it, as an export must be able to mend a damaged destination. The report tells so.
            options = self._job.options
            replacing = options.on_existing == "replace" or options.prune
            lenient = self._state.is_damaged and not replacing
            for roles, listed in pairs:
                keys = [roles.filter(pc.equal(roles["role"], n))["key"] for n in range(3)]
                planned, ours, folders = map(combined, keys)
                is_folder = combined(listed["is_folder"])
                there = combined(listed["key"])
                full.append(_among(there.filter(is_folder), planned))
                files = there.filter(pc.invert(is_folder))
                foreign = _except(files, ours)
                if lenient:
                    yield _found(_among(foreign, planned), UNACCOUNTED)
                else:
                    self._refuse_nested(_except(foreign, planned))
                    yield _found(_among(foreign, planned), OVER)
                    rest = _except(foreign, planned)
                    in_the_way = _among(rest, folders)
                    yield _found(in_the_way, IN_A_FOLDERS_PLACE, Round.CLEAR)
                    rest = _except(rest, in_the_way)
                    what = reader.taken_for(rest)
                    taken = _found(rest, _taken(what), Round.DELETES)
                    # To be pruned is all that is left, whether anybody would read it or not.
                    yield taken if options.prune else taken.filter(pc.is_valid(what))
            if not lenient:
                yield from self._below(pa.concat_arrays([NO_KEYS, *full]))

    def by_asking(self) -> Iterator[pa.Table]:
        """Ask for each key that is new or changed, and look whose it is where one is there."""
        exact: list[pa.Array] = []
        with Threads(ASKING) as pool:
            all_keys = [NO_KEYS]
            # The columns that the diff will read too: a part is read once for both.
            for rows, keys in self._planned((*ENTRY_SCHEMA.names, "kept")):
                there = self._present(pool, keys)
                exact.append(_except(there, self._recorded(rows, there)))
                all_keys.append(keys)
            planned = pa.concat_arrays(all_keys)
            yield _found(self._not_touched(pa.concat_arrays([NO_KEYS, *exact])), OVER)
            if self._is_disk:
                files = self._present(pool, folders_of(planned))
                yield _found(self._not_ours(files), IN_A_FOLDERS_PLACE, Round.CLEAR)
                yield from self._below(planned)

    def _planned(
        self, columns: tuple[str, ...] = ("key", "kept")
    ) -> Iterator[tuple[Slice, pa.Array]]:
        """Yield the keys that the copy gets and has not had with the same content."""
        for part in self._manifest.parts:
            if part.round is Round.DELETES or part.kept == part.rows:
                continue
            table = self._state.records.read_part(self._manifest.area, part, columns)
            for rows in part.slices:
                entries = table.slice(rows.first, rows.stop - rows.first)
                yield rows, combined(entries.filter(pc.invert(entries["kept"]))["key"])

    def _roles(self) -> Iterator[pa.Table]:
        for _, keys in self._planned():
            yield _with_role(keys, PLANNED)
            if self._is_disk:
                yield _with_role(folders_of(keys), FOLDER)
        for table in self._state.ours():
            yield _with_role(combined(table["key"]), OURS)

    def _listed(self) -> Iterator[pa.Table]:
        for table in list_data(self._destination):
            keys = combined(table["key"])
            yield _listed(keys, is_folder=False)
            if self._is_disk:
                yield _listed(folders_of(keys), is_folder=True)

    def _refuse_nested(self, foreign: pa.Array) -> None:
        nested = foreign.filter(pc.match_substring_regex(foreign, NESTED_PATTERN))
        if len(nested):
            inner = nested[0].as_py().partition(f"/{CONTROL_AREA}/")[0]
            raise nested_refusal(self._destination.url, f"{self._destination.url}/{inner}")

    def _below(self, keys: pa.Array) -> Iterator[pa.Table]:
        """Yield what lies below keys that are to be files."""
        for key in keys.unique().to_pylist():
            for page in self._destination.list(f"{key}/"):
                yield _found(self._not_ours(page["key"]), BELOW, Round.CLEAR)

    def _present(self, pool: Threads, keys: pa.Array) -> pa.Array:
        # One request a key, of no bytes; side by side, since each waits for its answer.
        there = pool.map(self._is_there, keys.to_pylist())
        return keys.filter(pa.array(there, pa.bool_()))

    def _is_there(self, key: str) -> bool:
        try:
            retrying(lambda: self._destination.read(key, 0, 0))
        except (NotFoundError, InputError):  # what no store can hold fails by name when it moves
            return False
        return True

    def _recorded(self, rows: Slice, there: pa.Array) -> pa.Array:
        """Return the keys that the base has where a slice of the manifest has some."""
        if not len(there):
            return NO_KEYS
        base = self._state.sections.get(rows.name, ())
        wanted = self._manifest.by_name.get(rows.name, ())
        tables = [self._state.entries(section) for section in _behind(base, wanted, rows.start)]
        return pa.concat_arrays([NO_KEYS, *(combined(table["key"]) for table in tables)])

    def _not_touched(self, keys: pa.Array) -> pa.Array:
        return _without(keys, self._state.touched())

    def _not_ours(self, keys: pa.Array) -> pa.Array:
        return _without(keys, self._state.ours())


def nested_refusal(url: str, other: str) -> OccupiedError:
    """Return the error of a destination of which one lies inside another."""
    return OccupiedError(
        f"expected {url} to be apart from other destinations, found one of ours at {other}: each "
        "would overwrite and delete what the other put. Nothing was touched. Choose another place"
    )


def _behind(base: Sequence[Section], wanted: Sequence[Section], start: str) -> Sequence[Section]:
    """Return the sections of the base that hold what one with this start has of them.

    New sections begin where recorded ones do, or are parts of these.
    """
    if {s.space for s in base} != {s.space for s in wanted}:
        return base
    recorded = {section.start: section for section in base}
    current = base[0]
    for section in wanted:
        current = recorded.get(section.start, current)
        if section.start == start:
            return [current]
    return base


def _without(keys: pa.Array, tables: Iterable[pa.Table]) -> pa.Array:
    for table in tables if len(keys) else ():
        keys = _except(keys, combined(table["key"]))
    return keys


def _among(keys: pa.Array, others: pa.Array) -> pa.Array:
    return keys.filter(pc.is_in(keys, others))


def _except(keys: pa.Array, others: pa.Array) -> pa.Array:
    return keys.filter(pc.invert(pc.is_in(keys, others)))


def _taken(what: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise("a reader would take it for", what, " ")


def _found(keys: pa.Array, why: str | pa.Array, round_: Round | None = None) -> pa.Table:
    whys = pa.repeat(why, len(keys)) if isinstance(why, str) else why
    rounds = pa.repeat(pa.scalar(round_, pa.string()), len(keys))
    return pa.table([keys, whys, rounds], FOUND_SCHEMA)


def _with_role(keys: pa.Array, role: int) -> pa.Table:
    return pa.table([keys, pa.repeat(pa.scalar(role, pa.int8()), len(keys))], ROLE_SCHEMA)


def _listed(keys: pa.Array, *, is_folder: bool) -> pa.Table:
    return pa.table([keys, pa.repeat(is_folder, len(keys))], LISTED_SCHEMA)
