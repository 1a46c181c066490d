"""Random walks of exports, faults and damage: `python tests/parts/walking.py SEED SECONDS`.

After each step, whatever it was, the destination may claim to be whole only if it is: its bytes are
compared with those of a fresh copy of the snapshot that its marker names. And at the end of a walk
one undisturbed export makes it whole.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command import FREIGHT
from histories import data
from runners import RUNNERS, Run
from scripted import ScriptedStore
from worlds import SELECTIONS, World, make_world

from prefect_freight.errors import (
    AccessError,
    FreightError,
    IncompleteError,
    InputError,
    StorageFullError,
    TransientError,
)
from prefect_freight.events import Event
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

UNACCOUNTED = "no record tells whose it is"
TAKEN = "a reader would take it"
IN_THE_WAY = re.compile("A (folder|file) lies where a (file|folder) must be")
STUCK_S = 120
"""A step that takes longer hangs."""
FOREIGN = {"notes.txt": b"mine", "g/readme": b"mine too", "zz/deep/er": b""}
"""Objects of somebody else, under keys that no copy here has or reads."""
LEFT_BY_THE_DEAD = ".freight/lock"
FAULTS = ["undisturbed", "killed", "flaky", "denied", "full", "ledger", "listener"]


class KilledError(AccessError):
    """What a store answers to a process that was killed."""


@dataclass
class Walk:
    """One walk: a world, a copy of it, and what was done to it."""

    seed: int
    folder: Path
    run: Run
    steps: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tampered: bool = False
    """Somebody changed data of the copy, which an export learns only by looking."""
    with_processes: bool = False
    """Some exports are processes of their own, which cost more than a second each."""
    unmended: bool = False
    """No export can make it whole before somebody has removed what lies in the way."""
    removed: bool = False
    """Somebody removed records that tell what is ours."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.world: World = make_world(self.folder, self.rng)
        self.copy = self.folder / "copy"
        self.foreign: dict[str, bytes] = {}
        self.selection = self.rng.choice([0, 0, 0, 1, 2])
        self.replacing = False

    def go(self) -> None:
        """Take some steps, and end with an export that nothing disturbs."""
        for _ in range(self.rng.randint(4, 14)):
            steps = [self.export, self.damage_records, self.damage_data, self.add_foreign]
            steps += [self.select_other, self.beside, self.processes]
            step = self.rng.choices(steps, [12, 2, 1, 1, 1, 1, 1 if self.with_processes else 0])[0]
            self.timed(step)
            self.look()
            if self.findings:
                return
        self.timed(self.end)
        self.look(must_be_whole=not self.unmended)

    def timed(self, step: Callable[[], None]) -> None:
        """Take a step in a thread, so that one that hangs is a finding."""
        errors: list[BaseException] = []

        def take() -> None:
            try:
                step()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(STUCK_S)
        if thread.is_alive():
            self.find("hangs")
        for error in errors:
            lines = traceback.format_exception(error)
            self.find(f"{type(error).__name__}: {error}\n{''.join(lines[-4:])}")

    def find(self, text: str) -> None:
        """Keep what is wrong, with the steps that led there."""
        steps = "\n  ".join(self.steps)
        self.findings.append(f"seed {self.seed}, {self.world.format}: {text}\n  {steps}")

    def look(self, *, must_be_whole: bool = False) -> None:
        """Compare what the destination says of itself with what it is."""
        if not self.copy.exists():
            return
        (self.copy / LEFT_BY_THE_DEAD).unlink(missing_ok=True)
        markers = sorted(path.name for path in self.copy.glob("EXPORT_*_SUCCESS"))
        if len(markers) > 1:
            self.find(f"claims to be whole as {markers}")
        lies = data(self.copy)
        for key, content in self.foreign.items():
            if lies.pop(key, None) != content:
                self.find(f"somebody's object {key} is lost")
        if must_be_whole and not markers:
            self.find("is not whole after an undisturbed export")
        if not markers or self.tampered:
            return
        snapshot = markers[0].split("_")[1]
        # Of one that is replaced the marker may still be there, if nothing was touched up to now.
        selections = range(len(SELECTIONS)) if self.replacing else [self.selection]
        for selection in selections:
            expected = self.world.copy(snapshot, selection)
            known = {key: lies[key] for key in lies if key in expected}
            # Of what nobody knows whose it is nothing goes.
            if expected == (known if self.removed else lies):
                return
        self.find(f"{markers[0]} lies: {_difference(lies, expected)}")

    def options(self) -> dict[str, Any]:
        """Return any options of an export."""
        return {
            "format": self.world.format,
            "from_ref": self.rng.choice([None, "last", "last"]),
            "verify": self.rng.choice(["none", "sizes", "sizes", "checksums"]),
            "rounds": self.rng.choice([(), (), ("_SUCCESS$", r"^d/|/0$")]),
            "concurrency": self.rng.choice([1, 2, 8]),
            "retry_for": 0,
            **SELECTIONS[self.selection],
            **({"on_existing": "replace"} if self.replacing else {}),
        } | (
            {"section_rows": self.rng.choice([1, 3, 1000]), "keep_runs": self.rng.choice([1, 20])}
            if self.run is RUNNERS["plain"]
            else {}
        )

    def export(self) -> None:
        """Export some state, maybe while something goes wrong."""
        ref, options = self.world.go(self.rng.randrange(self.world.states)), self.options()
        if self.world.format != "objects" and not self.replacing and self.rng.random() < 0.15:
            options["from_ref"] = self.world.go(self.rng.randrange(self.world.states))
            options["on_existing"] = self.rng.choice(["refuse", "merge"])
            if options["on_existing"] == "merge":
                self.merged()
        name, script, on_event = self.any_fault()
        store = ScriptedStore(open_store(str(self.copy)), script)
        self.counts[name.split(" ")[0]] += 1
        self.steps.append(f"export {ref} {options} {name}")
        if self.run is RUNNERS["plain"]:
            options["on_event"] = on_event
        try:
            report = self.run(self.world.source, store, ref=ref, settle_s=0, **options)
        except Exception as error:
            self.steps[-1] += f" -> {type(error).__name__}: {str(error)[:160]}"
            if not isinstance(error, FreightError):
                raise
            undisturbed = name == "undisturbed" and not self.is_of_lost_records(error)
            if undisturbed and not isinstance(error, InputError):
                self.find("an undisturbed export fails")
            return
        self.steps[-1] += f" -> {report.marker}, {report.objects_transferred} put"
        # A look at sizes finds a file that is gone or cut; and a full export puts all anew.
        if options["verify"] != "none":
            self.tampered = False
        self.replacing = False

    def select_other(self) -> None:
        """Export another part from now on: refused as long as it is not told to replace."""
        before, recorded = self.selection, not self.counts["records"] and self.look_at_last()
        self.selection = self.rng.choice([n for n in range(len(SELECTIONS)) if n != before])
        ref = self.world.go(self.rng.randrange(self.world.states))
        if recorded:
            self.steps.append(f"{SELECTIONS[self.selection]} instead")
            try:
                self.run(self.world.source, self.copy, ref=ref, settle_s=0, **self.options())
                self.find("another part was not refused")
            except InputError:
                pass
        self.counts["selections"] += 1
        self.replacing = True
        self.export()

    def look_at_last(self) -> bool:
        """Say whether a whole copy of the part that is exported is recorded."""
        return not self.replacing and (self.copy / ".freight" / "last.json").exists()

    def any_fault(self) -> tuple[str, Callable[[str, str], None], Callable[[Event], None]]:
        """Return a fault, as what the store and the listener do."""
        rng, lock = random.Random(self.rng.random()), threading.Lock()
        kind = self.rng.choice([*FAULTS, *FAULTS[:2]])
        left = self.rng.choice([rng.randint(0, 15), rng.randint(0, 80)])

        def one_less() -> int:
            nonlocal left
            with lock:
                left -= 1
                return left

        def script(operation: str, key: str) -> None:
            changes = operation in ("write", "delete")
            if kind == "killed" and (left < 0 or (changes and one_less() < 0)):
                raise KilledError("killed")
            if kind == "flaky" and rng.random() < 0.02:
                raise TransientError(f"{operation} of {key}: try again")
            if kind == "full" and changes and operation == "write" and one_less() < 0:
                raise StorageFullError("no room left")
            if (
                kind == "denied"
                and operation == "write"
                and zlib.crc32(f"{self.seed} {key}".encode()) % 7 == 0
            ):
                raise AccessError(f"may not write {key}")
            if kind == "ledger" and operation == "write" and "/ledger/" in key:
                raise AccessError(f"may not write {key}")

        def on_event(_: Event) -> None:
            if kind == "listener" and one_less() < 0:
                raise BrokenPipeError("nobody reads")

        name = f"{kind} {left}" if kind in ("killed", "full", "listener") else kind
        return name, script, on_event

    def is_denied(self, key: str) -> bool:
        """Say whether nobody may ever write this key, here one in seven."""
        return zlib.crc32(f"{self.seed} {key}".encode()) % 7 == 0

    def damage_records(self) -> None:
        """Cut off, empty, spoil or remove a file of the control area."""
        area = self.copy / ".freight"
        files = sorted(path for path in area.rglob("*") if path.is_file())
        if not files:
            return
        path = self.rng.choice(files)
        how = self.rng.choice(["emptied", "halved", "spoiled", "removed"])
        name = str(path.relative_to(self.copy))
        if how == "removed" and "/begun/" in name:
            how = "emptied"  # nothing else tells that a phase has begun until its first batch ends
        # Without its run's record nobody can know what a run has put.
        if how == "removed" and name.startswith(".freight/runs/"):
            self.removed = True
        content = path.read_bytes()
        match how:
            case "emptied":
                path.write_bytes(b"")
            case "halved":
                path.write_bytes(content[: len(content) // 2])
            case "spoiled":
                path.write_bytes(self.rng.randbytes(len(content)))
            case _:
                path.unlink()
        self.counts["records"] += 1
        self.steps.append(f"{name} is {how}")

    def damage_data(self) -> None:
        """Remove a file of the copy, or cut it off."""
        files = sorted(set(data(self.copy)) - set(self.foreign)) if self.copy.exists() else []
        if not files:
            return
        path = self.copy / self.rng.choice(files)
        if self.rng.random() < 0.5 and path.stat().st_size:
            path.write_bytes(path.read_bytes()[:-1])
        else:
            path.unlink()
        self.tampered = True
        self.counts["data"] += 1
        self.steps.append(f"{path.relative_to(self.copy)} is damaged")

    def add_foreign(self) -> None:
        """Put an object of somebody else beside the copy."""
        key = self.rng.choice(sorted(FOREIGN))
        path = self.copy / key
        if not (self.copy / ".freight" / "runs").exists() or path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # something of the copy is in the way
            return
        path.write_bytes(FOREIGN[key])
        self.foreign[key] = FOREIGN[key]
        self.counts["foreign"] += 1
        self.steps.append(f"somebody puts {key}")

    def beside(self) -> None:
        """Run two exports at the same time; one of them may be told to wait."""
        refs = [self.world.go(self.rng.randrange(self.world.states)) for _ in range(2)]
        options = [self.options() | {"on_existing": "merge"} for _ in refs]
        ends: list[str] = []

        def take(ref: str, chosen: dict[str, Any]) -> None:
            try:
                report = self.run(self.world.source, self.copy, ref=ref, settle_s=0, **chosen)
                ends.append(report.marker)
            except FreightError as error:
                ends.append(f"{type(error).__name__}: {str(error)[:80]}")

        threads = [
            threading.Thread(target=take, args=some) for some in zip(refs, options, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.counts["beside"] += 1
        self.merged()
        self.steps.append(f"side by side {refs} {options} -> {ends}")
        if any("SUCCESS" in end for end in ends) and all(o["verify"] != "none" for o in options):
            self.tampered = False

    def processes(self) -> None:
        """Run the command twice at the same time; one of them is killed at any moment."""
        commands = []
        for _ in range(2):
            ref, options = self.world.go(self.rng.randrange(self.world.states)), self.options()
            commands.append(self.command(ref, options))
        running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in commands
        ]
        time.sleep(self.rng.uniform(0.3, 2.0))
        running[0].kill()
        ends = [process.wait() for process in running]
        self.counts["processes"] += 1
        self.merged()
        self.steps.append(f"killed {commands[0][2:]} beside {commands[1][2:]} -> {ends}")
        # What was damaged before stays so where nobody looked.
        self.tampered = self.tampered and (ends[1] != 0 or "none" in commands[1])

    def is_of_lost_records(self, error: Exception) -> bool:
        """All that said whose some objects are is gone: we cannot be told from somebody else."""
        named = any(text in str(error) for text in (UNACCOUNTED, TAKEN))
        named = named or IN_THE_WAY.search(str(error)) is not None
        return named and self.counts["records"] > 0

    def merged(self) -> None:
        """Take note that whatever no record accounts for was said to be somebody's."""
        self.removed = self.removed or bool(self.counts["records"])

    def command(self, ref: str, options: dict[str, Any]) -> list[str]:
        """Return the command line of an export."""
        command = [FREIGHT, "export", self.world.source, str(self.copy), "--ref", ref]
        for name in ("format", "verify", "concurrency"):
            command += [f"--{name}", str(options[name])]
        if options["from_ref"]:
            command += ["--from-ref", options["from_ref"]]
        for pattern in options["rounds"]:
            command += ["--round", pattern]
        for name in ("include", "exclude"):
            command += [f"--{name}={pattern}" for pattern in options.get(name, ())]
        return [*command, "--retry-for", "0", "--on-existing", "merge"]

    def end(self) -> None:
        """Export once more, and verify; where the records are beyond reading, as told without."""
        ref = self.world.go(self.rng.randrange(self.world.states))
        options: dict[str, Any] = {"format": self.world.format, "verify": "checksums"}
        options |= SELECTIONS[self.selection]
        for choice in ("refuse", "replace", "merge"):
            try:
                options["on_existing"] = choice
                self.run(self.world.source, self.copy, ref=ref, settle_s=0, **options)
                break
            except (InputError, IncompleteError) as error:
                self.steps.append(f"last export -> {error}")
                if IN_THE_WAY.search(str(error)) and self.counts["records"]:
                    self.unmended = True  # named, and nobody can know whose it is
                    return
                named = isinstance(error, InputError) or self.is_of_lost_records(error)
                if choice == "merge" or not named:
                    raise
                self.removed = True
        self.tampered = self.replacing = False
        found = verify(self.copy, source=self.world.source)
        if not found.differences.whole:
            self.find(f"verify says: {found.differences.lines()}")


def _difference(lies: dict[str, bytes], expected: dict[str, bytes]) -> str:
    missing = sorted(set(expected) - set(lies))
    more = sorted(set(lies) - set(expected))
    wrong = sorted(key for key in set(lies) & set(expected) if lies[key] != expected[key])
    return f"missing {missing[:5]}, too many {more[:5]}, wrong {wrong[:5]}"


def walk(seed: int, run: Run = RUNNERS["plain"], *, with_processes: bool = False) -> Walk:
    """Take one walk, in a folder of its own that goes again."""
    folder = Path(tempfile.mkdtemp(prefix="walk-"))
    try:
        one = Walk(seed, folder, run, with_processes=with_processes)
        one.go()
        return one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def walks(
    seed: int, seconds: float, run: Run = RUNNERS["plain"], *, with_processes: bool = False
) -> tuple[int, Counter[str], list[str]]:
    """Walk until the time is over; return how many walks, what they met, and what they found."""
    began, number = time.monotonic(), 0
    counts: Counter[str] = Counter()
    findings: list[str] = []
    while time.monotonic() - began < seconds:
        one = walk(seed * 100_000 + number, run, with_processes=with_processes)
        number += 1
        counts += one.counts
        findings += one.findings
    return number, counts, findings


if __name__ == "__main__":
    done, met, found = walks(int(sys.argv[1]), float(sys.argv[2]), with_processes=True)
    sys.stdout.write("\n\n".join([*found, f"{done} walks, {dict(met)}, {len(found)} findings\n"]))
