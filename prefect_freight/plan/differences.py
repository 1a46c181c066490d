"""What a comparison of a copy found. Pure."""

from dataclasses import dataclass, field

MAX_KEYS_NAMED = 1000


@dataclass(slots=True)
class Differences:
    """How a destination differs from a manifest: how many keys, and the first of them by name."""

    missing: int = 0
    wrong: int = 0
    foreign: int = 0
    missing_keys: list[str] = field(default_factory=list)
    wrong_keys: list[tuple[str, str]] = field(default_factory=list)
    """(key, what was expected and what was found)."""
    foreign_keys: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """All that must be there is there; foreign objects do not count."""
        return not self.missing and not self.wrong

    def lines(self) -> list[str]:
        """Say each difference that keeps the copy from being whole, by name."""
        lines = [f"missing {key}" for key in self.missing_keys]
        lines += [f"wrong {key}: {reason}" for key, reason in self.wrong_keys]
        unnamed = self.missing + self.wrong - len(lines)
        return lines + ([f"and {unnamed} more"] if unnamed else [])

    def add_wrong(self, key: str, reason: str) -> None:
        """Count an object that is not what it should be."""
        self.wrong += 1
        # All are counted, the first are named: of a copy of millions everything may be wrong.
        if len(self.wrong_keys) < MAX_KEYS_NAMED:
            self.wrong_keys.append((key, reason))
