"""The last whole pictures of a camera, while they are in memory: for the page, the archive and a snapshot."""

from collections import deque
from dataclasses import dataclass

from camera.messages import Seen
from camera.ring import Ring
from inspection.frame import Frame


@dataclass(frozen=True, slots=True)
class _Shown:
    """A whole picture, with the ring of the child that gave it: a thread may read it while that child ends."""

    ring: Ring
    number: int
    seen: Seen


class RecentPictures:
    """At most `most` pictures. Read from any thread: a reader gets a copy or None, and holds nobody up."""

    def __init__(self, camera: str, most: int) -> None:
        self._camera = camera
        self._shown: deque[_Shown] = deque(maxlen=most)

    def add(self, ring: Ring, number: int, seen: Seen) -> None:
        """A picture that lies in `ring`; `number` counts through all lives of the camera's process."""
        self._shown.append(_Shown(ring, number, seen))

    def clear(self) -> None:
        self._shown.clear()

    def last(self) -> Frame | None:
        """A copy of the last one, fit to be judged or not; None when there is none."""
        shown = tuple(self._shown)  # one step, while another thread adds to it or clears it
        return self._copy(shown[-1]) if shown else None

    def numbered(self, number: int) -> Frame | None:
        """A copy of the one with this number; None where later ones have taken its place."""
        return next((self._copy(shown) for shown in tuple(self._shown) if shown.number == number), None)

    def _copy(self, shown: _Shown) -> Frame | None:
        seen = shown.seen
        pixels = shown.ring.read(seen.place)
        if pixels is None:
            return None
        pixels.flags.writeable = False
        return Frame(self._camera, shown.number, pixels, seen.captured, seen.bit_depth, seen.source, seen.label)
