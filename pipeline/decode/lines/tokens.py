"""Lines of text to tokens: words between spaces, and what stands in quotes or brackets as one."""

from typing import NamedTuple

import numpy as np

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.lines.lines import Lines

_SPACE, _TAB, _QUOTE, _BACKSLASH, _OPEN, _CLOSE = 0x20, 0x09, 0x22, 0x5C, 0x5B, 0x5D
_DASH, _SLASH, _COLON, _QUESTION, _HASH = 0x2D, 0x2F, 0x3A, 0x3F, 0x23


class Tokens(NamedTuple):
    """The tokens of lines.

    Attributes:
        cells: of each line where each of its first tokens is, without quotes; ``NOTHING`` where
            there is no token.
        counts: how many tokens each line has; -1 when a quote or bracket is not closed.
    """

    cells: Ints
    counts: Ints


def tokens(
    lines: Lines,
    width: int,
    *,
    bracketed: int = -1,
    greedy: int = -1,
    escaped: bool = False,
    cut: bool = False,
) -> Tokens:
    """Find the tokens of lines.

    A quoted token ends at a quote with a space behind it, or the line's end, since not everybody
    escapes the quotes within.

    Args:
        lines: the lines.
        width: how many tokens are wanted of each.
        bracketed: number of the token that stands in brackets.
        greedy: number of a token that may hold spaces; it ends before the next quoted one.
        escaped: whether a quote with a backslash before it never ends a token.
        cut: whether the last token may lack its closing quote, as in lines that were cut short.
    """
    found = Tokens(np.full((len(lines), width), NOTHING), np.zeros(len(lines), np.int64))
    _tokens(lines.buffer, lines.slices, np.array([bracketed, greedy, escaped, cut]), *found)
    return found


@kernel
def _tokens(source: Buffer, slices: Ints, how: Ints, cells: Ints, counts: Ints) -> None:
    data = source.data
    for line in range(len(slices)):
        at = slices[line] >> OFFSET_BITS
        end = at + (slices[line] & LENGTH_MASK)
        count = 0
        while at < end:
            inside = int(data[at] == _QUOTE or (data[at] == _OPEN and count == how[0]))
            stop = _end(source, at, end, count, how)
            if stop < 0 and how[3] and count == cells.shape[1] - 1:
                stop = end
            if stop < 0:
                count = -1
                break
            if count < cells.shape[1]:
                begin = at + inside
                cells[line, count] = begin << OFFSET_BITS | (stop - begin)
            count += 1
            at = stop + inside
            while at < end and (data[at] == _SPACE or data[at] == _TAB):
                at += 1
        counts[line] = count


@kernel
def _end(source: Buffer, at: int, end: int, count: int, how: Ints) -> int:
    """Where the token that begins at ``at`` ends; -1 when it is not closed."""
    data, (bracketed, greedy, escaped, _) = source.data, how
    if data[at] == _QUOTE:
        return _closed(source, at + 1, end, _QUOTE, escaped)
    if data[at] == _OPEN and count == bracketed:
        return _closed(source, at + 1, end, _CLOSE, 0)
    if count == greedy:
        return _before_quoted(source, at, end)
    while at < end and data[at] != _SPACE and data[at] != _TAB:
        at += 1
    return at


@kernel
def _closed(source: Buffer, at: int, end: int, by: int, escaped: int) -> int:
    """Where the closing byte is; -1 when there is none."""
    data = source.data
    while at < end:
        if escaped and data[at] == _BACKSLASH:
            at += 2
            continue
        if data[at] == by and (at + 1 == end or data[at + 1] in (_SPACE, _TAB)):
            return at
        at += 1
    return -1


@kernel
def _before_quoted(source: Buffer, at: int, end: int) -> int:
    """Where the space before the next quoted token is, or the end."""
    while at < end and not (source.data[at] == _SPACE and source.data[at + 1] == _QUOTE):
        at += 1
    return at


def without_dashes(source: Buffer, cells: Ints) -> Ints:
    """The same slices, ``NOTHING`` where ``-`` or nothing stands."""
    found = np.ascontiguousarray(cells).copy()
    _without_dashes(source, found.reshape(-1))
    return found


@kernel
def _without_dashes(source: Buffer, cells: Ints) -> None:
    for index in range(len(cells)):
        length = cells[index] & LENGTH_MASK
        if length == 0 or (length == 1 and source.data[cells[index] >> OFFSET_BITS] == _DASH):
            cells[index] = NOTHING


class Requests(NamedTuple):
    """The parts of request lines, as slices; ``NOTHING`` where one is not told."""

    method: Ints
    authority: Ints
    path: Ints
    protocol: Ints


def requests(source: Buffer, slices: Ints) -> Requests:
    """Take ``GET http://host:80/path?query HTTP/1.1`` apart; the query is left out."""
    parts = np.full((4, len(slices)), NOTHING)
    _requests(source, np.ascontiguousarray(slices), parts)
    return Requests(*without_dashes(source, parts))


@kernel
def _requests(source: Buffer, slices: Ints, parts: Ints) -> None:
    data = source.data
    for index in range(len(slices)):
        if slices[index] == NOTHING:
            continue
        begin = slices[index] >> OFFSET_BITS
        end = begin + (slices[index] & LENGTH_MASK)
        first, last = begin, end
        while first < end and data[first] != _SPACE:
            first += 1
        while last > first + 1 and data[last - 1] != _SPACE:
            last -= 1
        if first == end:
            continue  # no request line at all, such as a TLS handshake on a port for plain text
        parts[0, index] = begin << OFFSET_BITS | (first - begin)
        if last > first + 1:
            parts[3, index] = last << OFFSET_BITS | (end - last)
            end = last - 1
        _target(source, min(first + 1, end), end, parts[1:3], index)


@inlined
def _target(source: Buffer, begin: int, end: int, parts: Ints, index: int) -> None:
    """Split a request target into authority and path."""
    data, path = source.data, begin
    while path < end and data[path] not in (_SLASH, _COLON, _QUESTION):
        path += 1
    if data[path] == _COLON and data[path + 1] == _SLASH and data[path + 2] == _SLASH:
        authority = path + 3
        path = authority
        while path < end and data[path] not in (_SLASH, _QUESTION):
            path += 1
        parts[0, index] = authority << OFFSET_BITS | (max(path, authority) - authority)
        begin = min(path, end)
    parts[1, index] = _before_query(source, begin, end)


@inlined
def _before_query(source: Buffer, begin: int, end: int) -> int:
    stop = begin
    while stop < end and source.data[stop] not in (_QUESTION, _HASH):
        stop += 1
    return begin << OFFSET_BITS | (stop - begin)


def without_queries(source: Buffer, slices: Ints) -> Ints:
    """URLs up to their query or fragment, which may be secret."""
    found = np.ascontiguousarray(slices).copy()
    _without_queries(source, found)
    return found


@kernel
def _without_queries(source: Buffer, slices: Ints) -> None:
    for index in range(len(slices)):
        if slices[index] != NOTHING:
            begin = slices[index] >> OFFSET_BITS
            slices[index] = _before_query(source, begin, begin + (slices[index] & LENGTH_MASK))
