"""A store that refuses to show one of our records is told as such, and the record is not damaged.

`InputError` is a `ValueError`, as a broken JSON document is: who takes the one for the other tells
the user to remove what only could not be read.
"""

from pathlib import Path

import pytest
from histories import History, create, tree
from runners import Run, export_at_once
from scripted import ScriptedStore

from prefect_freight.errors import FreightError, InputError
from prefect_freight.stores.urls import open_store

REFUSED = "the store answered 400, and would do so again"


@pytest.mark.usually("zarr2")
@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
@pytest.mark.parametrize(
    "record", ["last.json", "runs/", "manifest.json", "diff.json", ".parquet", "consolidated"]
)
def test_it_is_said_as_it_is(tmp_path: Path, export: Run, record: str, format_: str) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"), create("b"))
    copy = tmp_path / "copy"
    export_at_once(history.path, copy, format=format_)
    history.commit(create("a", dtype="f8"))
    keys = {"consolidated": (".zmetadata", "zarr.json")}.get(record, (record,))

    def refuse(operation: str, key: str) -> None:
        if operation == "read" and any(part in key for part in keys) and key[0] != "a":
            raise InputError(REFUSED)

    before = tree(copy)
    with pytest.raises(FreightError, match=REFUSED) as caught:
        export(
            history.path,
            ScriptedStore(open_store(str(copy)), refuse),
            from_ref="last",
            format=format_,
        )
    assert "emove" not in str(caught.value)
    kept = {key for key in before if not key.startswith((".freight", "EXPORT_"))}
    assert kept <= tree(copy).keys()
    assert export_at_once(history.path, copy, from_ref="last", format=format_).whole


@pytest.mark.by_flow_too
def test_an_empty_text_is_no_ref_to_export_the_difference_to(tmp_path: Path, export: Run) -> None:
    with pytest.raises(InputError, match=r"from_ref .* found an empty text\. Leave it out \(null"):
        export(tmp_path / "repository", tmp_path / "copy", from_ref="")
    assert not (tmp_path / "copy").exists()
