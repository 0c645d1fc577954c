"""The names of secrets, and whether a name in a text is one of them."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.privacy.name_memory import NAME_BYTES, no_names
from pipeline.model.secret_keys import KEY_IDS, SECRET_PARAMETERS, SECRET_WORDS

_LOW: Final = 31
_IS_LETTER: Final = np.isin(np.arange(256), list(set(NAME_BYTES) - set(b"-_."))).astype(np.uint8)
"""Letters and digits."""


class Names(NamedTuple):
    """Names as kernels take them: all in one buffer, in lower case with ``-`` for ``_``.

    Attributes:
        text: the names.
        words: those that count wherever they stand in a name.
        keys: those that must be the last words of a name.
        parameters: the same, of query parameters and cookies.
        ids: last words of names that are never secret.
        bounds: by byte the first of the words that begin with it, and the first after them.
        starts: by the low bits of two bytes whether a word may begin with them; most do not.
        key_bounds: the same of the keys that end with it; these are sorted so.
        parameter_bounds: the same of the parameters.
        unseen: a memory of names that remembers nothing, for short texts.
    """

    text: Buffer
    words: Ints
    keys: Ints
    parameters: Ints
    ids: Ints
    bounds: Ints
    starts: Bytes
    key_bounds: Ints
    parameter_bounds: Ints
    unseen: Ints


def names_of(keys: Iterable[str]) -> Names:
    """Compile names; letter case does not matter.

    Args:
        keys: names beside those of ``model/secret_keys.py``.
    """
    groups = (SECRET_WORDS, set(keys), SECRET_PARAMETERS, KEY_IDS)
    words, lasts, parameters, ids = (
        [name.lower().replace("_", "-").encode() for name in group if name] for group in groups
    )
    texts = [
        sorted(words), sorted(lasts, key=_last), sorted(parameters, key=_last), sorted(ids)
    ]  # fmt: skip
    slices = slices_of([name for group in texts for name in group])
    words_end, keys_end, parameters_end = np.cumsum([len(group) for group in texts[:-1]])
    return Names(
        buffer_of(name for group in texts for name in group),
        slices[:words_end],
        slices[words_end:keys_end],
        slices[keys_end:parameters_end],
        slices[parameters_end:],
        _bounds([name[0] for name in texts[0]]),
        _starts(texts[0]),
        _bounds([name[-1] for name in texts[1]]),
        _bounds([name[-1] for name in texts[2]]),
        no_names()[:0],
    )


def _last(name: bytes) -> int:
    return name[-1]


def _bounds(sorted_bytes: list[int]) -> Ints:
    """By byte the first place where it stands in a sorted list, and the first after it."""
    found = np.array(sorted_bytes, np.int64)
    sides = [np.searchsorted(found, np.arange(256), side=side) for side in ("left", "right")]
    return np.ascontiguousarray(np.stack(sides, axis=1), np.int64)


def _starts(words: list[bytes]) -> Bytes:
    """Which pairs of bytes may begin a word; letters have the same low bits in either case."""
    starts = np.zeros((_LOW + 1, _LOW + 1), np.uint8)
    for word in words:
        for second in {word[1], ord("_") if word[1] == ord("-") else word[1]}:
            starts[word[0] & _LOW, second & _LOW] = 1
    return starts


@inlined
def is_of_secret(source: Buffer, begin: int, end: int, names: Names, parameter: bool) -> bool:  # noqa: FBT001 - kernels have no keyword arguments
    """Whether a name is that of a secret; ``parameter``: if it is that of a parameter."""
    data = source.data
    for word in names.ids:
        place = end - (word & LENGTH_MASK)
        if place >= begin and _same(source, place, names, word):
            return False
    for place in range(end - 1, begin - 1, -1):
        if names.starts[data[place] & _LOW, data[place + 1] & _LOW] and _has_word(
            source, place, end, names
        ):
            return True
    last = plain(data[end - 1])
    first, after = names.key_bounds[last]
    if _is_last(source, begin, end, names, names.keys[first:after]):
        return True
    first, after = names.parameter_bounds[last]
    return parameter and _is_last(source, begin, end, names, names.parameters[first:after])


@kernel
def _has_word(source: Buffer, place: int, end: int, names: Names) -> bool:
    """Whether a word of secrets stands there, in a name that ends at ``end``."""
    first, last = names.bounds[plain(source.data[place])]
    for word in names.words[first:last]:
        if place + (word & LENGTH_MASK) <= end and _same(source, place, names, word):
            return True
    return False


@kernel
def _is_last(source: Buffer, begin: int, end: int, names: Names, of: Ints) -> bool:
    """Whether a name ends with one of these words."""
    for word in of:
        place = end - (word & LENGTH_MASK)
        if (
            place >= begin
            and (place == begin or not _IS_LETTER[source.data[place - 1]])
            and _same(source, place, names, word)
        ):
            return True
    return False


@inlined
def _same(source: Buffer, place: int, names: Names, word: int) -> bool:
    known = word >> OFFSET_BITS
    for index in range(word & LENGTH_MASK):
        if plain(source.data[place + index]) != names.text.data[known + index]:
            return False
    return True


@inlined
def plain(byte: int) -> int:
    """A byte of a name as known names have it: in lower case, with ``-`` for ``_``."""
    if byte == ord("_"):
        return ord("-")
    return byte + 32 if ord("A") <= byte <= ord("Z") else byte
