"""Lines of text with pairs ``key=value``, as Rust's tracing and many other loggers write them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.lines.lines import Lines

_SPACE, _TAB, _QUOTE, _BACKSLASH, _EQUALS = 0x20, 0x09, 0x22, 0x5C, 0x3D


class Pairs(NamedTuple):
    """What lines hold.

    Attributes:
        heads: of each line the words before its first pair, without spaces around them.
        cells: of each line the slices of the values wanted; ``NOTHING`` where one is missing.
            Quotes around a value are left out, escapes within stay.
        whole: 1 for each line whose quotes are all closed, else 0.
    """

    heads: Ints
    cells: Ints
    whole: Ints


def pairs(lines: Lines, keys: Sequence[str]) -> Pairs:
    """Find the values of keys; of a key told twice, the last."""
    words = [key.encode() for key in keys]
    found = Pairs(
        np.zeros(len(lines), np.int64),
        np.full((len(lines), len(keys)), NOTHING),
        np.ones(len(lines), np.int64),
    )
    _pairs(lines.buffer, lines.slices, buffer_of(words), slices_of(words), *found)
    return found


@kernel
def _pairs(
    source: Buffer, slices: Ints, text: Buffer, keys: Ints, heads: Ints, cells: Ints, whole: Ints
) -> None:
    data = source.data
    for line in range(len(slices)):
        begin = slices[line] >> OFFSET_BITS
        end = begin + (slices[line] & LENGTH_MASK)
        at, head = begin, -1
        while at < end:
            word = at
            while at < end and data[at] not in (_SPACE, _TAB, _EQUALS, _QUOTE):
                at += 1
            if at < end and data[at] == _EQUALS and at > word:
                head = word if head < 0 else head
                at = _value(source, at + 1, end)
                if at < 0:
                    whole[line] = 0
                    break
                _keep(source, word, at, text, keys, cells[line])
            elif at == word or data[at] not in (_SPACE, _TAB):
                at += 1
            while at < end and data[at] in (_SPACE, _TAB):
                at += 1
        head = end if head < 0 else head
        while head > begin and data[head - 1] in (_SPACE, _TAB):
            head -= 1
        heads[line] = begin << OFFSET_BITS | (head - begin)


@kernel
def _value(source: Buffer, at: int, end: int) -> int:
    """Behind a value; -1 when its quote is not closed."""
    data = source.data
    quoted = at < end and data[at] == _QUOTE
    at += int(quoted)
    while at < end:
        if quoted and data[at] == _BACKSLASH:
            at += 2
            continue
        if quoted and data[at] == _QUOTE:
            return at + 1
        if not quoted and data[at] in (_SPACE, _TAB):
            return at
        at += 1
    return -1 if quoted else end


@inlined
def _keep(source: Buffer, word: int, end: int, text: Buffer, keys: Ints, cells: Ints) -> None:
    for key in range(len(keys)):
        length, known = keys[key] & LENGTH_MASK, keys[key] >> OFFSET_BITS
        if source.data[word + length] != _EQUALS:
            continue
        same = True
        for index in range(length):
            same &= source.data[word + index] == text.data[known + index]
        if same:
            begin = word + length + 1
            quoted = int(source.data[begin] == _QUOTE)
            cells[key] = (begin + quoted) << OFFSET_BITS | (end - begin - 2 * quoted)
            return
