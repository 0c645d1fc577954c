"""Secrets in lines of text and JSON are overwritten in place, whatever field they stand in.

A log line is no structure that could be trusted: a path holds a query, a referrer a URL with
credentials, a user agent what its sender liked. So masking looks at the text and not at fields:

* what follows the name of a secret: ``name=value``, ``name: value``, ``"name": "value"``, also
  percent-encoded, and whatever a JSON array or object holds under such a name;
* what follows ``Bearer`` and ``Basic``; JSON web tokens; what stands before the ``@`` of a URL.

Values keep their length, so that offsets stay what they were and numbers stay numbers.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from pipeline.decode.kernels.blocks import BLOCK, block_test, lowest
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.privacy.name_memory import (
    NAME_BYTES,
    name_begin,
    no_names,
    remember,
    row_of,
    verdict_on,
)
from pipeline.decode.privacy.secret_names import Names, is_of_secret, names_of, plain

_STAR: Final = ord("*")
_ONE: Final = ord("1")
_SPACE, _TAB, _NEWLINE, _QUOTE, _BACKSLASH = 0x20, 0x09, 0x0A, 0x22, 0x5C
_COLON, _EQUALS, _PERCENT, _AT, _SLASH, _DOT = 0x3A, 0x3D, 0x25, 0x40, 0x2F, 0x2E
_LONGEST_CREDENTIALS: Final = 256
_SHORTEST_SECRET: Final = 6
"""How much text must follow ``Bearer`` or ``Basic``, or an ``eyJ``, to be taken for a secret."""

_NAME, _TOKEN, _END = 1, 2, 4
"""What a byte may be: part of a name; part of a token; the end of an unquoted value."""


def _classes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    for text, kind in (
        (NAME_BYTES, _NAME | _TOKEN),
        (b"+/=~", _TOKEN),
        (b" \t\r\n\"&';,)]}#\\|<>", _END),
    ):
        classes[np.frombuffer(text, np.uint8)] |= kind
    return classes


_CLASS: Final = _classes()
_marks = block_test(b"=:%@J ")
"""What may separate a name from a secret, and the last letter of ``eyJ``."""
_JSON_WORDS: Final = np.frombuffer(b"true falsenull ", np.uint8)
"""Five bytes each; what may stand where a secret is expected and is none."""


class TextMask:
    """Names whose values are masked in text, compiled once; letter case does not matter.

    Attributes:
        names: the names as kernels take them.

    Args:
        keys: names beside those of ``model/secret_keys.py``.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.names = names_of(keys)

    def mask(self, data: bytes) -> bytes:
        """The text with stars (in JSON numbers, ones) for secret values; of the same length."""
        buffer = buffer_of([data])
        if not _mask(buffer, 0, self.names, no_names()):
            return data
        return buffer.data[: buffer.size].tobytes()


@kernel
def mask_within(source: Buffer, begin: int, end: int, names: Names) -> int:
    """Overwrite secrets of a text inside of other bytes; returns how many.

    There is a byte before the text, which for the while becomes the end of a line: no name goes
    back beyond it.
    """
    before = source.data[begin - 1]
    source.data[begin - 1] = _NEWLINE
    masked = _mask(Buffer(source.data, source.words, end), begin, names, names.unseen)
    source.data[begin - 1] = before
    return masked


@kernel
def _mask(source: Buffer, at: int, names: Names, seen: Ints) -> int:
    """Overwrite secrets from ``at`` on; returns how many."""
    begin, masked = at, 0
    while at < source.size:
        block, marks = at, _marks(source.data, at)
        at += BLOCK
        while marks:
            place = block + lowest(marks)
            marks &= marks - np.uint64(1)
            if place >= source.size:
                break
            end = _secret_end(source, place, begin, names, seen)
            if end != place:
                masked += 1
            if end > place:
                # what is masked is not looked at again
                at = begin = end
                break
    return masked


@inlined
def _secret_end(source: Buffer, at: int, begin: int, names: Names, seen: Ints) -> int:
    """Mask the secret behind the mark at ``at``; returns its end.

    That is ``at`` when there is none, and ``begin`` when it stands before the mark.
    """
    byte = source.data[at]
    if byte == _SPACE:
        return _token(source, at + 1, at) if _is_scheme(source, at) else at
    if byte == _AT:
        return at - int(_credentials(source, at))
    if byte == ord("J"):
        return _web_token(source, at - 2, at) if at - 2 >= begin else at
    return _after_name(source, at, names, seen)


@inlined
def _after_name(source: Buffer, at: int, names: Names, seen: Ints) -> int:
    """Mask what follows a separator at ``at`` behind the name of a secret; returns its end.

    Most separators end here, so that what they need is not a call: names are many arguments.
    """
    begin = at + 1 if source.data[at] != _PERCENT else _behind_encoded(source, at)
    colon = source.data[at] == _COLON or plain(source.data[begin - 1]) == ord("a")
    if begin == at or not _is_secret(source, at, names, seen, not colon):
        return at
    return _value(source, begin, colon)


@kernel
def _value(source: Buffer, begin: int, colon: bool) -> int:  # noqa: FBT001 - kernels have no keyword arguments
    """Mask the value behind a separator, which is a ``colon`` or not; returns its end."""
    data = source.data
    while begin < source.size and data[begin] == _SPACE:
        begin += 1
    if data[begin] in (ord("["), ord("{")) and colon:
        return _nested(source, begin)
    if data[begin] == _QUOTE or (data[begin] == _BACKSLASH and data[begin + 1] == _QUOTE):
        return _quoted(source, begin)
    return _rest(source, begin) if colon else _unquoted(source, begin)


@inlined
def _behind_encoded(source: Buffer, at: int) -> int:
    """Where the separator ``%3D`` or ``%3A`` at ``at`` ends; ``at`` if it is none."""
    data = source.data
    encoded = at + 3 <= source.size and data[at + 1] == ord("3")
    return at + 3 if encoded and plain(data[at + 2]) in (ord("a"), ord("d")) else at


@inlined
def _is_secret(source: Buffer, at: int, names: Names, seen: Ints, parameter: bool) -> bool:  # noqa: FBT001 - kernels have no keyword arguments
    """Whether the name before ``at`` is that of a secret; ``parameter``: if it is one's name."""
    data, end = source.data, at
    while end > 0 and (data[end - 1] in (_SPACE, _QUOTE, _BACKSLASH)):
        end -= 1
    begin = name_begin(source, end)
    if begin == end:
        return False
    row, verdict = -1, -1
    if end < at and not parameter and len(seen):
        # the name of a member of JSON
        row = row_of(source, begin, end)
        verdict = verdict_on(source, begin, end, seen, row)
    if verdict < 0:
        verdict = int(is_of_secret(source, begin, end, names, parameter))
        if row >= 0:
            remember(begin, end, verdict, seen, row)
    return verdict > 0


@kernel
def _nested(source: Buffer, at: int) -> int:
    """Mask all strings of a JSON array or object; returns where it ends, or the line."""
    data, depth = source.data, 0
    while at < source.size and data[at] != _NEWLINE:
        if data[at] == _QUOTE:
            at = _quoted(source, at)
            continue
        depth += int(data[at] in (ord("["), ord("{"))) - int(data[at] in (ord("]"), ord("}")))
        if ord("0") <= data[at] <= ord("9"):
            data[at] = _ONE
        at += 1
        if depth == 0:
            break
    return at


@kernel
def _quoted(source: Buffer, at: int) -> int:
    """Mask a string; returns where it ends. One in a string goes to the end of the outer one."""
    data = source.data
    at += 1 + int(data[at] == _BACKSLASH)
    while at < source.size and data[at] != _QUOTE and data[at] != _NEWLINE:
        if data[at] == _BACKSLASH and at + 1 < source.size and data[at + 1] != _NEWLINE:
            data[at] = _STAR
            at += 1
        data[at] = _STAR
        at += 1
    return at + int(at < source.size and data[at] == _QUOTE)


@kernel
def _rest(source: Buffer, at: int) -> int:
    """Mask a header's value up to the quote or line that ends it; JSON words stay, numbers do."""
    data, end, number = source.data, at, True
    while end < source.size and data[end] not in (_QUOTE, _NEWLINE):
        closes = data[end] in (ord(","), ord("}"), ord("]"))
        if closes and (number or _is_json_word(source, at, end)):
            break
        number &= ord("0") <= data[end] <= ord("9") or data[end] in (0x2B, 0x2D, 0x2E, 0x45, 0x65)
        end += 1
    word = number or _is_json_word(source, at, end)
    for index in range(at, end):
        if not word:
            data[index] = _STAR
        elif number and ord("0") <= data[index] <= ord("9"):
            data[index] = _ONE
    return end


@inlined
def _is_json_word(source: Buffer, at: int, end: int) -> bool:
    """Whether what lies there is true, false or null."""
    for word in range(0, len(_JSON_WORDS), 5):
        length = 4 + int(_JSON_WORDS[word + 4] != _SPACE)
        same = end - at == length
        for index in range(length):
            same &= source.data[at + index] == _JSON_WORDS[word + index]
        if same:
            return True
    return False


@kernel
def _unquoted(source: Buffer, at: int) -> int:
    """Mask a value up to what cannot be part of one, and what follows it when it is a scheme."""
    data, end = source.data, at
    while end < source.size and not _CLASS[data[end]] & _END:
        if data[end] == _PERCENT and data[end + 1] == ord("2") and data[end + 2] == ord("6"):
            break
        end += 1
    scheme = data[end] == _SPACE and _is_scheme(source, end)
    data[at:end] = _STAR
    return _token(source, end + 1, end) if scheme else end


@inlined
def _is_scheme(source: Buffer, at: int) -> bool:
    """Whether the word before ``at`` is an authentication scheme."""
    letter = plain(source.data[at - 1]) if at else 0
    return (letter == ord("r") and _ends_with_bearer(source, at)) or (
        letter == ord("c") and _ends_with_basic(source, at)
    )


@kernel
def _ends_with_bearer(source: Buffer, at: int) -> bool:
    data = source.data
    return (
        at >= 6
        and plain(data[at - 6]) == ord("b")
        and plain(data[at - 5]) == ord("e")
        and plain(data[at - 4]) == ord("a")
        and plain(data[at - 3]) == ord("r")
        and plain(data[at - 2]) == ord("e")
    )


@kernel
def _ends_with_basic(source: Buffer, at: int) -> bool:
    data = source.data
    return (
        at >= 5
        and plain(data[at - 5]) == ord("b")
        and plain(data[at - 4]) == ord("a")
        and plain(data[at - 3]) == ord("s")
        and plain(data[at - 2]) == ord("i")
    )


@kernel
def _web_token(source: Buffer, at: int, otherwise: int) -> int:
    """Mask the JSON web token at ``at``, if there is one; returns where it ends."""
    data = source.data
    if data[at] != ord("e") or data[at + 1] != ord("y"):
        return otherwise
    if at and _CLASS[data[at - 1]] & _NAME:
        return otherwise  # not where a token begins; this also keeps long runs of them cheap
    end, dots = at, 0
    while end < source.size and _CLASS[data[end]] & _NAME:
        dots += int(data[end] == _DOT)
        end += 1
    return _token(source, at, otherwise) if dots else otherwise


@kernel
def _token(source: Buffer, begin: int, otherwise: int) -> int:
    """Mask the token that begins there, if it is long enough; returns where it ends."""
    end = begin
    while end < source.size and _CLASS[source.data[end]] & _TOKEN:
        end += 1
    if end - begin < _SHORTEST_SECRET:
        return otherwise
    source.data[begin:end] = _STAR
    return end


@kernel
def _credentials(source: Buffer, at: int) -> int:
    """Mask user and password between ``//`` and the ``@`` at ``at``; returns whether there were."""
    data, begin = source.data, at
    least = max(2, at - _LONGEST_CREDENTIALS)
    while begin > least and data[begin - 1] != _SLASH and not _CLASS[data[begin - 1]] & _END:
        begin -= 1
    if begin == at or data[begin - 1] != _SLASH or data[begin - 2] != _SLASH:
        return 0
    data[begin:at] = _STAR
    return 1
