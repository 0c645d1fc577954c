"""Personal data is replaced in place by pseudonyms before anything is stored.

A pseudonym is ``@`` and characters of the keyed hash of what it stands for, as many as that had:
equal stays equal, and who has no key can neither read it nor try names. Lengths stay, as in
``text_masking``, so that offsets and messages stay what they were. What already is a pseudonym
stays, too.

A character carries six bits. Different addresses of 7 characters, the shortest there are, get the
same pseudonym once in 2**36 pairs; of one or two characters little can be told apart.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Bytes, buffer_of, inlined, kernel
from pipeline.decode.privacy.blake2 import KEY_BYTES, Keyed, again, digest, keyed
from pipeline.model.personal_fields import PERSONAL_ATTRIBUTES, PersonalData

SIGN: Final = "@"
"""What a pseudonym begins with."""

_SIGN: Final = ord("@")
_STAR: Final = ord("*")
_ONE: Final = ord("1")
_PADDING: Final = ord("-")
_PER_WORD: Final = 10
_WORDS: Final = 2
_LETTERS: Final = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8
)
_IS_LETTER: Final = np.isin(np.arange(256), _LETTERS).astype(np.uint8)


class Hider(NamedTuple):
    """What kernels hide persons with; not for two threads at once.

    Attributes:
        hashing: the key.
        letters: the alphabet of pseudonyms; empty when persons are dropped.
    """

    hashing: Keyed
    letters: Bytes


class Persons:
    """How personal data is hidden, and where it is looked for.

    Args:
        key: of the hash, at least one byte; what is longer than 64 bytes is cut.
        how: a pseudonym, stars, or nothing.
        fields: names of fields and attributes that are personal, beside the usual ones.
    """

    def __init__(
        self,
        key: bytes,
        how: PersonalData = PersonalData.HASH,
        fields: Iterable[str] = (),
    ) -> None:
        self.how = how
        self.fields = tuple(dict.fromkeys(name.lower() for name in fields if name))
        self._keyed = keyed(key[:KEY_BYTES])

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attribute keys whose values are personal, in lower case."""
        if self.how is PersonalData.KEEP:
            return ()
        return tuple(dict.fromkeys((*PERSONAL_ATTRIBUTES, *self.fields)))

    def hider(self) -> Hider:
        """What one thread hides with."""
        letters = _LETTERS if self.how is PersonalData.HASH else _LETTERS[:0]
        return Hider(again(self._keyed), letters)

    def pseudonym(self, text: str) -> str:
        """What stands in the place of a text; as long as its UTF-8."""
        buffer = buffer_of([text.encode()])
        hide(buffer, 0, buffer.size, self.hider())
        return buffer.data[: buffer.size].tobytes().decode()


@cache
def nobody() -> Persons:
    """Personal data stays what it is."""
    return Persons(b"-", PersonalData.KEEP)


@kernel
def hide(source: Buffer, begin: int, end: int, hider: Hider) -> int:
    """Overwrite a text; returns whether there was anything to hide."""
    data = source.data
    if begin >= end or _is_pseudonym(source, begin, end):
        return 0
    if not len(hider.letters):
        for index in range(begin, end):
            data[index] = _STAR
        return 1
    digest(source, begin, end, hider.hashing)
    data[begin] = _SIGN
    for index in range(begin + 1, end):
        number = index - begin - 1
        word = number // _PER_WORD
        if word < _WORDS:
            bits = hider.hashing.state[word] >> np.uint64(6 * (number % _PER_WORD))
            data[index] = hider.letters[np.int64(bits & np.uint64(63))]
        else:
            data[index] = _PADDING
    return 1


@kernel
def hide_number(source: Buffer, begin: int, end: int, hider: Hider) -> int:
    """Overwrite the digits of a JSON number, which stays one; returns 1."""
    data = source.data
    digest(source, begin, end, hider.hashing)
    bits = hider.hashing.state[0]
    first = True
    for index in range(begin, end):
        if not ord("0") <= data[index] <= ord("9"):
            # an exponent stays small
            bits = np.uint64(0) if data[index] in (ord("e"), ord("E")) else bits
            continue
        told = np.int64(bits % np.uint64(10)) if len(hider.letters) else 1
        bits //= np.uint64(10)
        data[index] = ord("0") + (told if not first else max(1, told))
        first = False
    return 1


@inlined
def _is_pseudonym(source: Buffer, begin: int, end: int) -> bool:
    if source.data[begin] != _SIGN:
        return False
    for index in range(begin + 1, end):  # noqa: SIM110 - kernels have no generators
        if not _IS_LETTER[source.data[index]]:
            return False
    return True
