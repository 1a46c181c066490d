"""Manifests of version 1, as those of today: a run that one describes resumes and is extended.

Version 1 had one list of parts, by round, for what the copy held and for what was to be done. What
lay there already stood in rounds of its own. An array was one section, at home in one run, and a
row said by its node which array it belonged to.
"""

from collections.abc import Mapping
from typing import Any

from prefect_freight.model import Round
from prefect_freight.plan.sections import Section

KEPT = {"kept-chunks": Round.CHUNKS, "kept-documents": Round.DOCUMENTS}
METADATA = "//metadata"
"""The section that version 1 had no name for: all documents of a copy."""
ALL_ROWS, ROWS_OF_NODE = -1, -2
"""Stand for the row after the last: parts had rows of many arrays, which name their node."""


def manifest_from_version1(
    area: str, index: Mapping[str, Any]
) -> tuple[tuple[Section, ...], list[dict[str, Any]]]:
    """Return the sections, and the parts that hold entries of the copy."""
    sections = [
        Section(path, "", "", {"reading": record["reading"]}, (record["area"],), 0)
        for path, record in index["arrays"].items()
    ]
    # Without content or count: unknown is compared always, so nothing is believed of it.
    sections.append(Section(METADATA, "", "", {}, (area,), 0))
    parts = []
    for part in index["parts"]:
        round_ = KEPT.get(part["round"], part["round"])
        match round_:
            case Round.CHUNKS:
                slices = [[node, "", 0, ROWS_OF_NODE] for node in part["nodes"]]
            case Round.DOCUMENTS | Round.ROOT:
                slices = [[METADATA, "", 0, ALL_ROWS]]
            case _:
                continue
        parts.append(_moved(part) | {"round": round_, "slices": slices, "kept": 0})
    return tuple(sections), parts


def diff_from_version1(index: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts that say what is to be done."""
    return [_moved(part) | {"slices": []} for part in index["parts"] if part["round"] not in KEPT]


def _moved(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"phase": 0} | dict(part) | {"key": f"manifest/{part['key']}"}
