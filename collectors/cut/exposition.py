"""Cuts a scraped text into messages, between the series of its metrics.

Whatever is one row stays together: of a histogram and of a summary all that has the same labels.
What must be known to read a series is repeated, its ``# TYPE`` and the like. Who was scraped stands
in front of each message; that the scrape succeeded, how long it took and how many samples it
brought is told once, as samples at the end of the last one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from pipeline.model.scrape import SCRAPE_PREFIX, STALE_PREFIX, Scrape

_EOF: Final = b"# EOF"
_NOTE: Final = re.compile(rb'# (?:TYPE|HELP|UNIT) ("(?:[^"\\]|\\.)*"|\S+)')
_SERIES: Final = re.compile(rb'[ \t]*([^\s{]*)[ \t]*(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?')
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_PLACE: Final = re.compile(rb'(?<!\w)(?:le|quantile)="(?:[^"\\]|\\.)*",?')
_SUFFIX: Final = re.compile(rb"_(?:bucket|sum|count|created|total|gsum|gcount|info)$")

Key = tuple[bytes, bytes]


@dataclass(slots=True)
class _Block:
    """Lines that stay together, and the names whose notes they need."""

    lines: list[bytes] = field(default_factory=list)
    names: dict[bytes, None] = field(default_factory=dict)


def cut_exposition(message: bytes, *, size: int) -> Iterator[bytes]:
    """Messages of at most ``size`` bytes that make the same rows; one series may be larger.

    Args:
        message: a scraped text that passed the door, its line about the scrape in front.
        size: bytes.
    """
    head, body = _head(message)
    notes, blocks, samples, ends = _read(body)
    if head is not None and head.duration_seconds is not None:
        blocks.append(_report(head, samples))
    before = b"" if head is None else replace(head, duration_seconds=None, exposed=None).line()
    after = _EOF + b"\n" if ends else b""
    room = size - len(before) - len(after)
    part: list[bytes] = []
    told: set[bytes] = set()
    filled = 0
    for block in blocks:
        lines = [*_notes(notes, block, told), *block.lines]
        if part and filled + sum(map(len, lines)) > room:
            yield b"".join((before, *part, after))
            part, told, filled = [], set(), 0
            lines = [*_notes(notes, block, told), *block.lines]
        part += lines
        told.update(block.names)
        filled += sum(map(len, lines))
    yield b"".join((before, *part, after))


def _head(message: bytes) -> tuple[Scrape | None, bytes]:
    if not message.startswith(SCRAPE_PREFIX):
        return None, message
    line, _, body = message.partition(b"\n")
    return Scrape.of(line), body


def _read(body: bytes) -> tuple[dict[bytes, list[bytes]], list[_Block], int, bool]:
    """Notes by name, blocks, how many samples there are, and whether the text says that it ends."""
    lines = body.splitlines(keepends=True)
    notes: dict[bytes, list[bytes]] = {}
    for line in lines:
        if note := _NOTE.match(line):
            notes.setdefault(note[1].strip(b'"'), []).append(line)
    blocks: dict[Key, _Block] = {}
    samples = 0
    for line in lines:
        stale = line.startswith(STALE_PREFIX)
        series = line.removeprefix(STALE_PREFIX)
        if not stale and (line.startswith(b"#") or not line.strip()):
            continue
        samples += not stale
        name, key = _place(series, notes)
        block = blocks.setdefault(key, _Block())
        block.lines.append(line)
        block.names[name] = block.names[key[0]] = None
    return notes, list(blocks.values()), samples, any(line.strip() == _EOF for line in lines)


def _place(series: bytes, notes: dict[bytes, list[bytes]]) -> tuple[bytes, Key]:
    """The name of a series, and what it must stay together with.

    What a metric without notes is, only all of its series tell together.
    """
    match = _SERIES.match(series)
    name, labels = (match[1], match[2] or b"") if match else (b"", b"")
    if not name and (quoted := _QUOTED.search(labels)):
        name = quoted[0].strip(b'"')
    stem = _SUFFIX.sub(b"", name)
    noted = name in notes or stem in notes
    return name, (stem, _PLACE.sub(b"", labels).strip(b"{, }") if noted else b"")


def _notes(notes: dict[bytes, list[bytes]], block: _Block, told: set[bytes]) -> Iterator[bytes]:
    for name in block.names:
        if name not in told:
            yield from notes.get(name, ())


def _report(head: Scrape, samples: int) -> _Block:
    """What a decoder makes of the line about the scrape, as samples."""
    told = head.report(samples).items()
    return _Block([f"{name} {value}\n".encode() for name, value in told])
