"""Lines of text as records: where each lies, and what is told of those that are none.

What a container runtime put before a line is not of the line: a time, and a stream. Nor is a line
that says whose log the others are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.lines.container_lines import content_begin, stamp_end
from pipeline.model.decoded import Refusal
from pipeline.model.pods import POD_PREFIX, ContainerLog

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
        of_pod: whether lines are told by the pod in whose log they are, and may have a line before
            them that says which one it is (``ContainerLog``).
    """

    fits: Callable[[bytes], bool]
    json: bool = False
    opened: Callable[[bytes], bytes] | None = None
    is_header: Callable[[bytes], bool] | None = None
    check: Callable[[Sequence[bytes]], Checked] | None = None
    of_pod: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of messages, without blank ones.

    Attributes:
        buffer: all messages, one after the other.
        slices: where each line is in the buffer, without its end and the spaces around it.
        messages: which message each line is in.
        starts: where in the buffer each message begins.
        stamps: when a container runtime had each line; ``NOTHING`` for lines of others.
        logs: whose logs the lines are in.
        log: of each line which of the logs it is in; -1 where nobody says.
    """

    buffer: Buffer
    slices: Ints
    messages: Ints
    starts: Ints
    stamps: Ints
    logs: Sequence[ContainerLog]
    log: Ints

    def __len__(self) -> int:
        """How many lines."""
        return len(self.slices)

    def some(self, numbers: Ints) -> "Lines":
        """Some of the lines, by their numbers."""
        return replace(
            self,
            slices=self.slices[numbers],
            messages=self.messages[numbers],
            stamps=self.stamps[numbers],
            log=self.log[numbers],
        )

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
    slices, stamps = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    _trim(buffer, begins, ends, slices, stamps)
    told = slices & LENGTH_MASK != 0
    messages_of = np.searchsorted(starts, begins[told], side="right") - 1
    nobody = np.full(len(messages_of), -1)
    lines = Lines(buffer, slices[told], messages_of, starts, stamps[told], (), nobody)
    return _of_logs(lines) if any(POD_PREFIX in message for message in messages) else lines


def _of_logs(lines: Lines) -> Lines:
    """The lines without those that say whose log the others are."""
    view = lines.buffer.data.data
    logs: list[ContainerLog] = []
    heads: list[int] = []
    begins, sizes = lines.slices >> OFFSET_BITS, lines.slices & LENGTH_MASK
    candidates = (lines.buffer.data[begins] == POD_PREFIX[0]) & (lines.stamps == NOTHING)
    for number in np.flatnonzero(candidates).tolist():
        begin = int(begins[number])
        told = ContainerLog.of(view[begin : begin + int(sizes[number])].tobytes())
        if told:
            heads.append(number)
            logs.append(told)
    if not heads:
        return lines
    numbers = np.arange(len(lines))
    log = np.searchsorted(heads, numbers, side="right") - 1
    same = lines.messages[np.array(heads)[log]] == lines.messages
    found = replace(lines, logs=tuple(logs), log=np.where((log >= 0) & same, log, -1))
    return found.some(np.delete(numbers, heads))


@kernel
def _trim(source: Buffer, begins: Ints, ends: Ints, slices: Ints, stamps: Ints) -> None:
    """Leave out what a runtime wrote before each line, and spaces, tabs and returns around it."""
    for index in range(len(begins)):
        begin, end = begins[index], ends[index]
        while begin < end and _is_blank(source.data[begin]):
            begin += 1
        while begin < end and _is_blank(source.data[end - 1]):
            end -= 1
        stamps[index] = NOTHING
        stamp = stamp_end(source, begin, end)
        if stamp >= 0:
            stamps[index] = begin << OFFSET_BITS | (stamp - begin)
            begin = content_begin(source, stamp, end)
            while begin < end and _is_blank(source.data[begin]):
                begin += 1
        slices[index] = begin << OFFSET_BITS | (end - begin)


@kernel
def _is_blank(byte: int) -> bool:
    return byte in (0x20, 0x09, 0x0D)
