"""What a comparison of a copy found. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_KEYS_NAMED = 1000
TAKEN = "not of this copy, and a reader would take it for {what}"


@dataclass(slots=True)
class Differences:
    """How a destination differs from a manifest: how many keys, and the first of them by name."""

    missing: int = 0
    wrong: int = 0
    foreign: int = 0
    taken: int = 0
    """Those of the wrong ones that are not of the copy, though a reader would take them for it."""
    unchecked: int = 0
    """Objects of which nothing recorded a checksum, and which were not compared with the source."""
    missing_keys: list[str] = field(default_factory=list)
    wrong_keys: list[tuple[str, str]] = field(default_factory=list)
    """(key, what was expected and what was found)."""
    foreign_keys: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was not looked at."""

    @property
    def whole(self) -> bool:
        """All that must be there is there; foreign objects that nobody looks for do not count."""
        return not self.missing and not self.wrong

    @property
    def is_only_taken(self) -> bool:
        """The copy is whole, and what disturbs it is not ours: to copy again mends nothing."""
        return not self.missing and 0 < self.wrong == self.taken

    def lines(self) -> list[str]:
        """Say each difference that keeps the copy from being whole, by name."""
        lines = [f"missing {key}" for key in self.missing_keys]
        lines += [f"wrong {key}: {reason}" for key, reason in self.wrong_keys]
        unnamed = self.missing + self.wrong - len(lines)
        return lines + ([f"and {unnamed:,} more"] if unnamed else [])

    def add_wrong(self, key: str, reason: str) -> None:
        """Count an object that is not what it should be."""
        self.wrong += 1
        # All are counted, the first are named: of a copy of millions everything may be wrong.
        if len(self.wrong_keys) < MAX_KEYS_NAMED:
            self.wrong_keys.append((key, reason))

    def add_taken(self, count: int, first: Iterable[tuple[str, str]]) -> None:
        """Count objects that are not of the copy; of the first, key and what it is taken for."""
        self.wrong += count
        self.taken += count
        room = MAX_KEYS_NAMED - len(self.wrong_keys)
        named = [(key, TAKEN.format(what=what)) for key, what in first]
        self.wrong_keys += named[: max(room, 0)]

    def blame_foreign(self) -> None:
        """Count foreign objects as wrong: they may be left of a copy whose records are lost."""
        for key in self.foreign_keys:
            self.add_wrong(key, "no record tells whose it is")
        unnamed = self.foreign - len(self.foreign_keys)
        self.wrong, self.taken = self.wrong + unnamed, self.taken + self.foreign
        self.foreign, self.foreign_keys = 0, []
