"""What becomes of a station's own publishes: which of them the broker refuses, and whether a verdict was taken."""

import asyncio
import logging
from collections import OrderedDict

from inspection import clock
from inspection.probe import SILENT, Probe
from inspection.repeats import RepeatedTrouble

Told = asyncio.Future[bool | None]
"""Whether the broker took a verdict; None where it did not say so in time."""

log = logging.getLogger(__name__)

TOPICS = ("verdict", "state", "heartbeat", "refused", "command_result", "response")
"""What the broker may refuse; `response` stands for the topics that PLCs name."""
OBSTACLES = ("verdict", "state", "heartbeat")
"""Without these no PLC can be served. The others are refused alone: a stranger's response topic stops no station."""

ACK_WAIT_S = 1.0
TRY_AGAIN_S = 60.0
_REMEMBERED = 4096


class Publishes:
    """The QoS 1 publishes of one station that the broker has yet to answer, and what it refused.

    MQTT 3.1.1 has no refusal: there a publish that the broker's access list forbids looks like one that was taken.
    """

    def __init__(self, station: str, probe: Probe = SILENT) -> None:
        self._station, self._probe = station, probe
        self._sent: dict[int, tuple[str, Told | None]] = {}
        self._told: OrderedDict[int, Told] = OrderedDict()
        self._refused: dict[str, float] = {}
        self._troubles = {topic: RepeatedTrouble(log, f"{station}: the broker refuses {topic}") for topic in TOPICS}

    @property
    def obstacle(self) -> str:
        """The topic for whose sake the station is not ready; empty for none.

        A verdict is published only for a part, and a PLC that sees the station not ready sends no trigger. So after a
        minute its refusal is forgotten until the next one.
        """
        for topic in OBSTACLES:
            since = self._refused.get(topic)
            if since is not None and (topic != "verdict" or clock.monotonic() - since < TRY_AGAIN_S):
                return topic
        return ""

    def sent(self, mid: int, topic: str) -> None:
        """Something was published on one of TOPICS."""
        self._sent[mid] = (topic, None)

    def verdict_sent(self, mid: int, seq: int) -> None:
        """The verdict of a part was published; `told` knows within a second what became of it."""
        loop = asyncio.get_running_loop()
        told: Told = loop.create_future()
        self._sent[mid], self._told[seq] = ("verdict", told), told
        loop.call_later(ACK_WAIT_S, _resolve, told, None)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    def told(self, seq: int) -> Told | None:
        """Whether the broker took the verdict of this part: None as a result where it did not say so in time."""
        return self._told.pop(seq, None)

    def answered(self, mid: int, refusal: str) -> None:
        """The broker has acknowledged a publish; `refusal` is empty where it took it."""
        topic, told = self._sent.pop(mid, ("", None))
        if not topic:
            return
        if told is not None:
            _resolve(told, not refusal)
        if refusal:
            self.refused(topic, f"{refusal}; allow the user to publish there")
        else:
            self._refused.pop(topic, None)
            self._troubles[topic].over()

    def refused(self, topic: str, why: str) -> None:
        """The broker does not take what is published on one of TOPICS."""
        self._refused[topic] = clock.monotonic()
        self._probe.publish_refused(self._station, topic)
        self._troubles[topic].occurred(why)

    def lost(self) -> None:
        """The connection has ended: what the broker has not acknowledged it may have taken or not."""
        for _, told in self._sent.values():
            if told is not None:
                _resolve(told, None)
        self._sent.clear()
        self._refused.clear()


def _resolve(told: Told, taken: bool | None) -> None:
    if not told.done():
        told.set_result(taken)
