"""The command line, as a process: here, or on a machine of its own that may be killed."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FREIGHT = str(Path(sysconfig.get_path("scripts")) / "freight")
WITHIN_S = 60


def freight(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [FREIGHT, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@dataclass
class Machine:
    """A place where the command runs, with homes of its own."""

    folder: Path
    name: str
    options: tuple[str, ...] = ()
    """Of every command."""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: object) -> subprocess.Popen[str]:
        home = self.folder / self.name
        home.mkdir(exist_ok=True)
        homes = {"HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
        kept = {k: v for k, v in os.environ.items() if "PREFECT" not in k}
        process = subprocess.Popen(
            [FREIGHT, "export", *map(str, command), *self.options, "--json"],
            env=kept | homes | self.environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *command: object) -> dict[str, object]:
        """Run the command to its end; return its report."""
        said, errors = self.start(*command).communicate(timeout=4 * WITHIN_S)
        assert self.processes[-1].returncode == 0, errors
        report: dict[str, object] = json.loads(said)
        return report

    def kill(self, when: Callable[[], bool], *command: object) -> None:
        """Run the command until something is the case, then kill it."""
        process = self.start(*command)
        deadline = time.monotonic() + WITHIN_S
        while not when() and process.poll() is None:
            assert time.monotonic() < deadline, "what the kill waits for did not happen"
            time.sleep(0.002)
        process.kill()
        process.wait()
        self.clean()
        process.communicate()

    def clean(self) -> None:
        """End what a killed command left running, such as Prefect's embedded server."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
