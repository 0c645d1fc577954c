"""Lines that are JSON objects: read one by one, then seen as columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.kernels.deep_json import members_written, written
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.lines.lines import Lines, lines_of

NOT_JSON: Final = "not JSON"
NOT_AN_OBJECT: Final = "not a JSON object"
_NOTHING: Final = ("", "-")
"""Texts by which proxies say that there is nothing to say."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Objects, and the lines they stood on.

    Attributes:
        lines: all lines that are not blank.
        objects: the objects.
        index: of each object the number of its line.
        bad: of each line what is wrong with it: 0 nothing, 1 ``NOT_JSON``, 2 ``NOT_AN_OBJECT``.
    """

    lines: Lines
    objects: list[Object]
    index: Ints
    bad: NDArray[np.uint8]


def json_lines(messages: Sequence[bytes]) -> JsonLines:
    """Read lines as JSON; what is not UTF-8 in them becomes U+FFFD."""
    return parsed(lines_of(messages))


def parsed(lines: Lines) -> JsonLines:
    """The same of lines that were found before."""
    view = lines.buffer.data.data
    begins = (lines.slices >> OFFSET_BITS).tolist()
    ends = ((lines.slices >> OFFSET_BITS) + (lines.slices & LENGTH_MASK)).tolist()
    bad = np.zeros(len(lines), np.uint8)
    values: list[Any] = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        try:
            values.append(orjson.loads(view[begin:end]))
        except orjson.JSONDecodeError:
            values.append(_mended(view[begin:end].tobytes()))
            bad[number] = values[-1] is None
    kinds = np.fromiter((type(value) is dict for value in values), np.bool_, len(values))
    bad[~kinds & (bad == 0)] = 2
    objects = values if kinds.all() else [value for value in values if type(value) is dict]
    return JsonLines(lines, objects, np.flatnonzero(kinds), bad)


def _mended(line: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        line.decode()
    except UnicodeDecodeError:
        try:
            return orjson.loads(line.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return None
    return None


def has_keys(*keys: str) -> Callable[[bytes], bool]:
    """A test of lines: whether one is a JSON object that has all these keys."""

    def fits(line: bytes) -> bool:
        if not line.lstrip().startswith(b"{"):
            return False
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return False
        return all(key in value for key in keys)

    return fits


class JsonColumns:
    """Objects seen as columns: Arrow arrays of one value for each object.

    Args:
        objects: the objects.
        canonical: gives members of different spelling one name; names asked for are such. Of an
            object that has a member in several spellings, the first that tells something counts.
    """

    def __init__(
        self, objects: Sequence[Mapping[str, Any]], canonical: Callable[[str], str] = str
    ) -> None:
        names = {key: canonical(key) for key in set().union(*objects)}
        differ = any(key != name for key, name in names.items())
        self._objects = [_renamed(one, names) for one in objects] if differ else objects
        self._names = frozenset(names.values())
        self.bad = np.zeros(len(objects), np.bool_)

    def __len__(self) -> int:
        """How many objects."""
        return len(self._objects)

    def has(self, *names: str) -> bool:
        """Whether any object has a member of one of these names."""
        return not self._names.isdisjoint(names)

    def values(self, *names: str) -> list[Any]:
        """Of each object the first of these members that tells something, else None."""
        first, *others = [name for name in names if name in self._names] or [""]
        values = [one.get(first) for one in self._objects] if first else [None] * len(self)
        for name in others:
            values = [
                one.get(name) if _is_nothing(value) else value
                for value, one in zip(values, self._objects, strict=True)
            ]
        return values

    def text(self, *names: str) -> pa.Array:
        """Strings; other values as JSON; null where nothing, ``""`` or ``"-"`` is told."""
        values = self.values(*names)
        try:
            found = pa.array(values, pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            found = pa.array([_as_text(value) for value in values], pa.string())
        return pc.if_else(pc.is_in(found, _NOTHINGS), _NULL, found)

    def number(self, *names: str, most: int = (1 << 63) - 1) -> pa.Array:
        """Whole numbers from 0 to ``most``, also in strings; null where nothing is told.

        An object in which something else stands there is marked ``bad``.
        """
        values = self.values(*names)
        if not set(map(type, values)) <= _PLAIN_NUMBERS:
            values = [_as_number(value) for value in values]
        try:
            found = pa.array(values, pa.int64())
        except OverflowError:
            found = pa.array([_as_number(value) for value in values], pa.int64())
        wrong = pc.or_(pc.less(found, 0), pc.greater(found, most)).fill_null(False)  # noqa: FBT003 - Arrow takes no name
        self.bad |= wrong.to_numpy(zero_copy_only=False)
        return pc.if_else(wrong, pa.scalar(None, pa.int64()), found)

    def rest(
        self,
        named: Mapping[str, str],
        without: frozenset[str],
        *,
        urls: frozenset[str] = frozenset(),
    ) -> pa.Array:
        """What was not asked for, as JSON objects; null where nothing is told.

        Args:
            named: other names of members by which they are told.
            without: members that are told elsewhere.
            urls: members that hold URLs: what follows the path may be secret and is left out.
        """
        told = [
            {
                named.get(name, name): _without_query(value)
                if name in urls and isinstance(value, str)
                else value
                for name, value in one.items()
                if name not in without and not _is_nothing(value)
            }
            for one in self._objects
        ]
        return pa.array([members_written(one) if one else None for one in told], pa.string())


def _renamed(one: Mapping[str, Any], names: Mapping[str, str]) -> Object:
    renamed: Object = {}
    for key, value in one.items():
        if _is_nothing(renamed.get(names[key])):
            renamed[names[key]] = value
    return renamed


def _is_nothing(value: object) -> bool:
    return value is None or value in _NOTHING


_PLAIN_NUMBERS: Final = {int, type(None)}
_NOTHINGS: Final = pa.array(_NOTHING)
_NULL: Final = pa.scalar(None, pa.string())


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return written(value)


def _as_number(value: object) -> int | None:
    """The number; None for nothing, -1 for what is none."""
    if _is_nothing(value):
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value < 1 << 53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    return -1


def _without_query(url: str) -> str:
    """A URL or path without query and fragment."""
    return url.partition("?")[0].partition("#")[0]
