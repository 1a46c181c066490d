"""The demonstration: a small Icechunk repository as a weather archive would have one, exported.

The arrays are what xarray writes (dimension names, CF attributes, `_FillValue` in base64), made
with zarr alone, so that nothing else need be installed.
"""

import base64
import os
import struct
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_freight.errors import DestinationError

if TYPE_CHECKING:
    import icechunk
    import zarr

TIMES, LATITUDES, LONGITUDES = 48, 90, 180
CHUNKS = (6, 45, 60)
STATIONS = ("Akureyri", "Bergen", "Cádiz", "Dakar", "Évora")
NAN = base64.b64encode(struct.pack("<d", float("nan"))).decode()


def make_repository(path: str) -> "icechunk.Repository":
    """Make an Icechunk repository with three commits, a branch `reanalysis` and a tag `v1`.

    Raises `DestinationError` if something else lies at the path.
    """
    import icechunk

    if os.path.isdir(path) and os.listdir(path):
        raise DestinationError(
            f"expected no folder or an empty one at {path}, found {os.listdir(path)[0]!r} in it. "
            "Give another directory"
        )
    # Its warning about local disks and many writers is not for who looks at a demonstration.
    icechunk.set_logs_filter(os.environ.get("ICECHUNK_LOG", "error"))
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(path))
    first = _commit(repository, "Surface fields of the first two days", _write_surface)
    repository.create_tag("v1", first)
    second = _commit(repository, "Stations", _write_stations)
    repository.create_branch("reanalysis", second)
    _commit(repository, "Correct a day of temperatures", _correct)
    return repository


def run_demo(directory: str) -> None:
    """Make the repository under `directory`, if it is not there; export it as a Prefect flow."""
    import click

    from prefect_freight.flows.export import run_export_flow
    from prefect_freight.results import print_summary

    repository, copy = os.path.join(directory, "repository"), os.path.join(directory, "copy.zarr")
    if not os.path.isdir(os.path.join(repository, "snapshots")):
        click.echo(f"Making an Icechunk repository in {repository}")
        make_repository(repository)
    click.echo("Exporting it as a Prefect flow (Prefect's embedded server starts first)")
    report = run_export_flow(repository, copy)
    click.echo()
    print_summary(report)
    click.echo(_next_steps(repository, copy, report.marker))


def _next_steps(repository: str, copy: str, marker: str) -> str:
    bin_, other = _bin(), os.path.join(os.path.dirname(copy), "v1.zarr")
    with_xarray = (
        f"""
  {bin_}python -c "import xarray; print(xarray.open_zarr('{copy}', group='surface'))\""""
        if find_spec("xarray")
        else ""
    )
    return f"""
The copy is in {copy}, a plain Zarr 2 store; {marker} there means that it is whole.

Open it:
  {bin_}python -c "import zarr; print(zarr.open_group('{copy}', mode='r').tree())"{with_xarray}

Try next:
  {bin_}freight export {repository} {copy}
      finds the copy whole and moves nothing
  {bin_}freight export {repository} {other} --ref v1
      makes a copy of the tag v1,
  {bin_}freight export {repository} {other} --from-ref last
      and moves only what has changed since then
  {bin_}freight verify {other} --source {repository} --values
      compares the copy with the repository, value by value
"""


def _bin() -> str:
    """Return what has to stand before this environment's commands, as they are found from here."""
    folder = os.path.dirname(sys.executable)
    # What is printed is to be pasted: it has to work in the shell that the user has here.
    if folder in os.environ.get("PATH", "").split(os.pathsep):
        return ""
    near = os.path.relpath(folder)
    return f"{folder if near.startswith(os.pardir) else near}/"


def _commit(repository: "icechunk.Repository", message: str, write: Any) -> str:
    import zarr

    session = repository.writable_session("main")
    write(zarr.open_group(session.store, mode="a", zarr_format=3))
    return session.commit(message)


def _write_surface(root: "zarr.Group") -> None:
    root.attrs.update({"title": "A made-up weather archive", "Conventions": "CF-1.10"})
    surface = root.require_group("surface")
    surface.attrs["coordinates"] = "height"
    _write_axis(surface, "time", np.arange(TIMES), units="hours since 2026-01-01", axis="T")
    surface["time"].attrs["calendar"] = "proleptic_gregorian"
    _write_axis(surface, "lat", np.linspace(-89, 89, LATITUDES), units="degrees_north", axis="Y")
    _write_axis(surface, "lon", np.linspace(0, 358, LONGITUDES), units="degrees_east", axis="X")
    surface.create_array("height", data=np.array(2.0), attributes={"units": "m"})
    rng = np.random.default_rng(1)
    shape, names = (TIMES, LATITUDES, LONGITUDES), ("time", "lat", "lon")
    season = 15 * np.sin(np.linspace(0, 4 * np.pi, TIMES))[:, None, None]
    temperature = _create(surface, "temperature", shape, "float32", names, units="degC")
    temperature[:] = 10 + season + rng.normal(0, 2, shape)
    rain = _create(surface, "rain", shape, "int16", names, units="mm", scale_factor=0.1)
    rain.attrs["_FillValue"] = -999
    # Dry days are not stored: a chunk of fill values is a missing chunk.
    rain[12:30] = rng.integers(0, 80, (18, *shape[1:]))
    land = _create(surface, "land", shape[1:], "bool", names[1:], long_name="land mask")
    land[:] = rng.random(shape[1:]) < 0.3


def _write_stations(root: "zarr.Group") -> None:
    group = root.require_group("stations")
    name = group.create_array("name", shape=(5,), dtype="str", dimension_names=["station"])
    name[:] = np.array(STATIONS)
    founded = np.array(["1882-08-01", "1861-04-12", "1870-01-01", "1887-06-30", "1902-02-02"])
    group.create_array("founded", data=founded.astype("M8[D]"), dimension_names=["station"])
    readings = root.require_group("stations/readings")
    shape, names = (TIMES, len(STATIONS)), ("time", "station")
    pressure = readings.create_array(
        "pressure", shape=shape, chunks=(12, 5), dtype="float64", dimension_names=names
    )
    pressure[:] = np.random.default_rng(2).normal(1013, 8, shape)
    pressure.attrs.update({"units": "hPa", "_FillValue": NAN})


def _correct(root: "zarr.Group") -> None:
    temperature = root["surface/temperature"]
    temperature[24:30] = np.asarray(temperature[24:30]) + 0.5  # type: ignore[index]
    root.attrs["history"] = "day 2 corrected"


def _write_axis(group: "zarr.Group", name: str, values: Any, **attributes: str) -> None:
    group.create_array(
        name, data=values, dimension_names=[name], attributes={"standard_name": name, **attributes}
    )


def _create(
    group: "zarr.Group",
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    dimensions: tuple[str, ...],
    **attributes: Any,
) -> "zarr.Array[Any]":
    cf_attributes = attributes | ({"_FillValue": NAN} if dtype.startswith("float") else {})
    return group.create_array(
        name,
        shape=shape,
        chunks=CHUNKS[-len(shape) :],
        dtype=dtype,
        fill_value=float("nan") if dtype.startswith("float") else 0,
        dimension_names=dimensions,
        attributes=cf_attributes,
    )
