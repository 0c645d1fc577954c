r"""Lines as container runtimes keep them: what they are wrapped into, and parts put together.

CRI (containerd, CRI-O) writes ``<RFC 3339 time> <stdout or stderr> <F or P> <line>``; a line that
is longer than the runtime's buffer comes in parts, of which all but the last have the tag ``P``.
Docker's json-file writes ``{"log":"<line>\n","stream":"stdout","time":"<time>"}``; a part has no
line feed in its ``log``. Parts of the two streams may alternate.

Lines leave here as CRI writes whole ones: so decoders know one form, and the times are kept. Where
the parts of a line are not all there, those that are make the line. Sources:
kubernetes/kubernetes ``pkg/kubelet/kuberuntime/logs/logs.go``, moby/moby
``daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go``.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.columns import NOTHING, Mask
from pipeline.decode.kernels.kernel import (
    Buffer,
    Bytes,
    Ints,
    buffer_of,
    empty_buffer,
    inlined,
    kernel,
)
from pipeline.decode.kernels.text import OFFSET_BITS, copy
from pipeline.decode.records.record_scan import ESCAPES, MARK_BITS, string_end, unescape

_PARTS: Final = (b'{"log":"', b" stdout P", b" stderr P")
"""What stands in every text that must be opened, and hardly in any other."""
_TAGS: Final = (b" stdout ", b" stderr ")
_STREAMS: Final = b"std"
"""What stands in every wrapped line; to look for one word costs least."""

_SPACE, _NEWLINE, _QUOTE, _RETURN = 0x20, 0x0A, 0x22, 0x0D
_DASH, _COLON, _CLOSE, _T, _P, _F = 0x2D, 0x3A, 0x7D, 0x54, 0x50, 0x46
_STDOUT, _STDERR, _NO_STREAM = 0, 1, -1
_SHORTEST_TIME, _LONGEST_TIME = 20, 64
_STREAM: Final = 6
"""How long the name of a stream is."""

_LOG, _OF_STREAM, _ATTRIBUTES, _TIME, _OUT, _ERR = (
    np.frombuffer(word, np.uint8)
    for word in (b'{"log":"', b',"stream":"', b',"attrs":{', b',"time":"', b"stdout", b"stderr")
)

_WRAPS: Final = np.isin(np.arange(256), list(b"0123456789 \t\r"))
"""With what bytes a line of CRI may begin."""


class _Parts(NamedTuple):
    """Lines as they were found, one value for each.

    Attributes:
        begins: where each begins.
        ends: where each ends, at its line feed.
        stamps: the times; ``NOTHING`` for a line that is wrapped into nothing.
        texts: what was logged; of a line that is wrapped into nothing, that line.
        streams: ``_STDOUT`` or ``_STDERR``, by which parts belong together.
        whole: 1 where the line ends with this part.
    """

    begins: Ints
    ends: Ints
    stamps: Ints
    texts: Ints
    streams: Ints
    whole: Ints


@dataclass(frozen=True, slots=True)
class Opened:
    """Lines without their wrapping, or, where nothing was to be done, as they came.

    Attributes:
        text: the lines; never longer than they came.
        begins: where each begins; empty where nothing was to be done.
        sources: where in what was opened each began.
    """

    text: bytes
    begins: Ints
    sources: Ints

    def source(self, offset: int) -> int:
        """Where in what was opened the line began that this byte of the text is in."""
        if not len(self.begins):
            return offset
        return int(self.sources[max(0, bisect_right(self.begins, offset) - 1)])


def opened(text: bytes) -> Opened:
    """Whole lines of what runtimes wrote; lines of others stay as they are, each where it was.

    A line of parts stands in the place of the first of them, with its time.
    """
    if not _has_parts(text):
        return Opened(text, np.empty(0, np.int64), np.empty(0, np.int64))
    source = _ended(text)
    parts = _parts(source)
    following, begins = np.empty_like(parts.whole), np.empty_like(parts.whole)
    _link(parts, following, np.full(2, -1))
    leads: Mask = np.ones(len(begins), np.bool_)
    leads[following[following >= 0]] = False
    out = empty_buffer(source.size)
    size = _write(source, parts, following, leads, out, begins)
    end = size if text.endswith(b"\n") else size - 1
    found = out.data[:end].tobytes()
    return Opened(found, begins[leads], parts.begins[leads])


def whole_until(text: bytes) -> int:
    """Where the last line ends before which every line is there with all of its parts."""
    end = text.rfind(b"\n") + 1
    if not end or not _has_parts(text):
        return end
    return int(_closed(_parts(_ended(text[:end])), np.full(2, 1)))


def bare(text: bytes) -> bytes:
    """The text without what CRI puts before each line, as long as it was: spaces are behind it."""
    if not (_begins_wrapped(text) and any(tag in text for tag in _TAGS)):
        return text
    source = _ended(text)
    begins, ends = _bounds(source)
    _move(source, begins, ends)
    return source.data[: len(text)].tobytes()


def _has_parts(text: bytes) -> bool:
    return _begins_wrapped(text) and any(sign in text for sign in _PARTS)


def _begins_wrapped(text: bytes) -> bool:
    """Whether a line begins as one that is wrapped may: with a digit, with ``{"l``, with spaces.

    Most JSON lines do not, and to look at their beginnings only costs a third of looking for words.
    """
    data = np.frombuffer(text + b"\n\n\n", np.uint8)
    begins = np.concatenate((np.zeros(1, np.int64), np.flatnonzero(data[:-3] == _NEWLINE) + 1))
    first = data[begins]
    log = (first == _LOG[0]) & (data[begins + 2] == _LOG[2])
    return bool((_WRAPS[first] | log).any()) and _STREAMS in text


def _ended(text: bytes) -> Buffer:
    """The text, with a line feed at its end."""
    return buffer_of([text] if text.endswith(b"\n") else [text, b"\n"])


def _bounds(source: Buffer) -> tuple[Ints, Ints]:
    """Where lines begin and end, of a text that ends with a line feed."""
    ends = np.flatnonzero(source.data[: source.size] == _NEWLINE)
    return np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)), ends


def _parts(source: Buffer) -> _Parts:
    begins, ends = _bounds(source)
    parts = _Parts(begins, ends, *(np.empty(len(ends), np.int64) for _ in range(4)))
    _read(source, parts)
    return parts


@kernel
def stamp_end(source: Buffer, begin: int, end: int) -> int:
    """Where the time ends that a line as CRI has it begins with; -1 when it is none."""
    stamp = _time_end(source, begin, end)
    if stamp < 0 or stamp + _STREAM + 3 > end or _stream(source, stamp + 1) == _NO_STREAM:
        return -1
    tag = stamp + _STREAM + 2
    if source.data[tag - 1] != _SPACE or source.data[tag] not in (_F, _P):
        return -1
    alone = tag + 1 == end or source.data[tag + 1] in (_SPACE, _COLON)
    return stamp if alone else -1


@kernel
def content_begin(source: Buffer, stamp: int, end: int) -> int:
    """Where what was logged begins, in a line whose time ends at ``stamp``."""
    at = stamp + _STREAM + 2
    while at < end and source.data[at] != _SPACE:
        at += 1
    return min(at + 1, end)


@kernel
def _time_end(source: Buffer, begin: int, end: int) -> int:
    """Behind what looks like a time; -1 when there is none."""
    if end - begin < _SHORTEST_TIME:
        return -1
    if source.data[begin + 4] != _DASH or source.data[begin + 10] != _T:
        return -1
    at = begin
    while at < end and _SPACE < source.data[at] < 0x7F and source.data[at] != _QUOTE:
        at += 1
    return int(at) if _SHORTEST_TIME <= at - begin <= _LONGEST_TIME else -1


@inlined
def _is_word(source: Buffer, at: int, word: Bytes) -> bool:
    same = True
    for index in range(len(word)):
        same &= source.data[at + index] == word[index]
    return same


@inlined
def _stream(source: Buffer, at: int) -> int:
    if _is_word(source, at, _OUT):
        return _STDOUT
    return _STDERR if _is_word(source, at, _ERR) else _NO_STREAM


@kernel
def _read(source: Buffer, parts: _Parts) -> None:
    """Find of each line what was logged."""
    for line in range(len(parts.ends)):
        begin, end = parts.begins[line], parts.ends[line]
        stamp = stamp_end(source, begin, end)
        if stamp >= 0:
            text = content_begin(source, stamp, end)
            parts.stamps[line] = begin << OFFSET_BITS | (stamp - begin)
            parts.texts[line] = text << OFFSET_BITS | (end - text)
            parts.streams[line] = _stream(source, stamp + 1)
            parts.whole[line] = int(source.data[stamp + _STREAM + 2] == _F)
        elif not _docker(source, begin, end, parts, line):
            parts.stamps[line] = NOTHING
            parts.texts[line] = begin << OFFSET_BITS | (end - begin)
            parts.streams[line] = _NO_STREAM
            parts.whole[line] = 1


@kernel
def _docker(source: Buffer, begin: int, end: int, parts: _Parts, line: int) -> bool:
    """Read a line of Docker's json-file, its text unescaped in place; whether it is one."""
    while end > begin and source.data[end - 1] in (_SPACE, _RETURN):
        end -= 1
    if not _is_word(source, begin, _LOG):
        return False
    text = begin + len(_LOG)
    found = string_end(source, text, end)
    quote = found >> MARK_BITS
    stream = quote + 1 + len(_OF_STREAM)
    if found < 0 or not _is_word(source, quote + 1, _OF_STREAM):
        return False
    told = _stream(source, stream)
    stamp = _docker_stamp(source, stream + _STREAM, end)
    if told == _NO_STREAM or stamp < 0:
        return False
    length = unescape(source, text, quote) if found & ESCAPES else quote - text
    whole = length > 0 and source.data[text + length - 1] == _NEWLINE
    length -= int(whole)
    for at in range(text, text + length):
        if source.data[at] == _NEWLINE:
            source.data[at] = _SPACE  # no runtime writes this; a line is one line
    parts.stamps[line] = stamp << OFFSET_BITS | (end - 2 - stamp)
    parts.texts[line] = text << OFFSET_BITS | length
    parts.streams[line] = told
    parts.whole[line] = int(whole)
    return True


@kernel
def _docker_stamp(source: Buffer, at: int, end: int) -> int:
    """Where the time begins, the last member of a line; -1 when the line is none of Docker's.

    Between the stream, whose closing quote is at ``at``, and the time there may be ``attrs``.
    """
    data = source.data
    if at + len(_TIME) + 3 > end or data[at] != _QUOTE:
        return -1
    if data[end - 1] != _CLOSE or data[end - 2] != _QUOTE:
        return -1
    begin = end - 2
    while begin > at and data[begin - 1] != _QUOTE:
        begin -= 1
    before = begin - len(_TIME)
    if before < at + 1 or not _is_word(source, before, _TIME):
        return -1
    if _time_end(source, begin, end - 2) != end - 2:
        return -1
    attributes = _is_word(source, at + 1, _ATTRIBUTES) and data[before - 1] == _CLOSE
    return int(begin) if before == at + 1 or attributes else -1


@kernel
def _link(parts: _Parts, following: Ints, open_: Ints) -> None:
    """Say of each part which one follows it in its line; -1 none. ``open_`` has one each stream."""
    for line in range(len(parts.whole)):
        following[line] = -1
        stream = parts.streams[line]
        if stream == _NO_STREAM:
            continue
        if open_[stream] >= 0:
            following[open_[stream]] = line
        open_[stream] = -1 if parts.whole[line] else line


@kernel
def _closed(parts: _Parts, closed: Ints) -> int:
    """Behind the last line at which no stream has a line under way."""
    until = 0
    for line in range(len(parts.whole)):
        if parts.streams[line] != _NO_STREAM:
            closed[parts.streams[line]] = parts.whole[line]
        if closed[_STDOUT] and closed[_STDERR]:
            until = parts.ends[line] + 1
    return until


@kernel
def _write(
    source: Buffer, parts: _Parts, following: Ints, leads: Mask, out: Buffer, begins: Ints
) -> int:
    """Write all lines, one after the other; returns how many bytes they are."""
    at = 0
    for line in range(len(leads)):
        if not leads[line]:
            continue
        begins[line] = at
        if parts.stamps[line] != NOTHING:
            at = copy(source, parts.stamps[line], out, at)
            at = _write_tag(_OUT if parts.streams[line] == _STDOUT else _ERR, out, at)
        part = line
        while part >= 0:
            at = copy(source, parts.texts[part], out, at)
            part = following[part]
        out.data[at] = _NEWLINE
        at += 1
    return at


@inlined
def _write_tag(stream: Bytes, out: Buffer, at: int) -> int:
    out.data[at] = _SPACE
    for index in range(len(stream)):
        out.data[at + 1 + index] = stream[index]
    after = at + 1 + len(stream)
    out.data[after] = _SPACE
    out.data[after + 1] = _F
    out.data[after + 2] = _SPACE
    return after + 3


@kernel
def _move(source: Buffer, begins: Ints, ends: Ints) -> None:
    """Put what was logged where its line begins, and spaces behind it."""
    for line in range(len(ends)):
        begin, end = begins[line], ends[line]
        stamp = stamp_end(source, begin, end)
        if stamp < 0:
            continue
        behind = begin
        for at in range(content_begin(source, stamp, end), end):
            source.data[behind] = source.data[at]
            behind += 1
        source.data[behind:end] = _SPACE
