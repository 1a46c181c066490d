"""Starts a run of a deployment for each commit and merge that lakeFS tells of (docs/lakefs.md).

    FREIGHT_TOKEN=… python deployments/lakefs_hook.py DEPLOYMENT DESTINATION [--port 8765]

The copy of a repository goes to `DESTINATION/<repository>/<branch>`, and each run moves what has
changed since the last. It answers as soon as Prefect has taken the run: lakeFS's user waits for it.
"""

import argparse
import hmac
import json
import os
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = {"post-commit", "post-merge"}
"""Before them there is no commit that could be exported."""
TOKEN_HEADER = "X-Freight-Token"  # noqa: S105 - a header's name
MAX_BYTES = 2**20
NAME = re.compile(r"\w[-\w]*", re.ASCII)


def parameters_of(event: dict[str, Any], destination: str) -> dict[str, Any] | None:
    """Return the parameters of `export_repo` for an event; None for one that starts nothing.

    The event names the commit, so that a branch that has moved on by then changes nothing.
    """
    if event["event_type"] not in EVENTS:
        return None
    repository, branch = event["repository_id"], event["branch_id"]
    # They become a part of the destination's URL.
    if not NAME.fullmatch(repository) or not NAME.fullmatch(branch):
        raise ValueError("no name of lakeFS's")
    return {
        "source": f"lakefs://{repository}",
        "destination": f"{destination.rstrip('/')}/{repository}/{branch}",
        "ref": event["commit_id"],
        "from_ref": "last",
    }


def make_handler(
    start: Callable[[dict[str, Any]], object], destination: str, token: str
) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests: 202 of an event taken, 401 of whoever has not the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = self.headers.get(TOKEN_HEADER, "").encode()
            size = int(self.headers.get("Content-Length", 0))
            if not hmac.compare_digest(given, token.encode()) or size > MAX_BYTES:
                self.send_error(401)
                return
            try:
                parameters = parameters_of(json.loads(self.rfile.read(size)), destination)
            except (ValueError, LookupError, TypeError):
                self.send_error(400, "no event of lakeFS")
                return
            if parameters is not None:
                start(parameters)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing: Prefect has the runs."""

    return Handler


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("deployment")
    parser.add_argument("destination")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()

    from prefect.deployments import run_deployment

    def start(parameters: dict[str, Any]) -> None:
        run_deployment(arguments.deployment, parameters=parameters, timeout=0)

    handler = make_handler(start, arguments.destination, os.environ["FREIGHT_TOKEN"])
    ThreadingHTTPServer((arguments.host, arguments.port), handler).serve_forever()


if __name__ == "__main__":
    main()
