"""Source and copy are assets of Prefect's, and each materialization has the report."""

from pathlib import Path

import pytest
from histories import History, create
from prefect.assets import Asset
from scripted import ScriptedObjectStore, ScriptedStore
from told import events, until

from prefect_freight.errors import IncompleteError
from prefect_freight.flows import export_repo
from prefect_freight.stores.urls import open_store
from prefect_freight.tasks.lineage import asset_key


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("icechunk+s3://bucket/weather", "s3://bucket/weather"),
        ("objects+file:///data/in", "file:///data/in"),
        ("file:///data/copy", "file:///data/copy"),
        ("/data/copy", "file:///data/copy"),
        ("s3://bucket/a b#c", "s3://bucket/a-b-c-2c51be"),
    ],
)
def test_an_asset_is_called_as_its_place(url: str, key: str) -> None:
    assert asset_key(url) == key


@pytest.mark.parametrize(
    "name", ["a b", "100%", "{x}|y", "日本", "x" * 900, "tab\there", "q?v=1&w"]
)
def test_prefect_takes_the_key_of_any_place(name: str) -> None:
    keys = {asset_key(f"s3://bucket/{name}{end}") for end in ("", "2")}
    assert {Asset(key=key).key for key in keys} == keys
    assert len(keys) == 2


@pytest.mark.usefixtures("prefect_server")
def test_a_copy_is_told_as_an_asset_that_comes_from_the_source(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    snapshot = history.commit(create("a"))
    copy = tmp_path / "copy"
    report = export_repo(str(history.path), str(copy))
    source, destination = f"file://{history.path}", f"file://{copy}"

    (told,) = until(lambda: events("prefect.asset.materialization.succeeded", destination))
    assert told.payload["snapshot"] == snapshot
    assert told.payload["objects_transferred"] == report.objects_transferred
    assert source in {related.id for related in told.related}
    (used,) = until(lambda: events("prefect.asset.referenced", source))
    assert used.resource["prefect.asset.description"] == f"Snapshot {snapshot} of main"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_copy_that_is_not_whole_at_its_end_is_a_materialization_that_failed(
    tmp_path: Path,
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"))
    store = ScriptedStore(open_store(str(tmp_path / "copy")))

    def script(operation: str, key: str) -> None:
        if (operation, key) == ("write", ".zmetadata"):
            store.inner.delete(["a/0"])  # by somebody else, who knows of no lock

    store.script = script
    with pytest.raises(IncompleteError, match="a/0"):
        export_repo(str(history.path), ScriptedObjectStore.of(store), settle_s=0)
    assert until(lambda: events("prefect.asset.materialization.failed", store.url))
