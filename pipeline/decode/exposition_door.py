"""The check at the door of scraped text: secrets masked, bad lines found.

Labels are read before their values are masked, since what follows ``code=`` in a query is a secret
and a label ``code="503"`` is none. Masked are the values of labels whose names are those of
secrets; what looks like one in any value (a query, a token, a password in a URL) and in comments;
and lines that cannot be read, as lines of any other text.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from pipeline.decode import DECODERS
from pipeline.decode.columns import texts
from pipeline.decode.exposition_scan import scan
from pipeline.decode.hashing import distinct
from pipeline.decode.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.line_door import AdmittedLines
from pipeline.decode.lines import lines_of
from pipeline.decode.masking import MaskedKeys
from pipeline.decode.text import OFFSET_BITS
from pipeline.decode.wire import Rows
from pipeline.errors import DecodeError
from pipeline.model.secret_keys import KEY_IDS, SECRET_WORDS
from pipeline.model.topics import FORMAT_SIGNAL

IDENTITIES: Final = frozenset({"client-id"})
"""Labels that name who calls, although an API gateway's attribute of that name is a secret:
Linkerd's ``client_id`` is the name in a workload's certificate."""

_STAR, _NEWLINE, _EQUALS, _QUOTE, _BACKSLASH = 0x2A, 0x0A, 0x3D, 0x22, 0x5C


def admit_exposition(format_name: str, body: bytes, masked: MaskedKeys) -> AdmittedLines:
    """Mask the secrets of scraped text and count its records.

    Raises:
        DecodeError: nothing of it can be taken.
    """
    shown = mask_exposition(format_name, body, masked)
    decoded = DECODERS[format_name]([shown])
    for refusal in decoded.refused:
        if refusal.whole:
            raise DecodeError(refusal.reason, offset=refusal.offset, format=format_name)
    rows = decoded.batches[FORMAT_SIGNAL[format_name]]
    return AdmittedLines(shown, rows.num_rows, decoded.refused)


def mask_exposition(format_name: str, body: bytes, masked: MaskedKeys) -> bytes:
    """The text with its secrets overwritten, of the same length."""
    lines = lines_of([body])
    found = scan(lines)
    text = buffer_of([body])
    for labels in (found.labels, found.exemplar_labels):
        _mask_values(text, _secret_values(lines.buffer, labels, masked.names))
    values = np.concatenate(
        [labels.column("value") >> OFFSET_BITS for labels in (found.labels, found.exemplar_labels)]
    )
    _exchange(text, values, _EQUALS, _NEWLINE)
    text = buffer_of([masked.mask_text(text.data[: text.size].tobytes(), format_name)])
    _exchange(text, values, _NEWLINE, _EQUALS)
    return text.data[: text.size].tobytes()


def is_secret_label(name: str, keys: Iterable[str]) -> bool:
    """Whether the values of a label are secrets, by its name.

    Args:
        name: of the label.
        keys: names that are masked beside those of ``model/secret_keys.py``, in lower case.
    """
    plain = name.lower().replace("_", "-")
    if plain in IDENTITIES or plain.endswith(KEY_IDS):
        return False
    named = any(plain == key.replace("_", "-") for key in keys)
    return named or any(word in plain for word in SECRET_WORDS)


def _secret_values(source: Buffer, labels: Rows, keys: Iterable[str]) -> Ints:
    """Where the values of labels begin that are secret by their names."""
    places, kinds = distinct(source, labels.column("key"))
    names = texts(source, labels.column("key")[places], empty_is_null=False).to_pylist()
    secret = np.array([is_secret_label(name, keys) for name in names], np.bool_)
    begins: Ints = labels.column("value")[secret[kinds]] >> OFFSET_BITS
    return begins


@kernel
def _mask_values(source: Buffer, begins: Ints) -> None:
    """Overwrite each text up to the quote that ends it."""
    data = source.data
    for begin in begins:
        at = begin
        while at < source.size and data[at] not in (_QUOTE, _NEWLINE):
            if data[at] == _BACKSLASH and data[at + 1] in (_BACKSLASH, _QUOTE):
                data[at] = _STAR
                at += 1
            data[at] = _STAR
            at += 1


@kernel
def _exchange(source: Buffer, values: Ints, old: int, new: int) -> None:
    """Put another byte in the place of the sign between each label and its value."""
    for begin in values:
        at = begin - 2
        while source.data[at] != old:
            at -= 1
        source.data[at] = new
