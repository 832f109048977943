"""Whether the pictures of an open camera can be judged at all: a damaged one costs a part, several the station.

A camera that comes back with another size, another pixel format or another field of view gives pictures, and none of
them can be judged. A station that called itself ready all the while would reject every part without a word.
"""

import logging

from inspection.repeats import RepeatedTrouble
from inspection.verdict import Reason

BAD_IN_A_ROW = 5
"""Pictures, one behind the other, of which none could be judged."""


class Usable:
    """`problem` says why no picture can be judged; empty while they can, or while nothing is known."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        """`what` begins each line in the log."""
        self.problem = ""
        self._bad = 0
        self._of_watched = False
        self._trouble = RepeatedTrouble(log, what)

    def opened(self) -> None:
        """The camera was opened anew, perhaps in another way: until a picture shows that it was not, it is believed."""
        self._bad = BAD_IN_A_ROW - 1 if self.problem else 0
        self.problem = ""

    def good(self) -> None:
        """A picture made crops."""
        self._bad = 0
        self.problem = ""
        self._trouble.over()

    def bad(self, why: str) -> None:
        """A picture for a part is damaged, has another size, or makes no crop."""
        self._of_watched = False
        self._count(why)

    def watched(self, why: str) -> None:
        """What is wrong with a picture of a stream that nobody asked for; empty where nothing is, as far as is seen.

        Nobody made a crop of it, so it takes back only what such pictures told.
        """
        if why:
            self._of_watched = True
            self._count(why)
        elif self._of_watched:
            self.good()

    def _count(self, why: str) -> None:
        self._bad += 1
        if self._bad >= BAD_IN_A_ROW:
            self.problem = why
            self._trouble.occurred(f"{why}; the station is not ready until a picture can be judged")


def in_words(reason: Reason, detail: str) -> str:
    return f"{reason}: {detail}" if detail else reason
