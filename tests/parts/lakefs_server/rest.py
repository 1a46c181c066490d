"""The REST interface: what is asked for, under `/api/v1`."""

import base64
import contextlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from lakefs_server.bodies import read_object
from lakefs_server.diffs import Change, changes, diff_page, merge_changes
from lakefs_server.messages import (
    Answer,
    RefusalError,
    Request,
    amount,
    error_answer,
    flag,
    invalid,
    json_answer,
    required,
)
from lakefs_server.pages import page_of, paged
from lakefs_server.refs import BadRefError, NoSuchRefError, ancestors, merge_base
from lakefs_server.repository import Entry, Repository
from lakefs_server.writes import Writes

API = "/api/v1"
TOKEN_LASTS_S = 7 * 24 * 3600
REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
NAME = re.compile(r"\w[-\w]*")
TAG = re.compile(r"(?!.*\.\.)[^\s~^:?*\[\\@$]+")

type Presign = Callable[[str, str], tuple[str, int]]
"""From an address and a file name to a URL, and the time when it expires."""


class Rest:
    """Answers of the REST interface."""

    def __init__(
        self,
        repositories: Mapping[str, Repository],
        keys: Mapping[str, str],
        kind: str,
        presign: Presign,
        writes: Writes,
    ) -> None:
        self._repositories, self._keys, self._kind = repositories, keys, kind
        self._presign, self._writes = presign, writes
        self._tokens: dict[str, float] = {}
        one = r"/repositories/([^/]+)"
        self._routes: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(f"{API}{pattern}"), answer)
            for pattern, answer in (
                ("/config", self._config),
                ("/repositories", self._list_repositories),
                (one, lambda _, r: json_answer(r.to_json())),
                (f"{one}/(branches|tags)", self._list_names),
                (f"{one}/(branches|tags)/([^/]+)", self._name),
                (f"{one}/branches/([^/]+)/diff", self._uncommitted),
                (f"{one}/commits/([^/]+)", self._commit),
                (f"{one}/refs/([^/]+)/commits", self._log),
                (f"{one}/refs/([^/]+)/objects/ls", self._list_objects),
                (f"{one}/refs/([^/]+)/objects/stat", self._stat),
                (f"{one}/refs/([^/]+)/objects", self._object),
                (f"{one}/refs/([^/]+)/diff/([^/]+)", self._diff),
            )
        ]

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; of a HEAD, the server drops its body."""
        try:
            return self._answer(request)
        except RefusalError as refusal:
            return error_answer(refusal.status, refusal.message)
        except NoSuchRefError:
            return error_answer(404, "not found")
        except BadRefError as error:
            return error_answer(400, str(error))

    def _answer(self, request: Request) -> Answer:
        if request.path == f"{API}/healthcheck":
            return Answer(204)
        if (request.method, request.path) == ("POST", f"{API}/auth/login"):
            return self._login(request)
        for pattern, answer in self._routes:
            match = pattern.fullmatch(request.path)
            if match and self._takes(request.method, answer):
                self._authenticate(request)
                parts = [unquote(part) for part in match.groups()]
                if not parts:
                    return answer(request)
                return answer(request, self._repository(parts[0]), *parts[1:])
        self._authenticate(request)
        if (written := self._writes.answer(request)) is not None:
            return written
        raise RefusalError(404, "invalid API endpoint")

    def _takes(self, method: str, answer: Callable[..., Answer]) -> bool:
        return method == "GET" or (method == "HEAD" and answer == self._object)

    def _login(self, request: Request) -> Answer:
        given = json.loads(request.body)
        self._check(given.get("access_key_id", ""), given.get("secret_access_key", ""))
        token, expires = secrets.token_urlsafe(32), int(time.time()) + TOKEN_LASTS_S
        self._tokens[token] = expires
        return json_answer({"token": token, "token_expiration": expires})

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._tokens.get(given, 0) > time.time():
            return
        user, secret = "", ""
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                user, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        self._check(user, secret)

    def _check(self, key: str, secret: str) -> None:
        known = self._keys.get(key, "")
        if not known or not hmac.compare_digest(known.encode(), secret.encode()):
            raise RefusalError(401, "error authenticating request")

    def _repository(self, name: str) -> Repository:
        if not REPOSITORY.fullmatch(name):
            text = "argument repository: repository id: invalid value: validation error"
            raise RefusalError(400, text)
        if name not in self._repositories:
            raise RefusalError(404, "repository not found")
        return self._repositories[name]

    def _config(self, request: Request) -> Answer:
        kind, is_s3 = self._kind, self._kind == "s3"
        storage = {
            "blockstore_type": kind,
            "blockstore_namespace_example": f"{kind}://example-bucket/",
            "blockstore_namespace_ValidityRegex": f"^{kind}://",
            "default_namespace_prefix": "" if is_s3 else f"{kind}://",
            "pre_sign_support": is_s3,
            "pre_sign_support_ui": False,
            "import_support": is_s3,
            "import_validity_regex": f"^{kind}://",
            "pre_sign_multipart_upload": is_s3,
            "blockstore_id": "",
            "blockstore_description": "",
        }
        others: dict[str, Any] = {"storage_config_list": [], "ui_config": {}}
        version = {"version": "dev", "version_context": "lakeFS"}
        return json_answer(
            {"version_config": version, "storage_config": storage, "capabilities_config": {}}
            | others
        )

    def _list_repositories(self, request: Request) -> Answer:
        return _page_of_names(request, {k: r.to_json() for k, r in self._repositories.items()})

    def _list_names(self, request: Request, repository: Repository, kind: str) -> Answer:
        names = repository.branches if kind == "branches" else repository.tags
        return _page_of_names(request, {k: {"id": k, "commit_id": v} for k, v in names.items()})

    def _name(self, request: Request, repository: Repository, kind: str, name: str) -> Answer:
        names, what, argument, valid = repository.branches, "branch", "branch: branch", NAME
        if kind == "tags":
            names, what, argument, valid = repository.tags, "tag", "tagID: tag", TAG
        if not valid.fullmatch(name):
            raise RefusalError(400, f"argument {argument} id: invalid value: validation error")
        if name not in names:
            raise RefusalError(404, f"{what} not found")
        return json_answer({"id": name, "commit_id": names[name]})

    def _uncommitted(self, request: Request, repository: Repository, branch: str) -> Answer:
        if branch not in repository.branches:
            raise RefusalError(404, "branch not found")
        found = changes(repository.committed_tree(branch), repository.staged_tree(branch))
        # Of what is removed nothing is known here, other than in a diff of refs.
        gone = Entry("", "", 0, 0)
        found = {k: (kind, gone if kind == "removed" else e) for k, (kind, e) in found.items()}
        return _diff_answer(request, found)

    def _commit(self, request: Request, repository: Repository, ref: str) -> Answer:
        try:
            commit, staging = repository.resolve(ref)
        except NoSuchRefError:
            raise RefusalError(404, "commit not found") from None
        except BadRefError as error:
            raise RefusalError(500, str(error)) from None
        if staging and ref.endswith("$"):
            raise RefusalError(500, str(BadRefError(": should point to a commit")))
        return json_answer(commit.to_json())

    def _log(self, request: Request, repository: Repository, ref: str) -> Answer:
        parameters = request.parameters
        try:
            commit, _ = repository.resolve(ref)
        except NoSuchRefError:
            raise RefusalError(404, "ref: not found") from None
        first_parent = flag(parameters, "first_parent", default=False)
        ids = ancestors([commit.id], repository.commits, first_parent)
        if prefix := parameters.get("prefixes", ""):
            ids = [id_ for id_ in ids if _touches(repository, id_, prefix)]
        if (after := parameters.get("after", "")) in ids:
            ids = ids[ids.index(after) + 1 :]
        size = amount(parameters)
        shown = ids[:size]
        results = [repository.commits[id_].to_json() for id_ in shown]
        return json_answer(paged(results, shown[-1] if shown else "", len(ids) > size))

    def _list_objects(self, request: Request, repository: Repository, ref: str) -> Answer:
        parameters = request.parameters
        with_metadata = flag(parameters, "user_metadata", default=True)
        presigned, size = flag(parameters, "presign", default=False), amount(parameters)
        tree = repository.tree(ref)
        prefix, after = parameters.get("prefix", ""), parameters.get("after", "")
        delimiter = parameters.get("delimiter", "")
        names, has_more = page_of(tree.keys, prefix, after, size, delimiter)
        common = {"path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0}
        results = [
            {"path": name} | common
            if is_prefix
            else self._stats(name, tree.entries[name], with_metadata, presigned)
            for name, is_prefix in names
        ]
        return json_answer(paged(results, names[-1][0] if names else "", has_more))

    def _stat(self, request: Request, repository: Repository, ref: str) -> Answer:
        parameters = request.parameters
        key = required(parameters, "path")
        with_metadata = flag(parameters, "user_metadata", default=True)
        presigned = flag(parameters, "presign", default=False)
        entry = _entry(repository, ref, key)
        metadata: dict[str, Any] = {"metadata": {}}
        return json_answer(metadata | self._stats(key, entry, with_metadata, presigned))

    def _object(self, request: Request, repository: Repository, ref: str) -> Answer:
        parameters = request.parameters
        key = required(parameters, "path")
        presigned = flag(parameters, "presign", default=False)
        entry = _entry(repository, ref, key)
        tag = f'"{entry.checksum}"'
        if request.method == "GET" and request.headers.get("if-none-match") == tag:
            return Answer(304)
        if presigned and request.method == "GET":
            return Answer(302, {"Location": self._url(key, entry)[0]})
        return read_object(request, entry, repository.blockstore)

    def _diff(self, request: Request, repository: Repository, left: str, right: str) -> Answer:
        kind = request.parameters.get("type", "three_dot")
        if kind not in ("two_dot", "three_dot"):
            text = 'value is not one of the allowed values ["two_dot","three_dot"]'
            raise invalid("query", "type", text)
        amount(request.parameters)  # refused before any ref is looked at
        if left.endswith("$"):
            text = "reference to staging area with $ is not a commit"
            raise RefusalError(400, f"reference '{left}': {text}")
        ours = repository.committed_tree(left)
        # Of a plain branch the head that is committed; `$` adds what is staged.
        reads = repository.tree if right.endswith("$") else repository.committed_tree
        theirs = reads(right)
        if kind == "two_dot":
            return _diff_answer(request, changes(ours, theirs))
        ids = (repository.resolve(left)[0].id, repository.resolve(right)[0].id)
        if (base := merge_base(*ids, repository.commits)) is None:
            raise RefusalError(500, "no merge base")
        return _diff_answer(request, merge_changes(repository.trees[base], ours, theirs))

    def _url(self, key: str, entry: Entry) -> tuple[str, int]:
        if self._kind != "s3":
            raise RefusalError(400, f"{self._kind} adapter presigned URL: operation not supported")
        return self._presign(entry.address, key.rpartition("/")[2])

    def _stats(
        self, key: str, entry: Entry, with_metadata: bool, presigned: bool
    ) -> dict[str, Any]:
        stats: dict[str, Any] = {
            "path": key,
            "path_type": "object",
            "physical_address": entry.address,
            "checksum": entry.checksum,
            "size_bytes": entry.size,
            "mtime": entry.mtime,
            "content_type": entry.content_type,
        }
        if with_metadata and entry.metadata:
            stats["metadata"] = {**entry.metadata}
        if presigned:
            stats["physical_address"], stats["physical_address_expiry"] = self._url(key, entry)
        return stats


def _entry(repository: Repository, ref: str, key: str) -> Entry:
    entry = repository.tree(ref).entries.get(key)
    if entry is None:
        raise RefusalError(404, "not found")
    return entry


def _touches(repository: Repository, commit_id: str, prefix: str) -> bool:
    """Return whether a commit changed something below a prefix, seen from its first parent."""
    parents = repository.commits[commit_id].parents
    if not parents:
        return False
    found = changes(repository.trees[parents[0]], repository.trees[commit_id])
    return any(key.startswith(prefix) for key in found)


def _page_of_names(request: Request, items: Mapping[str, Any]) -> Answer:
    parameters = request.parameters
    prefix, after = parameters.get("prefix", ""), parameters.get("after", "")
    names, has_more = page_of(sorted(items), prefix, after, amount(parameters), "")
    results = [items[name] for name, _ in names]
    return json_answer(paged(results, names[-1][0] if names else "", has_more))


def _diff_answer(request: Request, found: Mapping[str, Change]) -> Answer:
    parameters = request.parameters
    page = diff_page(
        found,
        prefix=parameters.get("prefix", ""),
        after=parameters.get("after", ""),
        delimiter=parameters.get("delimiter", ""),
        amount=amount(parameters),
        with_right=flag(parameters, "include_right_stats", default=False),
    )
    return json_answer(page)
