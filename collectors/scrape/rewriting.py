"""Expositions as a job's rules want them, before they go on the bus.

What becomes of a series is found out once and remembered for as long as its target exposes it, by
the hash of its bytes; an exposition whose series are all known costs no more than a few walks over
arrays. Only the lines that change are touched: all else, comments included, stays as it came.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from collectors.scrape.fetch import FetchFailed
from collectors.scrape.metric_rules import MetricRules, Verdict
from collectors.scrape.series import Lines, Truths
from pipeline.decode.kernels.kernel import Ints, Words

_KEPT: Final = -1
_DROPPED: Final = -2

_PACKING_LEVEL: Final = 1

_OWN_TIME: Final = re.compile(rb"([ \t]*\S+)[ \t]+[^\s#]\S*")
_NOTE: Final = re.compile(rb'^# (TYPE|UNIT) ("(?:[^"\\\n]|\\.)*"|\S+) ([^\n]*)$', re.MULTILINE)
_SUFFIX: Final = re.compile("_(?:bucket|sum|count|created|total|gsum|gcount|info)$")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An exposition after the rules.

    Attributes:
        body: its text.
        twice: how many were left out since rules made them equal to one before them.
    """

    body: bytes
    twice: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What becomes of the series of the last scrape, in the order of their hashes.

    Attributes:
        hashes: of each series, ascending.
        choices: ``_KEPT``, ``_DROPPED``, or which of the texts stands for it.
        keys: equal where two series are the same now.
        texts: the texts, one a line, packed.
        renamed: metrics' names before and after.
    """

    hashes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    choices: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    keys: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    texts: bytes = b""
    renamed: frozenset[tuple[str, str]] = frozenset()

    def unpacked(self) -> list[bytes]:
        """The texts."""
        return zlib.decompress(self.texts).split(b"\n") if self.texts else []


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of each line of an exposition; the same for the next one with the same series.

    Attributes:
        hashes: of the series of each sample, in the order of lines.
        timed: whether it has a time of its own.
        touched: which samples do not stay as they are.
        choices: of these what ``_Known.choices`` says.
        cut: whether their time is taken away.
        twice: how many are left out since they are of a series that was told before.
    """

    hashes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    timed: Truths = field(default_factory=lambda: np.empty(0, np.bool_))
    touched: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    choices: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    cut: Truths = field(default_factory=lambda: np.empty(0, np.bool_))
    twice: int = 0

    def fits(self, lines: Lines) -> bool:
        """Whether these are the lines it was made for."""
        return np.array_equal(self.hashes, lines.hashes) and np.array_equal(self.timed, lines.timed)


class Rewriter:
    """Rewrites what one target exposes, again and again.

    Args:
        rules: what becomes of a series.
        honor_timestamps: whether samples keep times of their own.
        max_bytes: what an exposition may grow to.
    """

    def __init__(self, rules: MetricRules, *, honor_timestamps: bool, max_bytes: int) -> None:
        self._rules = rules
        self._honor_timestamps = honor_timestamps
        self._max_bytes = max_bytes
        self._known = _Known()
        self._plan = _Plan()

    def rewritten(self, body: bytes, lines: Lines) -> Rewritten:
        """An exposition after the rules.

        Args:
            body: its text.
            lines: its samples.

        Raises:
            FetchFailed: rules or limits make the scrape fail, or it has become too large.
        """
        if not self._plan.fits(lines):
            self._learn(body, lines)
            self._plan = self._planned(lines)
        pieces = [*_notes(body, self._known.renamed), *self._pieces(body, lines)]
        size = sum(map(len, pieces))
        if size > self._max_bytes:
            raise FetchFailed(
                f"{size} bytes after metric_relabel_configs, where {self._max_bytes} are allowed",
                reason="too large",
                answered=True,
            )
        return Rewritten(b"".join(pieces), self._plan.twice)

    def _planned(self, lines: Lines) -> _Plan:
        known = self._known
        places = np.searchsorted(known.hashes, lines.hashes)
        choices = known.choices[places]
        cut = lines.timed & (not self._honor_timestamps)
        again = _again(known.keys[places], (choices != _DROPPED) & (~lines.timed | cut))
        choices[again] = _DROPPED
        touched = np.flatnonzero((choices != _KEPT) | cut)
        return _Plan(lines.hashes, lines.timed, touched, choices[touched], cut[touched], len(again))

    def _pieces(self, body: bytes, lines: Lines) -> Iterator[bytes]:
        plan, texts, at = self._plan, self._known.unpacked(), 0
        told = (plan.choices, lines.starts[plan.touched], lines.ends[plan.touched], plan.cut)
        for choice, start, end, cut in zip(*(one.tolist() for one in told), strict=True):
            yield body[at:start]
            at = end
            if choice == _DROPPED:
                at = body.find(b"\n", end) + 1 or len(body)
                continue
            yield body[start:end] if choice == _KEPT else texts[choice]
            if cut and (value := _OWN_TIME.match(body, end)):
                yield value[1]
                at = value.end()
        yield body[at:]

    def _learn(self, body: bytes, lines: Lines) -> None:
        """Find out what becomes of series that are new, and forget those that are gone."""
        before = self._known
        if len(before.renamed) > len(before.hashes):
            before = _Known()  # names of series that are long gone are among them
        present, first = np.unique(lines.hashes, return_index=True)
        new = ~np.isin(present, before.hashes)
        if not new.any():
            return
        texts: list[bytes] = []
        choices = np.empty(len(present), np.int64)
        keys = np.empty(len(present), np.uint64)
        places = np.searchsorted(before.hashes, present[~new])
        choices[~new], keys[~new] = before.choices[places], before.keys[places]
        old, moved = before.unpacked(), np.flatnonzero(~new & (choices >= 0))
        for place in moved.tolist() if old else ():
            texts.append(old[choices[place]])
            choices[place] = len(texts) - 1
        renamed = set(before.renamed) if moved.size else set()
        for place, index in zip(np.flatnonzero(new).tolist(), first[new].tolist(), strict=True):
            series = body[lines.starts[index] : lines.ends[index]]
            verdict = self._rules.verdict(series)
            choices[place] = _choice(verdict, series, texts)
            keys[place] = verdict.key
            if verdict.renamed is not None:
                renamed.add((verdict.name, verdict.renamed))
        packed = zlib.compress(b"\n".join(texts), _PACKING_LEVEL) if texts else b""
        self._known = _Known(present, choices, keys, packed, frozenset(renamed))


def _choice(verdict: Verdict, series: bytes, texts: list[bytes]) -> int:
    if verdict.text is None:
        return _DROPPED
    if verdict.text == series:
        return _KEPT
    texts.append(verdict.text)
    return len(texts) - 1


def _again(keys: Words, told: Truths) -> Ints:
    """Which samples are of a series that was told before: Prometheus takes the first alone."""
    here = np.flatnonzero(told)
    _, first = np.unique(keys[here], return_index=True)
    return np.delete(here, first)


def _notes(body: bytes, renamed: frozenset[tuple[str, str]]) -> Iterator[bytes]:
    """What is noted of metrics, for the names they have now.

    Without a type nobody could tell what kind of metric a new name stands for. A name that the
    exposition notes itself keeps what is noted there.
    """
    if not renamed:
        return
    notes: dict[str, list[tuple[bytes, bytes]]] = {}
    for kind, name, told in _NOTE.findall(body):
        notes.setdefault(name.strip(b'"').decode(errors="replace"), []).append((kind, told))
    done: set[str] = set()
    for before, after in sorted(renamed):
        suffix = "" if before in notes else _suffix(before)
        stem, now = before.removesuffix(suffix), after.removesuffix(suffix)
        if (not suffix or now != after) and now not in notes and now not in done:
            done.add(now)
            for kind, told in notes.get(stem, ()):
                yield b"# %b %b %b\n" % (kind, _noted(now), told)


def _suffix(name: str) -> str:
    found = _SUFFIX.search(name)
    return found[0] if found else ""


def _noted(name: str) -> bytes:
    plain = name.isascii() and name.replace(":", "_").isidentifier()
    return name.encode() if plain else b'"%b"' % name.encode()
