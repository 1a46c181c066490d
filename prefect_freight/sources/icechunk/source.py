"""Icechunk repositories on a local disk or on S3.

Chunk bytes are read straight from the repository's storage, where a native chunk is the object
`chunks/<id>` (Icechunk specification, "Chunk files"), and never through Icechunk: that is what
makes a copy object to object.
"""

import asyncio
import difflib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.config import StoreConfig
from prefect_freight.errors import (
    FreightError,
    InputError,
    InternalError,
    NotARepositoryError,
    NotFoundError,
    RefNotFoundError,
)
from prefect_freight.model import Snapshot
from prefect_freight.retry import retrying
from prefect_freight.sources import SOURCE_URLS, ChunkRefs, Node
from prefect_freight.sources.icechunk.errors import translate_error
from prefect_freight.sources.icechunk.event_loop import iterate, run
from prefect_freight.sources.icechunk.grid_order import Extent, in_grid_order
from prefect_freight.stores import Store
from prefect_freight.stores.locations import endpoint_of
from prefect_freight.stores.pages import what_lies_there
from prefect_freight.stores.s3.client import s3_credentials
from prefect_freight.stores.urls import open_store, with_linked

if TYPE_CHECKING:
    import icechunk
    from icechunk.store import IcechunkStore

NATIVE, VIRTUAL, INLINE = 1, 2, 3  # values of icechunk.ChunkType
CHUNKS = "chunks"
DOCUMENTS_AT_ONCE = 64
REFS_PER_BATCH = 8_192
"""Inline chunks of a batch are in memory together."""
LIMIT_S = 300.0
"""For what Icechunk is asked at a time, which reads some of the repository's own records."""
STORAGE_ATTEMPTS = 4
"""Attempts that Icechunk makes by itself; with its own ten, a wrong endpoint takes a minute."""


class IcechunkSource:
    """A repository, opened on first use; Icechunk has `limit_s` for each answer."""

    def __init__(
        self, storage_url: str, config: StoreConfig | None = None, limit_s: float = LIMIT_S
    ) -> None:
        self._config, self._limit_s = config or StoreConfig(), limit_s
        # Chunks may lie on a larger disk: a link leads to a folder of nothing but their ids, which
        # are all that is read there.
        self._store: Store = with_linked(open_store(storage_url, self._config), CHUNKS)
        self._repository: icechunk.Repository | None = None
        self._sessions: dict[str, IcechunkStore] = {}
        self._extents: dict[str, dict[str, list[Extent]]] = {}

    def __repr__(self) -> str:
        return f"IcechunkSource({self.storage_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        # A worker opens the repository with its own connections, and with credentials of its own
        # where the environment has them.
        return self.__dict__ | {"_repository": None, "_sessions": {}, "_extents": {}}

    @property
    def url(self) -> str:
        """Canonical URL."""
        return f"icechunk+{self.storage_url}"

    @property
    def storage_url(self) -> str:
        """URL of the place where the repository's objects lie."""
        return self._store.url

    @property
    def endpoint(self) -> str:
        """Address of the storage's service."""
        return endpoint_of(self._store)

    def resolve(self, ref: str) -> Snapshot:
        """Return the snapshot that a branch, else a tag, else a snapshot id, names now."""
        repository = self._open()
        branches = self._ask(repository.list_branches_async)
        if ref in branches:
            return Snapshot(self.url, ref, self._ask(repository.lookup_branch_async, ref))
        tags = self._ask(repository.list_tags_async)
        if ref in tags:
            return Snapshot(self.url, ref, self._ask(repository.lookup_tag_async, ref))
        return Snapshot(self.url, ref, self._find_snapshot(ref, sorted(branches | tags)))

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        """Return all arrays and groups of the snapshot, in the order of their paths."""
        try:
            records = self._inspect(snapshot)
        except NotFoundError as error:
            raise NotFoundError(
                f"expected snapshot {snapshot.id} ({snapshot.ref}) in {self.url}, found it gone: "
                "expired and collected, or never there. Export another ref"
            ) from error
        nodes = sorted(
            (node["path"].strip("/"), node["node_type"], node.get("manifest_refs", []))
            for node in records
        )
        paths = [path for path, *_ in nodes]
        # A coroutine can be run once, and each attempt needs its own.
        documents = self._ask(self._read_documents, snapshot, paths, self._session(snapshot))
        return [
            # An array's references are those of its manifest files, which never change.
            Node(path, kind, document, json.dumps(manifests))
            for (path, kind, manifests), document in zip(nodes, documents, strict=True)
        ]

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        """Yield the references of all chunks of an array, in the order of their coordinates.

        An array whose manifest is split along other axes than the first comes one range of the
        first axis at a time, which is held in memory.
        """
        return in_grid_order(self._read_chunks(snapshot, path), self._splits(snapshot, path))

    def _splits(self, snapshot: Snapshot, path: str) -> Sequence[Extent]:
        """Return the extents of an array's manifests, which its references come in the order of."""
        if snapshot.id not in self._extents:
            self._inspect(snapshot)
        return self._extents[snapshot.id].get(path, ())

    def _inspect(self, snapshot: Snapshot) -> Any:
        """Return what Icechunk tells of the nodes of a snapshot."""
        nodes = self._ask(self._open().inspect_snapshot_async, snapshot.id)["nodes"]
        self._extents[snapshot.id] = {
            node["path"].strip("/"): [m["extents"] for m in node.get("manifest_refs", [])]
            for node in nodes
        }
        return nodes

    def _read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        store, done = self._session(snapshot), 0
        batches: Iterator[Any] | None = None

        def read() -> Any:
            nonlocal batches
            try:
                # The first time, or after an error. A snapshot never changes, so the iterator gives
                # the same batches again, and those that were yielded are left out.
                if batches is None:
                    found = store.array_chunk_iterator(f"/{path}", REFS_PER_BATCH)
                    refs = iterate(found, self._limit_s)
                    batches = itertools.islice(refs, done, None)
                return next(batches, None)
            except Exception:
                batches = None  # a generator that raised is at its end, and would seem to be done
                raise

        while (columns := self._ask(read)) is not None:
            done += 1
            yield _to_refs(*columns)

    def open_zarr(self, snapshot: Snapshot) -> Any:
        """Return the snapshot's root, as zarr-python reads it."""
        import zarr

        return zarr.open(self._session(snapshot), mode="r")

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:  # noqa: ARG002
        """Return exactly `size` bytes of an object of the repository's storage."""
        return self._store.read(location, offset, size)

    def _open(self) -> "icechunk.Repository":
        if self._repository is None:
            try:
                self._repository = self._ask(_open_repository, self._store.url, self._config)
            except NotARepositoryError as error:
                text = f"{error}{self._told()}. A source is {SOURCE_URLS}"
                raise NotARepositoryError(text) from error
        return self._repository

    def _told(self) -> str:
        """Return what lies in the repository's place, as the end of a sentence."""
        try:
            return f"; what lies there: {what_lies_there(self._store)}"
        except FreightError:  # the error that this is said of counts
            return ""

    def _session(self, snapshot: Snapshot) -> "IcechunkStore":
        if snapshot.id not in self._sessions:
            session = self._ask(self._open().readonly_session_async, snapshot_id=snapshot.id)
            self._sessions[snapshot.id] = session.store
        return self._sessions[snapshot.id]

    async def _read_documents(
        self, snapshot: Snapshot, paths: list[str], store: "IcechunkStore"
    ) -> list[Mapping[str, Any]]:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.common import ZARR_JSON

        prototype = default_buffer_prototype()
        limit = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

        async def read(key: str) -> bytes:
            async with limit:
                document = await store.get(key, prototype)
            if document is None:
                raise InternalError(f"snapshot {snapshot.id} lists a node and has no {key!r}")
            return document.to_bytes()

        keys = [f"{path}/{ZARR_JSON}" if path else ZARR_JSON for path in paths]
        documents = await asyncio.gather(*map(read, keys))
        return [
            _parse_document(data, key, snapshot) for key, data in zip(keys, documents, strict=True)
        ]

    def _find_snapshot(self, ref: str, names: list[str]) -> str:
        import icechunk

        try:
            snapshot_id: str = self._ask(self._open().lookup_snapshot_async, ref).id
        except (NotFoundError, icechunk.InvalidInputError) as error:
            near = difflib.get_close_matches(ref, names, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise RefNotFoundError(
                f"no branch, tag or snapshot {ref!r} in {self.url}. {hint}"
                f"It has: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
            ) from error
        return snapshot_id

    def _ask(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Call Icechunk; its errors become ours, and those that may be retried are.

        What it offers as a coroutine is called as one: some of its synchronous calls hold the
        interpreter while they wait for the store, and the lock's renewal in another thread, or an
        interrupt, would wait with them.
        """

        def attempt() -> Any:
            try:
                answer = call(*args, **kwargs)
                return run(answer, self._limit_s) if asyncio.iscoroutine(answer) else answer
            except FreightError:
                raise
            except Exception as error:  # noqa: BLE001 - translated
                translated = translate_error(error, self.url)
            # Raised here, so that Icechunk's error, which may quote a secret, isn't its context.
            raise translated

        return retrying(attempt)


def _parse_document(data: bytes, key: str, snapshot: Snapshot) -> Mapping[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, Mapping):
        raise InputError(
            f"expected a metadata document of Zarr 3 under {key!r} in snapshot {snapshot.id} of "
            f"{snapshot.source}, found {len(data)} bytes that are none. Repair it in the source, "
            "or export another ref"
        )
    return parsed


def _to_refs(
    coords: Any, kinds: Any, names: list[str], offsets: Any, lengths: Any, inlined: Any
) -> ChunkRefs:
    locations = pa.array(names, pa.string())
    native = pa.array(kinds == NATIVE)
    objects = pc.binary_join_element_wise(CHUNKS, locations, "/")
    return ChunkRefs(
        coords,
        kinds == VIRTUAL,
        pc.if_else(native, objects, locations),
        offsets.astype(np.int64),
        lengths.astype(np.int64),
        inlined,
    )


async def _open_repository(storage_url: str, config: StoreConfig) -> "icechunk.Repository":
    import icechunk

    # Without this Icechunk warns of commits, on standard error; nothing is committed here.
    icechunk.set_logs_filter(os.environ.get("ICECHUNK_LOG", "error"))
    parts = urlsplit(storage_url)
    match parts.scheme:
        case "file":
            path = unquote(parts.path)
            # Icechunk would make the folder, and a source must not change what it reads.
            if not os.path.isdir(path):
                raise NotARepositoryError(
                    f"expected an Icechunk repository, found no folder {path}"
                )
            storage = icechunk.local_filesystem_storage(path)
        case "s3":
            storage = _s3_storage(parts.netloc, parts.path.strip("/"), config)
        case other:
            raise NotARepositoryError(
                f"expected an Icechunk repository on a local disk or on s3://, found {other}://"
            )
    # Icechunk retries below `_ask`, where attempts multiply: so only a few of its own, enough that
    # one lost request does not cost reading a list of references anew.
    retries = icechunk.StorageRetriesSettings(max_tries=STORAGE_ATTEMPTS)
    settings = icechunk.StorageSettings(retries=retries)
    open_ = icechunk.Repository.open_async
    return await open_(storage, icechunk.RepositoryConfig(storage=settings))


def _s3_storage(bucket: str, prefix: str, config: StoreConfig) -> "icechunk.Storage":
    import icechunk

    keys = s3_credentials(config)
    return icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=config.region or ("us-east-1" if config.endpoint_url else None),
        endpoint_url=config.endpoint_url,
        allow_http=bool(config.allow_http),
        access_key_id=keys.access_key_id if keys else None,
        secret_access_key=keys.secret_access_key if keys else None,
        session_token=keys.session_token if keys else None,
        anonymous=config.anonymous or None,
        # Not beside keys: a session token of the environment belongs to other ones.
        from_env=True if keys is None and not config.anonymous else None,
        force_path_style=not config.virtual_hosted_style,
    )
