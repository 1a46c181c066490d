"""The floors of the building: imports only go down, and the engine stands without Prefect."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    # Each floor may import itself and those before it.
    ("errors", "model", "events", "retry", "config"),
    ("sources/__init__",),  # the protocol: records of references, no reader
    ("plan",),
    ("stores",),
    ("sources",),
    ("control", "formats", "steps"),
    ("exporting", "verifying"),
    ("blocks",),
    ("tasks",),
    ("flows",),
    ("console", "demo", "cli", "__main__"),
)
WITHOUT_PREFECT = (
    "errors",
    "model",
    "events",
    "retry",
    "config",
    "plan",
    "stores",
    "sources",
    "control",
    "formats",
    "steps",
    "exporting",
)


def floor_of(module: str) -> int:
    """Return the floor of `prefect_freight.x.y`; the protocol of sources is a floor of its own."""
    name = module.removeprefix("prefect_freight.")
    if name == "sources":
        return 1
    head = name.split(".")[0]
    return next(n for n, floor in enumerate(FLOORS) if head in floor)


def modules() -> dict[str, Path]:
    """Return all modules of the package by name."""
    paths = {
        p
        for folder in ("prefect_freight", "blocks", "tasks", "flows")
        for p in (ROOT / folder).rglob("*.py")
    }
    found = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts if parts[0] == "prefect_freight" else ("prefect_freight", *parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    found.pop("prefect_freight")
    return found


def imports(path: Path, *, at_run_time_only: bool = False) -> set[str]:
    """Return the modules of ours that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect_freight"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name for alias in node.names if alias.name.startswith("prefect_freight.")
            }
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_its_own_floor_and_those_below(module: str) -> None:
    own = floor_of(module)
    upward = {
        name
        for name in imports(modules()[module]) - {"prefect_freight"}
        # The door of the command line opens blocks and flows, which is what it is there for.
        if floor_of(name) > own
    }
    assert not upward


def test_there_is_no_import_cycle() -> None:
    known = modules()
    below = {
        name: {i for i in imports(path) if i in known and i != name} for name, path in known.items()
    }
    while free := [name for name, on in below.items() if not on & below.keys()]:
        for name in free:
            del below[name]
    assert not below


def test_sources_know_no_destination_and_blocks_know_only_stores_and_sources() -> None:
    for module, path in modules().items():
        if module.startswith("prefect_freight.blocks"):
            floors = {floor_of(name) for name in imports(path) - {"prefect_freight"}}
            assert not floors & {
                floor_of("prefect_freight.steps"),
                floor_of("prefect_freight.exporting"),
            }


def test_the_engine_imports_without_prefect() -> None:
    names = [m for m in modules() if m.split(".")[1] in WITHOUT_PREFECT]
    code = (
        "import sys; sys.modules['prefect'] = None\n"
        + "\n".join(f"import {name}" for name in names)
        + "\nprint(sorted(m for m in sys.modules if m.split('.')[0] in ('fastapi', 'sqlalchemy')))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout.strip()) == (0, "[]"), said.stderr


def test_the_command_line_asks_for_nothing_heavy_before_it_must() -> None:
    heavy = ("zarr", "icechunk", "pyarrow", "numpy", "prefect", "fsspec")
    code = f"import sys, prefect_freight.cli; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["blocks", "tasks", "flows"])
def test_a_mapped_folder_cannot_be_imported_under_its_bare_name(folder: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode != 0
    assert f"prefect_freight.{folder}" in said.stderr
