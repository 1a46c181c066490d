"""A lake that was recorded from a real server: its `state.json`, loaded."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakefs_server.refs import Commit
from lakefs_server.repository import Entry, Repository, Tree
from lakefs_server.server import Lake

RECORDINGS = Path(__file__).parents[2] / "fixtures" / "lakefs"


def load(lake: Lake, recording: str) -> Repository:
    """Have a lake hold what a recording (`local` or `s3`) was made of."""
    state = json.loads((RECORDINGS / recording / "state.json").read_text())
    told = state["repository"]
    repository = Repository(told["id"], lake.blockstore, told["creation_date"])
    repository.namespace = told["storage_namespace"]
    for address, data in state["blobs"].items():
        lake.blockstore.put(address, base64.b64decode(data), "")
    repository.load_commits(
        (_commit(commit), Tree({key: _entry(e) for key, e in commit["tree"].items()}))
        for commit in state["commits"].values()
    )
    repository.tags.update(state["tags"])
    for branch, head in state["branches"].items():
        repository.set_branch(branch, head)
        for key, entry in state["staging"][branch].items():
            repository.stage(branch, key, entry and _entry(entry))
    lake.repositories[repository.name] = repository
    return repository


def _commit(told: Mapping[str, Any]) -> Commit:
    fields = {key: value for key, value in told.items() if key not in ("tree", "version")}
    return Commit(**fields | {"parents": tuple(told["parents"])})


def _entry(told: Mapping[str, Any]) -> Entry:
    return Entry(
        told["physical_address"],
        told["checksum"],
        told["size_bytes"],
        told["mtime"],
        told["content_type"],
        told.get("metadata", {}),
    )
