"""The house: imports only go down, planning is pure, and each thing has one place and one name.

The floors are those of `docs/design/draw_house.py`, which draws them.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from draw_house import (
    FLOORS,
    GROUND,
    PICTURE,
    ROOT,
    draw,
    floor_of,
    hall_of,
    imported_from_elsewhere,
    imports,
    modules,
)

NARROW = {
    "blocks": {"stores", "sources"},
    "tasks": {"stores", "sources", "plan", "control", "steps"},
    "flows": {
        "stores",
        "sources",
        "plan",
        "tasks",
        "blocks",
        "runner",
        "options",
        "exporting",
        "verifying",
    },
}
"""Halls that may not import all that lies below them, and what they may beside the ground."""
IMPURE = {
    *("os", "io", "pathlib", "tempfile", "shutil", "socket", "subprocess", "threading", "asyncio"),
    *("time", "datetime", "random", "secrets", "uuid", "logging", "concurrent"),
    *("icechunk", "obstore", "fsspec", "s3fs", "botocore", "zarr", "prefect", "httpx"),
}
ZARR_NAMES = (".zarray", ".zgroup", ".zattrs", ".zmetadata", "zarr.json", "_ARRAY_DIMENSIONS")
ROLES = {"__init__", "client", "store", "source", "errors", "layout", "objects", "runner"}
"""What a module of several halls may be called: the role that it plays in a protocol."""
UNDER_PREFECT = {hall for floor in FLOORS[:9] for hall in floor} - {"blocks", "tasks"}
HEAVY = ("zarr", "icechunk", "pyarrow", "numpy", "prefect", "fsspec")
TESTS = sorted(Path(__file__).parent.rglob("test_*.py"))


def case(module: str, claim: str) -> object:
    """Return a parameter whose id is a sentence."""
    return pytest.param(module, id=f"{module.removeprefix('prefect_freight.')} {claim}")


def each(claim: str, *halls: str) -> pytest.MarkDecorator:
    """Return the parameters of a claim about the modules of some halls, or of all."""
    chosen = [name for name in modules() if not halls or hall_of(name) in halls]
    return pytest.mark.parametrize("module", [case(name, claim) for name in chosen])


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def texts(module: str) -> list[str]:
    """Return all string constants of a module that are no docstrings."""
    tree = ast.parse(modules()[module].read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [str(node.value) for node in constants if id(node) not in docstrings]


@each("goes down")
def test_imports_only_go_down(module: str) -> None:
    own, hall = floor_of(module), hall_of(module)
    # What lies in no folder may import its like beside it; halls of one floor do not know another.
    loose = own in (0, len(FLOORS) - 1)
    beside = {one for one in imports(module) if floor_of(one) == own and hall_of(one) != hall}
    above = {one for one in imports(module) if floor_of(one) > own}
    assert not above | (set() if loose else beside)


@each("is narrow", *NARROW)
def test_some_halls_import_only_what_they_are_made_of(module: str) -> None:
    allowed = {*GROUND, hall_of(module), *NARROW[hall_of(module)]}
    assert not {one for one in imports(module) if hall_of(one) not in allowed}


@each("is pure", "plan")
def test_planning_reads_and_writes_nothing(module: str) -> None:
    assert not imported_from_elsewhere(module) & IMPURE


@each("knows no Zarr")
def test_all_that_knows_zarr_is_in_two_folders(module: str) -> None:
    if not module.startswith(("prefect_freight.formats.zarr", "prefect_freight.hierarchy")):
        assert not [text for text in texts(module) for name in ZARR_NAMES if name in text]


def test_there_is_no_import_cycle() -> None:
    below = {name: imports(name) - {name} for name in modules()}
    while free := [name for name, on in below.items() if not on & below.keys()]:
        for name in free:
            del below[name]
    assert not below


def test_no_two_modules_have_one_name_but_for_their_role() -> None:
    names = [name.rpartition(".")[2] for name in modules()]
    assert not {name for name in names if names.count(name) > 1} - ROLES


def test_the_engine_imports_without_prefect() -> None:
    names = [name for name in modules() if hall_of(name) in UNDER_PREFECT]
    code = "import sys; sys.modules['prefect'] = None\n" + "\n".join(f"import {n}" for n in names)
    heavy = "sorted(m for m in sys.modules if m.split('.')[0] in ('fastapi', 'sqlalchemy'))"
    ended = run(f"{code}\nprint({heavy})")
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


def test_the_command_line_asks_for_nothing_heavy_before_it_must() -> None:
    ended = run(f"import sys, prefect_freight.cli; print([m for m in {HEAVY} if m in sys.modules])")
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


@pytest.mark.parametrize("folder", ["blocks", "tasks", "flows"])
def test_a_mapped_folder_cannot_be_imported_under_its_bare_name(folder: str) -> None:
    ended = run(f"import {folder}")
    assert ended.returncode != 0
    assert f"prefect_freight.{folder}" in ended.stderr


def test_the_picture_is_the_house() -> None:
    assert PICTURE.read_text() == draw(), "run python docs/design/draw_house.py"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_use_what_is_public_and_import_no_other_test(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(name)) | ast.Import(names=[ast.alias(name=name)]):
                assert not name.startswith("test_")
            case ast.Attribute(value=owner, attr=name) if name.startswith("_"):
                mine = isinstance(owner, ast.Name) and owner.id == "self"
                assert mine or name.startswith(("__", "_block_type_")), name  # Prefect's interface
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Name(id=owner), *_]):
                assert owner in sys.stdlib_module_names, f"{owner} is patched"
