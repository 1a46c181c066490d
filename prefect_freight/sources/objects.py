"""Plain objects under a prefix, of any store: what lies there now is the only snapshot.

Its id is a digest of the listing, so that the same objects are the same snapshot. An object's
identity is its entity tag and size (on a local disk the tag is made of size, time of last
modification and inode), and an object that is another one when its turn comes is not copied.
"""

import hashlib
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.config import StoreConfig
from prefect_freight.errors import InputError, IntegrityError, NotARepositoryError, RefNotFoundError
from prefect_freight.model import CONTROL_AREA, MARKER_PATTERN, Snapshot
from prefect_freight.plan.keys import UNSAFE_PATTERN, check_key
from prefect_freight.plan.sections import ContentDigest
from prefect_freight.sources import OBJECT_SCHEMA
from prefect_freight.stores.locations import endpoint_of
from prefect_freight.stores.sorting import in_key_order
from prefect_freight.stores.urls import open_store

KIND = "objects+"
NOW = ("main", "now")
"""Refs of what lies there now; `main` is what an export takes that names none."""
KEYS_IN_NOTE = 5
MD5 = re.compile(r"[0-9a-f]{32}")


class PlainObjects:
    """All objects of a store but our own records: control area and markers of a copy of ours."""

    def __init__(self, storage_url: str, config: StoreConfig | None = None) -> None:
        self._store = open_store(storage_url, config)
        self._left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PlainObjects({self.storage_url!r})"

    @property
    def url(self) -> str:
        """Canonical URL."""
        return f"{KIND}{self.storage_url}"

    @property
    def storage_url(self) -> str:
        """URL of the place where the objects lie."""
        return self._store.url

    @property
    def endpoint(self) -> str:
        """Address of the storage's service."""
        return endpoint_of(self._store)

    def resolve(self, ref: str) -> Snapshot:
        """Return the snapshot of what lies there now, which `ref` may name by its id too.

        Raises `RefNotFoundError` for any other ref, `NotARepositoryError` if nothing lies there.
        """
        digest = ContentDigest()
        for page in self._list():
            digest.add(page)
        snapshot = digest.text()
        if not digest.rows:
            raise NotARepositoryError(f"expected objects at {self.storage_url}, found none")
        if ref not in (*NOW, snapshot):
            raise RefNotFoundError(
                f"no ref {ref!r} in {self.url}: plain objects have no history. What lies there now "
                f"is main, snapshot {snapshot}; --from-ref last is what was exported last"
            )
        return Snapshot(self.url, ref, snapshot)

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield all objects in the order of their keys, as pages of `OBJECT_SCHEMA`.

        Raises `IntegrityError` at the end if that is not the snapshot any more.
        """
        digest = ContentDigest()
        for page in self._list():
            digest.add(page)
            yield page
        now = digest.text()
        # Only the end tells: an object that was put behind where the listing was is in it, one that
        # was put before is not, and neither mixture was ever there.
        if now != snapshot.id:
            raise IntegrityError(
                f"expected the objects at {self.storage_url} as they were when the export began "
                f"(snapshot {snapshot.id}), found others (snapshot {now}). Run the same command "
                "again, when nothing is written there"
            )

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return an object, if it is still the one that was listed.

        Raises `IntegrityError` if it has changed since, and as `Store.read` does.
        """
        if not content:
            return self._store.read(location, offset, size)
        # The tag that came with these very bytes: one asked for before or after could be of others.
        data, tag = self._store.read_tagged(location)
        if _identity(tag or "", len(data)) != content:
            raise IntegrityError(
                f"expected {location!r} in {self.storage_url} as it was listed, found that it has "
                "changed since. Run the same command again"
            )
        return data[offset : offset + size]

    def notes(self) -> tuple[str, ...]:
        """Return what the last listing left out."""
        if not self._left_out:
            return ()
        shown = ", ".join(map(repr, self._left_out[:KEYS_IN_NOTE]))
        dots = ", …" if len(self._left_out) > KEYS_IN_NOTE else ""
        return (f"left out, since they are records of exports by their names: {shown}{dots}",)

    def _list(self) -> Iterator[pa.RecordBatch]:
        area = f"{CONTROL_AREA}/"
        # Named as a folder, without its thousands of records.
        left_out = [area] if any(page.num_rows for page in self._store.list(area)) else []
        for page in in_key_order(self._store.list(without=area)):
            ours = pc.match_substring_regex(page["key"], MARKER_PATTERN)
            left_out += page["key"].filter(ours).to_pylist()
            # The object that some clients put where the folder of the prefix begins, `prefix/`.
            root = pc.equal(page["key"], "")
            page = page.filter(pc.invert(pc.or_(ours, root)))
            unsafe = page["key"].filter(pc.match_substring_regex(page["key"], UNSAFE_PATTERN))
            for key in unsafe.to_pylist():
                check_key(key)
            yield _to_objects(page, self.storage_url)
        self._left_out = tuple(left_out)


def _to_objects(page: pa.RecordBatch, url: str) -> pa.RecordBatch:
    if page["etag"].null_count:
        raise InputError(
            f"expected entity tags or times of change in the listing of {url}, found none: nobody "
            "could tell whether an object has changed"
        )
    rows = zip(page["etag"].to_pylist(), page["size"].to_pylist(), strict=True)
    content = pa.array([_identity(tag, size) for tag, size in rows], pa.string())
    nothing = pa.nulls(page.num_rows, pa.string())
    columns = [page["key"], page["size"], content, page["key"], nothing]
    return pa.record_batch(columns, OBJECT_SCHEMA)


def _identity(tag: str, size: int) -> str:
    """Return what tells an object from any other that lies under its key at another time.

    >>> _identity('"0cc175b9c0f1b6a831c399e269772661"', 1)
    '0cc175b9c0f1b6a831c399e269772661:1'
    """
    plain = tag.strip('"')
    if not MD5.fullmatch(plain):
        plain = hashlib.md5(tag.encode(), usedforsecurity=False).hexdigest()
    return f"{plain}:{size}"
