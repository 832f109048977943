"""Label values stay few, whatever is counted."""

from collections.abc import Collection

OTHER = "other"


class BoundedLabel:
    """Keeps a label's values few: those known, the first `room` others as they come, then `other`."""

    def __init__(self, known: Collection[str], room: int = 0) -> None:
        self._known = set(known)
        self._room = room

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if self._room and len(value) <= 64:
            self._room -= 1
            self._known.add(value)
            return value
        return OTHER
