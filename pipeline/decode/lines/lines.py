"""Lines of text as records: where each lies, and what is told of those that are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.model.decoded import Refusal

REFUSALS_TOLD: Final = 100
"""How many bad lines of a message are told one by one; the rest is told together, by reason."""

_NEWLINE: Final = ord("\n")


class Checked(NamedTuple):
    """What a decoder would do with messages.

    Attributes:
        records: how many records it would take.
        refused: what it would refuse.
    """

    records: int
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class LineFormat:
    """What must be known of a format whose records are lines; each such decoder has one.

    Attributes:
        fits: whether a line, without its end, looks like a record of this format.
        json: whether records are JSON objects, so that a file may hold them in other layouts, too.
        opened: takes off what lines are wrapped into, so that secrets in it can be masked; what is
            not wrapped it answers as it is.
        is_header: whether the first line of a file names the columns of all others.
        check: says what the decoder would do, by the same code and without making columns; where
            there is none the decoder itself is asked.
    """

    fits: Callable[[bytes], bool]
    json: bool = False
    opened: Callable[[bytes], bytes] | None = None
    is_header: Callable[[bytes], bool] | None = None
    check: Callable[[Sequence[bytes]], Checked] | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of messages, without blank ones.

    Attributes:
        buffer: all messages, one after the other.
        slices: where each line is in the buffer, without its end and the spaces around it.
        messages: which message each line is in.
        starts: where in the buffer each message begins.
    """

    buffer: Buffer
    slices: Ints
    messages: Ints
    starts: Ints

    def __len__(self) -> int:
        """How many lines."""
        return len(self.slices)

    def some(self, numbers: Ints) -> "Lines":
        """Some of the lines, by their numbers."""
        return Lines(self.buffer, self.slices[numbers], self.messages[numbers], self.starts)

    def refusals(self, reasons: Sequence[str], numbers: NDArray[np.integer]) -> tuple[Refusal, ...]:
        """What is told of bad lines.

        Args:
            reasons: what may be wrong with a line; the first stands for nothing.
            numbers: of each line the number of its reason; 0 where it is good.
        """
        told: list[Refusal] = []
        bad = np.flatnonzero(numbers)
        owners = self.messages[bad]
        for message in np.unique(owners).tolist():
            told += self._of_message(message, bad[owners == message], reasons, numbers)
        return tuple(told)

    def _of_message(
        self, message: int, bad: Ints, reasons: Sequence[str], numbers: NDArray[np.integer]
    ) -> list[Refusal]:
        offsets = (self.slices[bad] >> OFFSET_BITS) - self.starts[message]
        told = [
            Refusal(message, reasons[number], offset)
            for number, offset in zip(
                numbers[bad[:REFUSALS_TOLD]].tolist(), offsets.tolist(), strict=False
            )
        ]
        rest = numbers[bad[REFUSALS_TOLD:]]
        for number in np.unique(rest).tolist():
            here = np.flatnonzero(rest == number)
            first = int(offsets[REFUSALS_TOLD + here[0]])
            told.append(Refusal(message, reasons[number], first, len(here)))
        return told


def lines_of(messages: Sequence[bytes]) -> Lines:
    """Find the lines of messages; a line never goes on in the next message."""
    sizes = np.array([len(message) + 1 for message in messages], np.int64)
    starts = np.cumsum(sizes) - sizes
    buffer = buffer_of(part for message in messages for part in (message, b"\n"))
    ends = np.flatnonzero(buffer.data[: buffer.size] == _NEWLINE)
    begins = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(ends)]
    slices = np.empty(len(ends), np.int64)
    _trim(buffer, begins, ends, slices)
    told = slices & LENGTH_MASK != 0
    messages_of = np.searchsorted(starts, begins[told], side="right") - 1
    return Lines(buffer, slices[told], messages_of, starts)


@kernel
def _trim(source: Buffer, begins: Ints, ends: Ints, slices: Ints) -> None:
    """Leave out spaces, tabs and carriage returns around each line."""
    for index in range(len(begins)):
        begin, end = begins[index], ends[index]
        while begin < end and _is_blank(source.data[begin]):
            begin += 1
        while begin < end and _is_blank(source.data[end - 1]):
            end -= 1
        slices[index] = begin << OFFSET_BITS | (end - begin)


@kernel
def _is_blank(byte: int) -> bool:
    return byte in (0x20, 0x09, 0x0D)
