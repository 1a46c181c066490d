"""A thousand and more small objects of each layout, to be moved by a command that is killed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures_faults import NATIVE_LOCAL
from histories import data
from servers import S3Server

from prefect_freight import export
from prefect_freight.config import StoreConfig
from prefect_freight.stores.urls import open_store

COUNT = NATIVE_LOCAL
"""Objects of the round in which data move, each an object of the source."""
LATER = r"(^|/)_SUCCESS$"


@dataclass(frozen=True)
class Bulk:
    """A source of small objects, what a command exports it by, and what its copy looks like."""

    layout: str
    source: str
    options: tuple[str, ...]
    round: str
    folder: str
    """Of the copy: it holds what moves first, one name an object."""
    documents: str
    """Expression: keys of what is put after all of that."""
    last: str
    """Expression: the key of what is put last."""
    expected: dict[str, bytes]
    """What an uninterrupted export makes."""

    @property
    def moved(self) -> str:
        """Expression: keys below `copy/` of what moves first."""
        return rf"^copy/{self.folder}/\d"


def write_files(folder: Path) -> None:
    """Make as many small files as `many_local` has chunks, and one that vouches for them."""
    (folder / "o").mkdir(parents=True)
    for number in range(COUNT):
        (folder / "o" / f"{number:04d}").write_bytes(b"%d" % number)
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / "z").write_bytes(b"comes last")


type MakeBulk = Callable[[str], Bulk]


@pytest.fixture(scope="session")
def bulks(many_local: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeBulk:
    """Return a function that returns, of each layout, a source on the local disk."""
    made: dict[str, Bulk] = {}

    def arrays(layout: str, *words: str) -> Bulk:
        copy = tmp_path_factory.mktemp("whole") / "copy"
        export(many_local, copy, format=layout)
        options = ("--format", layout)
        return Bulk(layout, str(many_local), options, "chunks", *words, expected=data(copy))

    def make(layout: str) -> Bulk:
        if layout == "zarr2":
            return arrays("zarr2", "grid", r"\.zarray$", r"\.zmetadata$")
        if layout == "zarr3":
            return arrays("zarr3", "grid/c", r"/zarr\.json$", r"^copy/zarr\.json$")
        files = tmp_path_factory.mktemp("files") / "source"
        write_files(files)
        options = ("--format", "objects", "--round", LATER, "--round", "^z$")
        words = ("objects", "o", "^copy/_SUCCESS$", "^copy/z$")
        return Bulk("objects", f"objects+file://{files}", options, *words, expected=data(files))

    def get(layout: str) -> Bulk:
        if layout not in made:
            made[layout] = make(layout)
        return made[layout]

    return get


@pytest.fixture(params=["zarr2", "zarr3", "objects"])
def bulk(request: pytest.FixtureRequest, bulks: MakeBulk) -> Bulk:
    """Return such a source of each layout."""
    return bulks(request.param)


def put_files(files: dict[str, bytes], url: str, config: StoreConfig) -> None:
    """Put files below a prefix."""
    store = open_store(url, config)
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda key: store.write(key, files[key]), files))


@pytest.fixture
def bulk_on_s3(bulk: Bulk, s3: S3Server) -> str:
    """Return the URL of the same source on S3, object by object the same."""
    root = Path(bulk.source.removeprefix("objects+file://"))
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    url = f"s3://{s3.new_bucket()}/source"
    put_files(files, url, s3.config())
    return f"objects+{url}" if bulk.layout == "objects" else url
