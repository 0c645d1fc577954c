"""Secrets in JSON text are overwritten in place: whole values, and parameters of query strings."""

from typing import Final

import numpy as np

from pipeline.decode.json_plan import MASKED, Plan, find
from pipeline.decode.kernel import Buffer, Ints, buffer_of, inlined, kernel
from pipeline.decode.text import LENGTH_MASK, OFFSET_BITS, slices_of

_SECRET_WORDS: Final = (b"key", b"token", b"secret", b"passw", b"sig", b"credential", b"jwt", b"otp")
"""Query parameters whose names have one of these in them are masked. Source: the list of what API
gateways log that has to be hashed or dropped; AWS's presigned URLs have ``X-Amz-Signature`` and
``X-Amz-Credential``."""

_WORDS: Final = buffer_of(_SECRET_WORDS)
_SLICES: Final = slices_of(_SECRET_WORDS)
_STAR: Final = ord("*")
_LONGEST_NAME: Final = 64
_NAME_BYTE: Final = np.zeros(256, np.uint8)
_NAME_BYTE[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.%[]~")] = 1
_VALUE_END: Final = np.zeros(256, np.uint8)
_VALUE_END[list(b"&#; ")] = 1


@inlined
def is_masked(plan: Plan, source: Buffer, begin: int, length: int, hashed: int) -> bool:
    """Whether values of this name are masked."""
    return find(plan, source, begin, length, hashed, MASKED) >= 0


@kernel
def is_secret_name(source: Buffer, begin: int, end: int, words: Buffer, slices: Ints) -> bool:
    """Whether the name of a query parameter has a word in it that secrets are called by."""
    for slice_ in slices:
        size = slice_ & LENGTH_MASK
        known = slice_ >> OFFSET_BITS
        for at in range(begin, end - size + 1):
            index = 0
            while index < size and source.data[at + index] | 32 == words.data[known + index]:
                index += 1
            if index == size:
                return True
    return False


@inlined
def hide_text(source: Buffer, begin: int, end: int) -> None:
    """Overwrite a string with stars."""
    for index in range(begin, end):
        source.data[index] = _STAR


@inlined
def hide_number(source: Buffer, begin: int, end: int) -> None:
    """Overwrite the digits of a number with ones: it stays a number."""
    for index in range(begin, end):
        if ord("0") <= source.data[index] <= ord("9"):
            source.data[index] = ord("1")


@kernel
def hide_parameters(source: Buffer, begin: int, end: int, words: Buffer, slices: Ints) -> None:
    """Overwrite the values of secret parameters in a string that may have a query string in it."""
    at = begin
    while at < end:
        if source.data[at] != ord("="):
            at += 1
            continue
        first = at
        while first > begin and first > at - _LONGEST_NAME and _NAME_BYTE[source.data[first - 1]]:
            first -= 1
        secret = is_secret_name(source, first, at, words, slices)
        at += 1
        while secret and at < end and not _VALUE_END[source.data[at]]:
            source.data[at] = _STAR
            at += 1


def secret_words() -> tuple[Buffer, Ints]:
    """The words, for kernels."""
    return _WORDS, _SLICES
