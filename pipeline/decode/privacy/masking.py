"""Values of secret and of personal attributes are overwritten in place, before anything is stored.

Secrets become stars, persons pseudonyms (see ``persons``). Of URLs only what is secret in them is
overwritten.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.otlp.common import BYTES, STRING
from pipeline.decode.privacy.json_masking import mask, masked_text, may_have, stars
from pipeline.decode.privacy.persons import Hider, Persons, hide, nobody
from pipeline.decode.privacy.secret_names import Names
from pipeline.decode.privacy.text_masking import TextMask, mask_within
from pipeline.decode.privacy.text_persons import TextPersons
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.walk import Rows, Walked
from pipeline.model.secret_keys import SECRET_KEYS, URL_KEYS

_STAR: Final = ord("*")
_SIZES: Final = 256
_SECRET, _PERSONAL, _URL = 1, 2, 3


class _Keys(NamedTuple):
    """Keys as kernels take them.

    Attributes:
        text: all keys in lower case.
        slices: where each is.
        kinds: whether each is the key of a secret, of a person or of a URL.
        likely: by length and last byte whether a key may be among them; most are not.
    """

    text: Buffer
    slices: Ints
    kinds: Ints
    likely: Bytes


class MaskedKeys:
    """Keys whose values are masked, compiled once; letter case does not matter.

    Args:
        keys: names of attributes, and of headers as ``http.request.header.<name>``.
        persons: how personal data is hidden; where not given it stays as it is.
    """

    def __init__(self, keys: Iterable[str] = SECRET_KEYS, persons: Persons | None = None) -> None:
        self._names = frozenset(key.lower() for key in keys if key)
        self.persons = persons or nobody()
        self._compiled = {"": _compiled(self._names, self.persons.attributes)}
        self._text = TextMask(self._names)
        self._json = {
            **dict.fromkeys(URL_KEYS, self._mask_url),
            **dict.fromkeys(self.persons.attributes, self.persons.pseudonym),
            **dict.fromkeys(self._names, stars),
        }
        self._text_persons: dict[str, TextPersons] = {}

    @property
    def names(self) -> frozenset[str]:
        """The keys of secrets, in lower case."""
        return self._names

    def mask_text(self, text: bytes, format_name: str) -> bytes:
        """Lines of text or JSON with secrets and persons overwritten, of the same length.

        Args:
            text: whole lines.
            format_name: one of ``LINE_FORMATS``; which fields are personal depends on it.
        """
        if format_name not in self._text_persons:
            self._text_persons[format_name] = TextPersons(format_name, self.persons)
        return self._text_persons[format_name].hide(self._text.mask(text))

    def mask_json(self, text: bytes) -> bytes:
        """JSON with the values of these keys hidden, see ``json_masking``; it may be longer.

        Raises:
            DecodeError: it has such a key, and is nested too deeply to be written again.
        """
        return masked_text(text, self._json)

    def mask_value(self, text: bytes, value: object) -> bool:
        """The same for a document that was read already: in place; tells if it did.

        Args:
            text: what it was read from.
            value: the document.
        """
        return may_have(text, self._json) and mask(value, self._json)

    def mask_cells(self, walked: Walked, table: str, names: Iterable[str]) -> bool:
        """Overwrite what is secret in the URLs of these cells of a table; tells if it did."""
        rows = walked.rows(table)
        urls = [rows.column(name) for name in names]
        return _mask_urls(walked.buffer, np.concatenate(urls), self._text.names) > 0

    def mask(self, walked: Walked, headers: Mapping[str, str]) -> bool:
        """Overwrite the values of these keys in the walk's buffer; tells if it did.

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

    def mask_texts(self, walked: Walked, tables: Iterable[str], format_name: str) -> bool:
        """Overwrite what ``mask_text`` does within strings of these tables of attributes.

        Args:
            walked: the walk.
            tables: tables of attributes whose strings may be lines of other programs.
            format_name: as what lines they are read.

        Returns:
            Whether anything was overwritten.
        """
        slices = [
            one
            for table in tables
            for rows in (walked.rows(table),)
            for one in rows.column("value")[rows.column("type") == STRING].tolist()
        ]
        places = [(one >> OFFSET_BITS, one & LENGTH_MASK) for one in slices]
        data = walked.buffer.data
        text = b"\n".join(data[begin : begin + size].tobytes() for begin, size in places)
        hidden = self.mask_text(text, format_name)
        if hidden == text:
            return False
        at = 0
        for begin, size in places:
            data[begin : begin + size] = np.frombuffer(hidden, np.uint8, size, at)
            at += size + 1
        return True

    def _mask(self, walked: Walked, rows: Rows, prefix: str) -> int:
        if prefix not in self._compiled:
            bare = {name.removeprefix(prefix) for name in self._names if name.startswith(prefix)}
            self._compiled[prefix] = _compiled(self._names | bare, self.persons.attributes)
        cells = np.array([rows.names.get(name, -1) for name in ("key", "value", "type")])
        hidden = np.zeros(len(rows), np.uint8)
        compiled, hider = self._compiled[prefix], self.persons.hider()
        names = self._text.names
        return _mask(walked.buffer, rows.cells, cells, compiled, hidden, hider, names)

    def _mask_url(self, url: str) -> str:
        return self._text.mask(url.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _compiled(secret: Iterable[str], personal: Iterable[str]) -> _Keys:
    kinds = dict.fromkeys(URL_KEYS, _URL)
    kinds |= dict.fromkeys(personal, _PERSONAL) | dict.fromkeys(secret, _SECRET)
    words = sorted(name.encode() for name in kinds)
    likely = np.zeros((_SIZES, _SIZES), np.uint8)
    for word in words:
        likely[min(len(word), _SIZES - 1), word[-1]] = 1
    numbers = np.array([kinds[word.decode()] for word in words], np.int64)
    return _Keys(buffer_of(words), slices_of(words), numbers, likely)


@kernel
def _mask_urls(source: Buffer, slices: Ints, names: Names) -> int:
    """Overwrite what is secret in texts; returns how much."""
    masked = 0
    for slice_ in slices:
        begin, length = slice_ >> OFFSET_BITS, slice_ & LENGTH_MASK
        if length:
            masked += mask_within(source, begin, begin + length, names)
    return masked


@kernel
def _mask(
    source: Buffer,
    cells: Ints,
    named: Ints,
    keys: _Keys,
    hidden: Bytes,
    hider: Hider,
    names: Names,
) -> int:
    """Overwrite values; returns how many. What is nested in a hidden value is hidden, too."""
    key, value, kind = named
    masked = 0
    for row in range(len(cells)):
        parent = cells[row, PARENT]
        within = hidden[~parent] if kind >= 0 and parent < 0 else 0
        found = within or _kind_of(source, cells[row, key], keys)
        if not found:
            continue
        hidden[row] = found
        if kind >= 0 and cells[row, kind] not in (STRING, BYTES):
            continue
        begin = cells[row, value] >> OFFSET_BITS
        end = begin + (cells[row, value] & LENGTH_MASK)
        if found == _PERSONAL:
            masked += hide(source, begin, end, hider)
        elif found == _URL:
            masked += mask_within(source, begin, end, names) if begin < end else 0
        else:
            for index in range(begin, end):
                source.data[index] = _STAR
            masked += 1
    return masked


@inlined
def _kind_of(source: Buffer, slice_: int, keys: _Keys) -> int:
    """Whether a key is that of a secret or of a person; 0 when it is neither."""
    length = slice_ & LENGTH_MASK
    if length == 0:
        return 0
    begin = slice_ >> OFFSET_BITS
    last = _lower(source.data[begin + length - 1])
    if not keys.likely[min(length, _SIZES - 1), last]:
        return 0
    for index in range(len(keys.slices)):
        name = keys.slices[index]
        if name & LENGTH_MASK == length and _same_lower(source, begin, keys, name):
            return int(keys.kinds[index])
    return 0


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
