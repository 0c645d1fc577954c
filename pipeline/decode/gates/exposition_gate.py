"""The check at the door of scraped text: secrets masked, bad lines found.

Labels are read before their values are masked, since what follows ``code=`` in a query is a secret
and a label ``code="503"`` is none. Masked are the values of labels whose names are those of
secrets; what looks like one in any value (a query, a token, a password in a URL) and in comments;
and lines that cannot be read, as lines of any other text.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.decode import DECODERS
from pipeline.decode.gates.gate import Admission, Gate
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.kernels.text import OFFSET_BITS
from pipeline.decode.lines.lines import lines_of
from pipeline.decode.privacy.label_masking import secret_labels
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.prometheus.exposition_scan import scan
from pipeline.errors import DecodeError
from pipeline.model.topics import FORMAT_SIGNAL

_STAR, _NEWLINE, _EQUALS, _QUOTE, _BACKSLASH = 0x2A, 0x0A, 0x3D, 0x22, 0x5C


@dataclass(frozen=True, slots=True)
class ExpositionGate(Gate):
    """The gate of one of ``EXPOSITION_FORMATS``, by its name."""

    name: str

    def admit(self, body: bytes, masked: MaskedKeys) -> Admission:
        """See ``Gate``; the decoder itself says which lines are good."""
        shown = self.mask(body, masked)
        decoded = DECODERS[self.name]([shown])
        for refusal in decoded.refused:
            if refusal.whole:
                raise DecodeError(refusal.reason, offset=refusal.offset, format=self.name)
        rows = decoded.batches[FORMAT_SIGNAL[self.name]]
        return Admission(shown, rows.num_rows, decoded.refused)

    def mask(self, body: bytes, masked: MaskedKeys) -> bytes:
        """The text with its secrets overwritten, of the same length, whatever the bytes are."""
        lines = lines_of([body])
        found = scan(lines)
        text = buffer_of([body])
        both = (found.labels, found.exemplar_labels)
        for labels in both:
            secret = secret_labels(lines.buffer, labels.column("key"), masked.names)
            _mask_values(text, labels.column("value")[secret] >> OFFSET_BITS)
        values = np.concatenate([labels.column("value") >> OFFSET_BITS for labels in both])
        _exchange(text, values, _EQUALS, _NEWLINE)
        text = buffer_of([masked.mask_text(text.data[: text.size].tobytes(), self.name)])
        _exchange(text, values, _NEWLINE, _EQUALS)
        return text.data[: text.size].tobytes()


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
