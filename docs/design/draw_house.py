"""Draws the house from its code: `python docs/design/draw_house.py` writes docs/images/house.svg.

With `--check` it writes nothing, and fails if the picture is not that of the code. The floors are
those that `tests/test_house.py` holds the imports to.
"""

import ast
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "house.svg"
PACKAGE = "prefect_freight"
GROUND = ("errors", "model", "events", "retry", "patience", "limits", "threads", "grace", "config")
FLOORS = (
    GROUND,
    ("plan",),
    ("stores",),
    ("hierarchy",),
    ("control", "sources"),
    ("formats", "blocks"),
    ("steps",),
    ("runner", "verifying", "pruning", "tasks", "waits", "withdrawal", "options"),
    ("exporting",),
    ("flows",),
    (
        "cli",
        "serving",
        "console",
        "previews",
        "demo",
        "examples",
        "streams",
        "interrupts",
        "convenience",
        "__main__",
    ),
)
"""From the bottom to the top. A hall is a folder of the package, or a module that lies in none."""


@cache
def modules() -> dict[str, Path]:
    """Return all modules of the package by name; of links, the folder that they lead to."""
    found = {}
    for folder, _, files in os.walk(ROOT / PACKAGE, followlinks=True):
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    del found[PACKAGE]
    return dict(sorted(found.items()))


def imports(module: str) -> set[str]:
    """Return the modules of ours that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        match node:
            case ast.ImportFrom(module=str(name), names=aliases):
                longer = {f"{name}.{alias.name}" for alias in aliases}
                found |= {one if one in modules() else name for one in longer}
            case ast.Import(names=aliases):
                found |= {alias.name for alias in aliases}
    return found & modules().keys()


def imported_from_elsewhere(module: str) -> set[str]:
    """Return the top names of what a module imports that is not ours."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        match node:
            case ast.ImportFrom(module=str(name)):
                found.add(name.split(".")[0])
            case ast.Import(names=aliases):
                found |= {alias.name.split(".")[0] for alias in aliases}
    return found - {PACKAGE}


def hall_of(module: str) -> str:
    """Return the hall of `prefect_freight.x.y`, which is x."""
    return module.split(".")[1]


def floor_of(module: str) -> int:
    """Return the number of a module's floor, from 0 at the bottom."""
    for number, halls in enumerate(FLOORS):
        if hall_of(module) in halls:
            return number
    raise LookupError(f"{module} is on no floor: add its hall to FLOORS")


# The picture: steps that get wider towards the ground. A hall's line rises from the end of its
# step, and has the counts of those who import the hall, each on the height of the one who does.

LEFT, TOP, RIGHT, BOTTOM = 96, 92, 28, 64
STEP, LANE, FIRST = 66, 58, 330
BOX = 46
FONT = "DejaVu Sans, Verdana, Arial, sans-serif"
TINTS = (
    "#e8ded0",
    "#e3ecd9",
    "#d9ebe4",
    "#d8e8f2",
    "#dfe0f3",
    "#ece0f1",
    "#f3e0ea",
    "#f6e3dd",
    "#f5ecd2",
    "#e6e9ec",
    "#efe9e4",
)
INK, GREY, RED = "#26323d", "#66727e", "#c0392b"


@dataclass(frozen=True)
class Box:
    """What is drawn as one: a folder, or modules that lie in none."""

    halls: tuple[str, ...]
    floor: int
    modules: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return its name."""
        return " · ".join(self.halls)

    @property
    def size(self) -> str:
        """Return how large it is; lines in round numbers, or each edit would draw a new picture."""
        lines = sum(len(modules()[name].read_text().splitlines()) for name in self.modules)
        count = len(self.modules)
        return f"{count} module{'s'[: count > 1]}, about {max(100, round(lines, -2)):,} lines"

    @property
    def folders(self) -> str:
        """Return the folders within it and how many modules each has."""
        inner = Counter(
            name.split(".")[2]
            for name in self.modules
            if len(modules()[name].relative_to(ROOT / PACKAGE).parts) > 2
        )
        return ", ".join(f"{name}/ {count}" for name, count in sorted(inner.items()))


def boxes() -> list[Box]:
    """Return what is drawn, from the top to the bottom."""
    found = []
    for number, halls in reversed(list(enumerate(FLOORS))):
        there = {hall: tuple(m for m in modules() if hall_of(m) == hall) for hall in halls}
        there = {hall: names for hall, names in there.items() if names}
        if number in (0, len(FLOORS) - 1):
            found.append(Box(tuple(there), number, sum(there.values(), ())))
        else:
            found += [Box((hall,), number, names) for hall, names in there.items()]
    return found


def counts(drawn: list[Box]) -> Counter[tuple[int, int]]:
    """Return how many imports lead from a box to another, by their numbers."""
    box_of = {name: number for number, box in enumerate(drawn) for name in box.modules}
    pairs = ((box_of[one], box_of[other]) for one in modules() for other in imports(one))
    return Counter((one, other) for one, other in pairs if one != other)


def draw() -> str:
    """Return the picture as SVG: the same text for the same code."""
    drawn = boxes()
    width = LEFT + FIRST + LANE * (len(drawn) - 1) + RIGHT
    height = TOP + STEP * len(drawn) + BOTTOM
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="{FONT}">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="white"/>']
    parts += _texts(height)
    arrows = counts(drawn)
    parts += _lanes(drawn, arrows)
    for number, box in enumerate(drawn):
        parts += _box(number, box, drawn, arrows)
    parts += _counts(drawn, arrows)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _end(number: int) -> int:
    """Return where a box ends, which is where its line rises."""
    return LEFT + FIRST + LANE * number


def _y(number: int) -> int:
    return TOP + STEP * number


def _text(x: float, y: float, text: str, size: int, colour: str = INK, more: str = "") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{more}>{escape(text)}</text>'
    )


def _texts(height: int) -> Iterator[str]:
    yield _text(LEFT, 38, "The house of prefect-freight", 22, more=' font-weight="bold"')
    yield _text(LEFT, 62, "drawn from its imports by docs/design/draw_house.py", 13, GREY)
    text = "A number is how many imports lead from the hall on its left to the hall below its line."
    yield _text(LEFT, height - 28, text, 13, GREY)
    yield _text(LEFT, height - 10, "What is red leads upward, or to a hall beside.", 13, RED)


def _lanes(drawn: list[Box], arrows: Counter[tuple[int, int]]) -> Iterator[str]:
    for number in range(len(drawn)):
        above = [one for one, other in arrows if other == number and one < number]
        x, y = _end(number) - LANE / 2, _y(number)
        if above:
            top = _y(min(above)) + BOX / 2
            line = f"M{x:g} {top:g}V{y - 7}"
            yield f'<path d="{line}" stroke="#9aa7b3" stroke-width="2" fill="none"/>'
            yield f'<path d="M{x - 6:g} {y - 10}L{x:g} {y}L{x + 6:g} {y - 10}Z" fill="#9aa7b3"/>'
        below = [other for one, other in arrows if one == number and other > number]
        if below:
            start, stop = _end(number), _end(max(below)) - LANE / 2
            line = f"M{start} {y + BOX / 2:g}H{stop:g}"
            yield f'<path d="{line}" stroke="{INK}" stroke-width="1.2" fill="none"/>'


def _box(
    number: int, box: Box, drawn: list[Box], arrows: Counter[tuple[int, int]]
) -> Iterator[str]:
    y, x = _y(number), LEFT
    tint = TINTS[box.floor % len(TINTS)]
    if number == 0 or drawn[number - 1].floor != box.floor:
        yield _text(x - 14, y + 29, f"floor {box.floor}", 13, GREY, ' text-anchor="end"')
    shape = f'x="{x}" y="{y}" width="{_end(number) - x}" height="{BOX}" rx="5"'
    yield f'<rect {shape} fill="{tint}" stroke="{INK}" stroke-width="1.2"/>'
    yield _text(x + 14, y + 20, box.title, 15, more=' font-weight="bold"')
    inner = f"; {box.folders}" if box.folders else ""
    yield _text(x + 14, y + 37, box.size + inner, 12, GREY)
    wrong = [
        f"{drawn[other].title} {count}"
        for (one, other), count in sorted(arrows.items())
        if one == number and (other < number or drawn[other].floor == box.floor)
    ]
    if wrong:
        red = f"up: {', '.join(wrong)}"
        yield _text(_end(number) - 14, y + 20, red, 12, RED, ' text-anchor="end"')


def _counts(drawn: list[Box], arrows: Counter[tuple[int, int]]) -> Iterator[str]:
    for (one, other), count in sorted(arrows.items()):
        if other > one:
            colour = RED if drawn[one].floor == drawn[other].floor else INK
            x, y = _end(other) - LANE / 2, _y(one) + BOX / 2
            yield f'<circle cx="{x:g}" cy="{y:g}" r="12" fill="white" stroke="{colour}"/>'
            yield _text(x, y + 4, str(count), 12, colour, ' text-anchor="middle"')


def main() -> None:
    """Write the picture, or with `--check` compare it."""
    picture = draw()
    if "--check" not in sys.argv:
        PICTURE.write_text(picture)
    elif not PICTURE.exists() or PICTURE.read_text() != picture:
        sys.exit("docs/images/house.svg is not the house: run python docs/design/draw_house.py")


if __name__ == "__main__":
    main()
