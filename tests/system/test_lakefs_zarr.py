"""Zarr stores in lakeFS repositories, as Zarr stores."""

import secrets
from pathlib import Path

import numpy as np
import pytest
import zarr
from histories import create, data, tree, write
from lakes import running_lake
from runners import Run, export_at_once

from prefect_freight.errors import InputError
from prefect_freight.verifying import verify


@pytest.mark.by_flow_too("2-as-zarr3")
@pytest.mark.usually("2-as-zarr3")
@pytest.mark.usually("plain-3-as-zarr2")
@pytest.mark.parametrize("format_", ["zarr2", "zarr3"], ids="as-{}".format)
@pytest.mark.parametrize("version", [2, 3])
def test_a_store_in_a_repository_and_the_difference_of_two_commits(
    export: Run, tmp_path: Path, version: int, format_: str
) -> None:
    repository = running_lake().create_repository(f"zarr-{secrets.token_hex(6)}")
    store, copy = tmp_path / "store", tmp_path / "copy"
    url = f"lakefs://{repository.name}/deep/store.zarr"
    commits = []
    for change in (create("g/a", 12), write("g/a", slice(3, 6), 7)):
        root = zarr.open_group(store, mode="a", zarr_format=version)  # type: ignore[arg-type]
        change(root)
        for key, blob in tree(store).items():
            repository.put(f"deep/store.zarr/{key}", blob)
        repository.put("beside", str(len(commits)).encode())
        commits.append(repository.commit())
    first = export(url, copy, ref=commits[0], format=format_)
    assert (first.format, first.snapshot) == (format_, commits[0])
    report = export(url, copy, ref="main", from_ref=commits[0], format=format_)
    assert (report.whole, report.objects_transferred) == (True, 1)
    np.testing.assert_array_equal(
        zarr.open_group(copy, mode="r")["g/a"][:], zarr.open_group(store, mode="r")["g/a"][:]
    )
    export_at_once(f"zarr+file://{store}", tmp_path / "fresh", format=format_)
    assert data(copy) == data(tmp_path / "fresh")
    assert verify(copy, source=f"zarr+{url}", values=True).whole
    with pytest.raises(InputError, match=r"none of .*at its root"):
        export(f"lakefs://{repository.name}", tmp_path / "other", format=format_)
