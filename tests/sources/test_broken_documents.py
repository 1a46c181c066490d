"""A metadata document of the source that is none: refused by its name, with nothing written."""

from pathlib import Path

import numcodecs
import pytest
from histories import History, create, group, tree
from runners import Run

from prefect_freight.errors import InputError

ZSTD = b"\x28\xb5\x2f\xfd"
"""How a frame of zstd begins: a snapshot of Icechunk is one, behind a header."""


def break_documents(history: History, snapshot: str, old: bytes, new: bytes) -> None:
    """Change the documents that a snapshot holds, each to one of the same length."""
    path = history.path / "snapshots" / snapshot
    stored = path.read_bytes()
    begin = stored.index(ZSTD)
    whole = bytes(numcodecs.Zstd().decode(stored[begin:]))
    assert old in whole
    assert len(old) == len(new)
    path.write_bytes(stored[:begin] + numcodecs.Zstd().encode(whole.replace(old, new)))


@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
@pytest.mark.parametrize("new", [b'"zarr_format?', b'"zarr_forma\xff"', b'"\x00arr_format"'])
def test_it_is_named(tmp_path: Path, export: Run, new: bytes, format_: str) -> None:
    history = History(tmp_path / "repository")
    snapshot = history.commit(create("a"), group("g"))
    break_documents(history, snapshot, b'"zarr_format"', new)
    with pytest.raises(InputError, match=f"'zarr.json' in snapshot {snapshot}.*Repair it"):
        export(history.path, tmp_path / "copy", format=format_)
    assert tree(tmp_path / "copy") == {}
