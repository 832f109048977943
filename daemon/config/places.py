"""Where each setting was written: a line of the file, or a variable."""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.config.text import At, Document, Where


@dataclass(frozen=True, slots=True)
class Places:
    """Of a file, and of the variables that override its keys."""

    at: At
    file: Document
    overridden: Mapping[Where, tuple[str, Document]]

    def of(self, where: Where) -> str:
        """The place of a setting; of one that is missing, that of the section around it."""
        for end in range(len(where), 0, -1):
            if where[:end] in self.overridden:
                return f"environment {self.overridden[where[:end]][0]}"
        lines = self.file.lines
        inside = [name for place, (name, _) in self.overridden.items() if place[: len(where)] == where]
        if inside and where not in lines:
            return f"environment {inside[0]}"
        return self.at(next((lines[where[:end]] for end in range(len(where), 0, -1) if where[:end] in lines), 1))

    def written(self, where: Where) -> str | None:
        """How a value that is not text was written, for example 07; None for text."""
        for end in range(len(where), 0, -1):
            if where[:end] in self.overridden:
                return self.overridden[where[:end]][1].written.get(where[end:])
        return self.file.written.get(where)

    def hold(self, where: Where) -> bool:
        """Whether the setting, or something in it, was written anywhere."""
        return where in self.file.lines or any(place[: len(where)] == where for place in self.overridden)
