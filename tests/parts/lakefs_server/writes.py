"""What the REST interface takes: so that one client fills this server and a real one alike."""

import json
import re
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from lakefs_server.messages import Answer, RefusalError, Request, json_answer, required
from lakefs_server.repository import OCTETS, Repository

METADATA = "x-lakefs-meta-"

type Create = Callable[[str], Repository]


class Writes:
    """Answers of the part of the interface that writes."""

    def __init__(self, repositories: MutableMapping[str, Repository], create: Create) -> None:
        self._repositories, self._create = repositories, create
        one = "/api/v1/repositories/([^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = [
            (method, re.compile(pattern), answer)
            for method, pattern, answer in (
                ("POST", "/api/v1/repositories", self._new),
                ("DELETE", one, self._drop),
                ("POST", f"{one}/branches", _create_branch),
                ("POST", f"{one}/tags", _create_tag),
                ("POST", f"{one}/branches/([^/]+)/objects", _put),
                ("DELETE", f"{one}/branches/([^/]+)/objects", _delete),
                ("POST", f"{one}/branches/([^/]+)/commits", _commit),
                ("POST", f"{one}/refs/([^/]+)/merge/([^/]+)", _merge),
            )
        ]

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request that writes, None to any other one."""
        for method, pattern, answer in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None or method != request.method:
                continue
            name, *parts = [unquote(part) for part in match.groups()] or [""]
            if not name:
                return answer(request)
            if name not in self._repositories:
                raise RefusalError(404, "repository not found")
            return answer(request, self._repositories[name], *parts)
        return None

    def _new(self, request: Request) -> Answer:
        name = json.loads(request.body)["name"]
        if name in self._repositories:
            raise RefusalError(409, "error creating repository: not unique")
        return json_answer(self._create(name).to_json(), 201)

    def _drop(self, request: Request, repository: Repository) -> Answer:
        del self._repositories[repository.name]
        return Answer(204)


def _create_branch(request: Request, repository: Repository) -> Answer:
    asked = json.loads(request.body)
    repository.create_branch(asked["name"], asked["source"])
    return Answer(201, {"Content-Type": "text/html"}, repository.branches[asked["name"]].encode())


def _create_tag(request: Request, repository: Repository) -> Answer:
    asked = json.loads(request.body)
    repository.create_tag(asked["id"], asked["ref"])
    return json_answer({"id": asked["id"], "commit_id": repository.tags[asked["id"]]}, 201)


def _put(request: Request, repository: Repository, branch: str) -> Answer:
    key, headers = required(request.parameters, "path"), request.headers
    metadata = {
        name.removeprefix(METADATA): value
        for name, value in headers.items()
        if name.startswith(METADATA)
    }
    entry = repository.put(
        key,
        request.body,
        branch=branch,
        content_type=headers.get("content-type", OCTETS),
        metadata=metadata,
    )
    stats: dict[str, Any] = {
        "path": key,
        "path_type": "object",
        "physical_address": entry.address,
        "checksum": entry.checksum,
        "size_bytes": entry.size,
        "mtime": entry.mtime,
        "content_type": entry.content_type,
        "metadata": metadata,
    }
    return json_answer(stats, 201)


def _delete(request: Request, repository: Repository, branch: str) -> Answer:
    repository.delete(required(request.parameters, "path"), branch=branch)
    return Answer(204)


def _commit(request: Request, repository: Repository, branch: str) -> Answer:
    asked = json.loads(request.body)
    id_ = repository.commit(asked["message"], branch=branch, **asked.get("metadata", {}))
    return json_answer(repository.commits[id_].to_json(), 201)


def _merge(request: Request, repository: Repository, source: str, into: str) -> Answer:
    message = json.loads(request.body or b"{}").get("message", "")
    return json_answer({"reference": repository.merge(source, into, message)})
