"""What a lake holds: commits of trees, branches with staged changes, tags. Tests fill it."""

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lakefs_server.blockstore import Blockstore
from lakefs_server.refs import Commit, NoSuchRefError, merge_base, resolve

OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a commit has under a key."""

    address: str
    checksum: str
    size: int
    mtime: int
    content_type: str = OCTETS
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it another one for a diff: not where the bytes lie."""
        return self.size, self.checksum, self.content_type, tuple(sorted(self.metadata.items()))


class Tree:
    """Entries by key, in the order of their UTF-8 bytes, which is that of Python's texts."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries

    @cached_property
    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self.entries)

    @cached_property
    def id(self) -> str:
        """A digest of all that is in it; "" of an empty one."""
        digest = hashlib.sha256()
        for key in self.keys:
            digest.update(repr((key, self.entries[key].identity)).encode())
        return digest.hexdigest() if self.entries else ""


class Repository:
    """A repository that a test writes, and that the doors of the server read."""

    def __init__(self, name: str, blockstore: Blockstore, created_at: int | None = None) -> None:
        self.name, self.blockstore, self.default_branch = name, blockstore, "main"
        self.namespace = blockstore.namespace(name)
        self.created_at = int(time.time()) if created_at is None else created_at
        self.commits: dict[str, Commit] = {}
        self.trees: dict[str, Tree] = {}
        self.tags: dict[str, str] = {}
        self.branches: dict[str, str] = {}
        self.staged: dict[str, dict[str, Entry | None]] = {}
        self._lock, self._numbers = threading.RLock(), itertools.count(1)
        self._staged_trees: dict[str, Tree] = {}
        root = self._add(Tree({}), (), "Repository created", {}, committer="")
        self.create_branch("main", root)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {
            "id": self.name,
            "creation_date": self.created_at,
            "default_branch": self.default_branch,
            "storage_id": "",
            "storage_namespace": self.namespace,
            "read_only": False,
        }

    def put(
        self,
        key: str,
        data: bytes,
        *,
        branch: str = "main",
        content_type: str = OCTETS,
        metadata: Mapping[str, str] | None = None,
        checksum: str = "",
    ) -> Entry:
        """Stage an object; its checksum is the MD5 of its bytes, if it isn't said otherwise."""
        address = self.blockstore.new_address(self.name)
        self.blockstore.put(address, data, content_type)
        md5 = checksum or hashlib.md5(data, usedforsecurity=False).hexdigest()
        now = int(time.time())
        entry = Entry(address, md5, len(data), now, content_type, metadata or {})
        self.stage(branch, key, entry)
        return entry

    def delete(self, key: str, *, branch: str = "main") -> None:
        """Stage the removal of an object."""
        self.stage(branch, key, None)

    def stage(self, branch: str, key: str, entry: Entry | None) -> None:
        """Stage any entry: one of an import, say, whose bytes lie elsewhere."""
        with self._lock:
            self.staged[branch][key] = entry
            self._staged_trees.pop(branch, None)

    def commit(self, message: str = "", *, branch: str = "main", **metadata: str) -> str:
        """Commit what is staged, and return the commit's id."""
        with self._lock:
            tree, head = self.staged_tree(branch), self.branches[branch]
            id_ = self._add(tree, (head,), message, metadata)
            self.set_branch(branch, id_)
            return id_

    def merge(self, source: str, into: str = "main", message: str = "") -> str:
        """Merge a branch into another, its changes over the other's, and return the commit's id."""
        with self._lock:
            mine, theirs = self.branches[into], self.branches[source]
            base = merge_base(mine, theirs, self.commits)
            before = self.trees[base].entries if base else {}
            entries, after = dict(self.trees[mine].entries), self.trees[theirs].entries
            for key in before.keys() - after.keys():
                entries.pop(key, None)
            entries |= {key: e for key, e in after.items() if before.get(key) != e}
            strategy = {".lakefs.merge.strategy": "default"}
            id_ = self._add(Tree(entries), (mine, theirs), message, strategy)
            self.branches[into] = id_
            self._staged_trees.pop(into, None)
            return id_

    def create_branch(self, name: str, source: str = "main") -> None:
        """Make a branch at a ref."""
        self.set_branch(name, self.resolve(source)[0].id)

    def create_tag(self, name: str, ref: str = "main") -> None:
        """Make a tag at a ref."""
        self.tags[name] = self.resolve(ref)[0].id

    def set_branch(self, name: str, commit_id: str) -> None:
        """Have a branch's head elsewhere, with nothing staged."""
        with self._lock:
            self.branches[name], self.staged[name] = commit_id, {}
            self._staged_trees.pop(name, None)

    def lose(self, key: str, ref: str = "main") -> None:
        """Delete an object's bytes behind the server's back."""
        self.blockstore.delete(self.tree(ref).entries[key].address)

    def resolve(self, ref: str) -> tuple[Commit, str]:
        """Return what a ref names: see `refs.resolve`."""
        return resolve(ref, self.commits, self.branches, self.tags)

    def tree(self, ref: str) -> Tree:
        """Return what a ref lists; of a plain branch name, with what is staged."""
        commit, staging = self.resolve(ref)
        return self.staged_tree(staging[:-1]) if staging else self.trees[commit.id]

    def committed_tree(self, ref: str) -> Tree:
        """Return what the commit has that a ref names."""
        return self.trees[self.resolve(ref)[0].id]

    def staged_tree(self, branch: str) -> Tree:
        """Return a branch's head with what is staged on it."""
        with self._lock:
            if branch not in self.branches:
                raise NoSuchRefError
            head = self.trees[self.branches[branch]]
            if not self.staged[branch]:
                return head
            if branch not in self._staged_trees:
                entries = {**head.entries, **self.staged[branch]}
                there = {key: entry for key, entry in entries.items() if entry is not None}
                self._staged_trees[branch] = Tree(there)
            return self._staged_trees[branch]

    def load_commits(self, commits: Iterable[tuple[Commit, Tree]]) -> None:
        """Take commits that were made elsewhere, in place of all that is here."""
        self.commits, self.trees, self.tags, self.branches = {}, {}, {}, {}
        for commit, tree in commits:
            self.commits[commit.id], self.trees[commit.id] = commit, tree

    def _add(
        self,
        tree: Tree,
        parents: tuple[str, ...],
        message: str,
        metadata: Mapping[str, str],
        committer: str = "lab",
    ) -> str:
        number, now = next(self._numbers), int(time.time())
        # Of its content, as the real one's; the number stands for what a clock has below seconds.
        content = json.dumps([self.name, tree.id, parents, message, {**metadata}, now, number])
        id_ = hashlib.sha256(content.encode()).hexdigest()
        generation = 1 + max((self.commits[parent].generation for parent in parents), default=0)
        self.trees[id_] = tree
        self.commits[id_] = Commit(
            id_, parents, message, metadata, tree.id, now, generation, committer, number
        )
        return id_
