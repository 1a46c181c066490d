"""A process that exports and is suspended on its way, as by Ctrl-Z or a lid that closes.

It suspends itself when an operation comes for the n-th time, with every request held up that it has
begun; when it goes on, all of these fail, and it tries again whatever it tries again.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect_freight.errors import FreightError, TransientError

SETTLE_S = 0.5
WITHIN_S = 120.0


@dataclass(frozen=True)
class Suspended:
    """What is run, and when it is suspended."""

    runner: str
    source: str
    destination: str
    ref: str
    format: str
    key: str
    """Regular expression of the keys that are counted."""
    nth: int
    lease: tuple[float, float, float]

    def start(self, environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start it as a process; return when it is suspended."""
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(self))],
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + WITHIN_S
        while not is_stopped(process.pid):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it was never suspended"
            time.sleep(0.01)
        return process

    def run(self) -> dict[str, Any]:
        """Export in this process; return how that ended."""
        from engine import run_engine
        from scripted import ScriptedStore

        from prefect_freight.control.lease import Lease
        from prefect_freight.stores.urls import open_store

        store = ScriptedStore(open_store(self.destination))
        store.script = self._script(store)
        options = {"ref": self.ref, "format": self.format, "lease": Lease(*self.lease)}
        try:
            run_engine(self.runner, self.source, store, **options)
        except FreightError as error:
            return {"error": type(error).__name__, "cause": type(error.__cause__).__name__}
        return {"error": None}

    def _script(self, store: Any) -> Any:
        lock, count, waiting, goes_on = threading.Lock(), 0, 0, threading.Event()

        def script(operation: str, key: str) -> None:
            nonlocal count, waiting
            if operation not in ("write", "replace", "delete") or goes_on.is_set():
                return
            with lock:
                count += bool(re.search(self.key, key))
                held, is_nth = count >= self.nth, count == self.nth
                waiting += held
            if not held:
                return
            if is_nth and re.search(self.key, key):
                time.sleep(SETTLE_S)
                while store.changing > waiting:  # what had begun before is to be over
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGSTOP)
                goes_on.set()
            goes_on.wait()
            raise TransientError("what was under way is lost")

        return script


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def end_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Have a suspended process go on to its end; return what it says of that."""
    process.send_signal(signal.SIGCONT)
    text, errors = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(Suspended(**given).run()), flush=True)
    os._exit(0)
