"""Formats whose lines are flat JSON objects: declared once, read fast where lines are simple."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING, numbers as as_numbers, texts, times
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.slice_objects import objects_of
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.json_lines import NOT_AN_OBJECT, NOT_JSON, JsonColumns, parsed
from pipeline.decode.lines.json_walk import Members, members_of, walk
from pipeline.decode.lines.line_times import times_of
from pipeline.decode.lines.lines import Checked, Lines, lines_of
from pipeline.decode.lines.text_values import Values, of_texts, whole_numbers

REASONS: Final = ("", NOT_JSON, NOT_AN_OBJECT, "a number that is none, or out of range")
"""What may be wrong with a line, by number."""

BAD_NUMBER: Final = 3
_BAD_TIME: Final = len(REASONS)


@dataclass(frozen=True, slots=True)
class Read:
    """Lines as columns, one value for each line, good or bad.

    Attributes:
        fields: columns by name.
        attributes: JSON objects of what has no column; null where nothing is left.
        bad: number of the reason out of ``REASONS`` for which a line is to be set aside.
    """

    fields: Mapping[str, pa.Array]
    attributes: pa.Array
    bad: NDArray[np.uint8]


@dataclass(frozen=True)
class FlatJson:
    """A format whose lines are flat JSON objects.

    Attributes:
        texts: members that are texts.
        numbers: members that are whole numbers, also in strings, and the largest taken.
        attributes: members without a column, and the names they are kept by; what is not named
            anywhere is kept by its own name.
        spellings: other ways in which members are written.
        canonical: the name of a member however it is written.
        urls: members that hold URLs: what follows the path may be secret and is left out.
        time: the one of the texts that is the time of a line, if one alone is.
    """

    texts: Sequence[str]
    numbers: Mapping[str, int]
    attributes: Mapping[str, str]
    spellings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    canonical: Callable[[str], str] = str
    urls: frozenset[str] = frozenset()
    time: str = ""

    @cached_property
    def _members(self) -> Members:
        names = (*self.texts, *self.numbers, *self.attributes)
        digits = (*self.texts, *self.numbers)
        return members_of({name: (name, *self.spellings.get(name, ())) for name in names}, digits)

    def read(self, lines: Lines) -> Read:
        """Read lines into columns."""
        walked = walk(lines, self._members)
        if walked.simple.all():
            return self._simple(lines, walked.cells)
        simple, other = np.flatnonzero(walked.simple), np.flatnonzero(~walked.simple)
        return merged(
            (
                self._simple(lines.some(simple), walked.cells[simple]),
                self._parsed(lines.some(other)),
            ),
            np.argsort(np.concatenate((simple, other))),
        )

    def told(self, lines: Lines) -> Told:
        """What lines tell, each at its ``time``."""
        read = self.read(lines)
        began = times_of(lines, *of_texts(read.fields[self.time]))
        bad = _with_times(read.bad, began)
        refused = lines.refusals(self._reasons, bad)
        return Told(times(began.values), read.fields, read.attributes, bad, refused, lines)

    def check(self, messages: Sequence[bytes]) -> Checked:
        """How many lines ``told`` finds good, and what is told of the others; makes no columns."""
        lines = lines_of(messages)
        walked = walk(lines, self._members)
        slices = self._slices(walked.cells)
        _, wrong = self._numbers(lines, slices)
        bad = _with_times(_bad_numbers(wrong), times_of(lines, lines.buffer, slices[self.time]))
        other = np.flatnonzero(~walked.simple)
        if len(other):
            others = lines.some(other)
            read = self._parsed(others)
            began = times_of(others, *of_texts(read.fields[self.time]))
            bad[other] = _with_times(read.bad, began)
        return Checked(int((bad == 0).sum()), lines.refusals(self._reasons, bad))

    @property
    def _reasons(self) -> Sequence[str]:
        return (*REASONS, f"{self.time} is not an RFC 3339 time")

    def _slices(self, cells: Ints) -> Mapping[str, Ints]:
        names = (*self.texts, *self.numbers, *self.attributes)
        return dict(zip(names, np.ascontiguousarray(cells.T), strict=True))

    def _numbers(
        self, lines: Lines, slices: Mapping[str, Ints]
    ) -> tuple[Mapping[str, Values], NDArray[np.bool_]]:
        """The numbers of simple lines, and which lines have one that is wrong."""
        found: dict[str, Values] = {}
        wrong = np.zeros(len(lines), np.bool_)
        for name, most in self.numbers.items():
            read = whole_numbers(lines.buffer, slices[name])
            found[name] = Values(read.values, read.good & (read.values <= most))
            wrong |= (slices[name] != NOTHING) & ~found[name].good
        return found, wrong

    def _simple(self, lines: Lines, cells: Ints) -> Read:
        slices = self._slices(cells)
        columns = {name: texts(lines.buffer, slices[name]) for name in self.texts}
        found, wrong = self._numbers(lines, slices)
        for name, read in found.items():
            columns[name] = as_numbers(read.values, pa.int64(), read.good)
        kept = {known: slices[name] for name, known in self.attributes.items()}
        attributes = objects_of(lines.buffer, kept) if kept else pa.nulls(len(cells), pa.string())
        return Read(columns, attributes, _bad_numbers(wrong))

    def _parsed(self, lines: Lines) -> Read:
        """The same of lines that need a parser."""
        read = parsed(lines)
        objects: list[Mapping[str, object]] = [{}] * len(lines)
        for number, one in zip(read.index.tolist(), read.objects, strict=True):
            objects[number] = one
        columns = JsonColumns(objects, self.canonical)
        fields = {name: columns.text(name) for name in self.texts}
        fields |= {name: columns.number(name, most=most) for name, most in self.numbers.items()}
        without = frozenset((*self.texts, *self.numbers))
        attributes = columns.rest(self.attributes, without, urls=self.urls)
        bad = np.where(read.bad == 0, np.where(columns.bad, BAD_NUMBER, 0), read.bad)
        return Read(fields, attributes, bad.astype(np.uint8))


def _bad_numbers(wrong: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(wrong, BAD_NUMBER, 0).astype(np.uint8)


def _with_times(bad: NDArray[np.uint8], began: Values) -> NDArray[np.uint8]:
    """What is wrong with lines, their times included."""
    return np.where((bad == 0) & ~began.good, _BAD_TIME, bad).astype(np.uint8)


def merged(parts: Sequence[Read], order: Ints) -> Read:
    """Parts one after the other, then in the order of the lines."""
    place = pa.array(order)

    def merged(columns: Sequence[pa.Array]) -> pa.Array:
        return pa.concat_arrays(columns).take(place)

    return Read(
        {name: merged([part.fields[name] for part in parts]) for name in parts[0].fields},
        merged([part.attributes for part in parts]),
        np.concatenate([part.bad for part in parts])[order],
    )
