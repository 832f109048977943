"""What a search over recipes tried, left out and chose."""

from dataclasses import dataclass, field
from typing import Any

from training.trials import Choice, Trial


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that was left out, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Search:
    """All that was tried, what was not, and what was taken at each step."""

    folds: int
    trials: list[Trial] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Without times: the same search gives the same bundle."""
        return {
            "folds": self.folds,
            "candidates": [trial.to_json() for trial in self.trials],
            "skipped": [{"name": skipped.name, "why": skipped.why} for skipped in self.skipped],
            "choices": [{"name": choice.trial.name, "why": choice.why} for choice in self.choices],
        }
