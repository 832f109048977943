"""A record says of its verdict what the broker has said."""

import asyncio

import pytest

from daemon.recorder import Recorder
from inspection import clock
from inspection.part import Part, PartId
from inspection.record import Record
from inspection.verdict import Outcome, Reason, Verdict


class Around:
    """The link and the records of one station."""

    def __init__(self) -> None:
        self.kept_: list[tuple[int, bool | None]] = []
        self.answers: dict[int, asyncio.Future[bool | None]] = {}

    def told(self, verdict: Verdict) -> "asyncio.Future[bool | None] | None":
        return self.answers.get(verdict.part.seq)

    def sent(self, seq: int) -> "asyncio.Future[bool | None]":
        answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self.answers[seq] = answer
        return answer

    def keep(self, record: Record, topic: str) -> None:
        self.kept_.append((record.verdict.part.seq, record.said))

    async def kept(self, record: Record, topic: str) -> None:
        self.keep(record, topic)


def record(seq: int, *, said: bool | None) -> Record:
    now = clock.monotonic()
    part = Part("s", PartId(str(seq)), seq, now, now + 1)
    verdict = Verdict(part, Outcome.PASS, Reason.SCORE, 0.1, now)
    return Record(f"r-{seq}", "session", verdict, (), clock.utc(), said)


@pytest.mark.parametrize("answer", [True, False, None])
async def test_a_record_says_what_the_broker_made_of_its_verdict(answer: bool | None) -> None:
    around = Around()
    recorder = Recorder(around, around, "topic")
    told = around.sent(1)
    recorder.keep(record(1, said=True))
    assert around.kept_ == []
    told.set_result(answer)
    await recorder.close()
    assert around.kept_ == [(1, answer)]


async def test_a_verdict_that_was_not_sent_was_not_said_and_records_keep_their_order() -> None:
    around = Around()
    recorder = Recorder(around, around, "topic")
    first, third = around.sent(1), around.sent(3)
    for seq, said in ((1, True), (2, False), (3, True), (4, None)):
        recorder.keep(record(seq, said=said))
    third.set_result(True)
    await asyncio.sleep(0)
    assert around.kept_ == []
    first.set_result(False)
    await recorder.close()
    assert around.kept_ == [(1, False), (2, False), (3, True), (4, None)]


async def test_a_verdict_that_the_link_has_forgotten_is_unknown_and_never_said() -> None:
    around = Around()
    Recorder(around, around, "topic").keep(record(1, said=True))
    assert around.kept_ == [(1, None)]
