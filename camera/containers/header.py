"""What the header of a picture file promises, in whatever kind of file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """`channels` and `sample_bytes` are those of the pixels that come out.

    `working_bytes` is what decoding takes beside them and beside the file, at most.
    """

    width: int
    height: int
    channels: int
    sample_bytes: int
    working_bytes: int = 0

    @property
    def decoded_bytes(self) -> int:
        return self.width * self.height * self.channels * self.sample_bytes
