"""Bytes of a broker become whole packets of bounded size, wherever they are cut."""

import random

import pytest

from transport.mqtt.packets import PacketError, Packets

PING = b"\xd0\x00"


def length(size: int) -> bytes:
    encoded = bytearray()
    while True:
        size, digit = divmod(size, 128)
        encoded.append(digit | (128 if size else 0))
        if not size:
            return bytes(encoded)


def packet(body: bytes, first: int = 0x32) -> bytes:
    return bytes((first,)) + length(len(body)) + body


def read(data: bytes, most: int, seed: int = 0, limit: int = 1000) -> tuple[list[bytes], list[int]]:
    chance, cut = random.Random(seed), list[int]()
    packets, found = Packets(limit, cut.append), []
    while data:
        size = chance.randint(1, most)
        packets.feed(data[:size])
        data = data[size:]
        while packets:
            found.append(packets.pop())
    return found, cut


@pytest.mark.parametrize("most", [1, 3, 200, 100_000])
def test_packets_are_the_same_however_they_arrive(most: int) -> None:
    sent = [PING, packet(b"a" * 127), packet(b"b" * 128), packet(b"c" * 1000), packet(b""), PING]
    assert read(b"".join(sent), most) == (sent, [])


@pytest.mark.parametrize("most", [1, 7, 5000])
@pytest.mark.parametrize("size", [1001, 20_000, 300_000])
def test_a_message_that_is_too_large_is_cut_and_the_next_packet_is_whole(most: int, size: int) -> None:
    sent = packet(b"a" * 10) + packet(b"t" * size) + PING
    assert read(sent, most) == ([packet(b"a" * 10), packet(b"t" * 1000), PING], [size])


def test_memory_does_not_grow_with_the_size_of_a_message() -> None:
    packets = Packets(1000, lambda _: None)
    packets.feed(b"\x32" + length(200_000_000))
    for _ in range(3000):
        packets.feed(b"x" * 65_536)
        assert len(packets._buffer) <= 1000 + 65_536 + 5
    packets.feed(b"x" * (200_000_000 - 3000 * 65_536) + PING)
    assert [packets.pop() for _ in range(len(packets))][-1] == PING


@pytest.mark.parametrize("data", [b"\x32\xff\xff\xff\xff\x01", b"\x90" + length(1001), b"\x20\xff\xff\xff\x7f"])
def test_what_is_no_packet_ends_the_connection(data: bytes) -> None:
    with pytest.raises(PacketError):
        Packets(1000, lambda _: None).feed(data + b"x" * 2000)
