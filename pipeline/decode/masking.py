"""Values of secret attributes are overwritten in place, before anything is stored."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.declaration import PARENT
from pipeline.decode.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.otlp_common import BYTES, STRING
from pipeline.decode.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.text_masking import TextMask
from pipeline.decode.wire import Rows, Walked
from pipeline.model.secret_keys import SECRET_KEYS

REQUEST_HEADER: Final = "http.request.header."
RESPONSE_HEADER: Final = "http.response.header."

_STAR: Final = ord("*")
_SIZES: Final = 256


class _Keys(NamedTuple):
    """Keys as kernels take them.

    Attributes:
        text: all keys in lower case.
        slices: where each is.
        likely: by length and last byte whether a key may be among them; most are not.
    """

    text: Buffer
    slices: Ints
    likely: Bytes


class MaskedKeys:
    """Keys whose values are masked, compiled once; letter case does not matter.

    Args:
        keys: names of attributes, and of headers as ``http.request.header.<name>``.
    """

    def __init__(self, keys: Iterable[str] = SECRET_KEYS) -> None:
        self._names = frozenset(key.lower() for key in keys if key)
        self._compiled = {"": _compiled(self._names)}
        self._text = TextMask(self._names)

    def mask_text(self, text: bytes) -> bytes:
        """Lines of text or JSON with their secrets overwritten, of the same length."""
        return self._text.mask(text)

    @property
    def names(self) -> frozenset[str]:
        """The keys, in lower case."""
        return self._names

    def mask(self, walked: Walked, headers: Mapping[str, str]) -> bool:
        """Overwrite the values of these keys with stars in the walk's buffer; tells if it did.

        Args:
            walked: attributes are the tables with the cells ``key``, ``value`` and ``type``.
            headers: tables of headers, and the prefix of their keys.
        """
        masked = 0
        for table, rows in walked.tables.items():
            if not len(rows):
                continue
            if "key" in rows.names and "type" in rows.names:
                masked += self._mask(walked, rows, "")
            elif table in headers:
                masked += self._mask(walked, rows, headers[table])
        return masked > 0

    def mask_texts(self, walked: Walked, tables: Iterable[str]) -> bool:
        """Overwrite secrets within strings of these tables of attributes; tells if it did."""
        slices = [
            one
            for table in tables
            for rows in (walked.rows(table),)
            for one in rows.column("value")[rows.column("type") == STRING].tolist()
        ]
        places = [(one >> OFFSET_BITS, one & LENGTH_MASK) for one in slices]
        data = walked.buffer.data
        text = b"\n".join(data[begin : begin + size].tobytes() for begin, size in places)
        hidden = self.mask_text(text)
        if hidden is text:
            return False
        at = 0
        for begin, size in places:
            data[begin : begin + size] = np.frombuffer(hidden, np.uint8, size, at)
            at += size + 1
        return True

    def _mask(self, walked: Walked, rows: Rows, prefix: str) -> int:
        if prefix not in self._compiled:
            bare = {name.removeprefix(prefix) for name in self._names if name.startswith(prefix)}
            self._compiled[prefix] = _compiled(self._names | bare)
        cells = np.array([rows.names.get(name, -1) for name in ("key", "value", "type")])
        hidden = np.zeros(len(rows), np.uint8)
        return _mask(walked.buffer, rows.cells, cells, self._compiled[prefix], hidden)


def _compiled(names: Iterable[str]) -> _Keys:
    words = sorted(name.encode() for name in names)
    likely = np.zeros((_SIZES, _SIZES), np.uint8)
    for word in words:
        likely[min(len(word), _SIZES - 1), word[-1]] = 1
    return _Keys(buffer_of(words), slices_of(words), likely)


@kernel
def _mask(source: Buffer, cells: Ints, named: Ints, keys: _Keys, hidden: Bytes) -> int:
    """Overwrite values; returns how many. What is nested in a hidden value is hidden, too."""
    key, value, kind = named
    masked = 0
    for row in range(len(cells)):
        parent = cells[row, PARENT]
        if (kind >= 0 and parent < 0 and hidden[~parent]) or _is_masked(
            source, cells[row, key], keys
        ):
            hidden[row] = 1
            if kind < 0 or cells[row, kind] in (STRING, BYTES):
                begin = cells[row, value] >> OFFSET_BITS
                for index in range(begin, begin + (cells[row, value] & LENGTH_MASK)):
                    source.data[index] = _STAR
                masked += 1
    return masked


@inlined
def _is_masked(source: Buffer, slice_: int, keys: _Keys) -> bool:
    length = slice_ & LENGTH_MASK
    if length == 0:
        return False
    begin = slice_ >> OFFSET_BITS
    last = _lower(source.data[begin + length - 1])
    if not keys.likely[min(length, _SIZES - 1), last]:
        return False
    for name in keys.slices:
        if name & LENGTH_MASK == length and _same_lower(source, begin, keys, name):
            return True
    return False


@inlined
def _same_lower(source: Buffer, begin: int, keys: _Keys, name: int) -> bool:
    known = name >> OFFSET_BITS
    for index in range(name & LENGTH_MASK):
        if _lower(source.data[begin + index]) != keys.text.data[known + index]:
            return False
    return True


@inlined
def _lower(byte: int) -> int:
    return byte + 32 if ord("A") <= byte <= ord("Z") else byte
