"""Records that no row can hold, told beside the messages that could not be read."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.walk import Walked
from pipeline.errors import DecodeError
from pipeline.model.decoded import Refusal

Truths = NDArray[np.bool_]

LONGEST_NAME: Final = 1024
"""How long a text may be, in bytes, that is told once and stands in every row of its message. Else
a message of a megabyte, half of it one name, could become gigabytes of rows."""


class Bad(NamedTuple):
    """Records that are refused for one reason.

    Attributes:
        messages: of each the message it is in, in ascending order.
        slices: where each is; the first of a message gives the offset.
        reason: what is wrong with them.
    """

    messages: Ints
    slices: Ints
    reason: str


def must_be_whole(walked: Walked, format_name: str) -> None:
    """Raise DecodeError where a message of the walk was malformed, of the first of these."""
    for refusal in walked.refused:
        raise DecodeError(refusal.reason, offset=refusal.offset, format=format_name)


def with_bad(walked: Walked, *bad: Bad) -> tuple[Refusal, ...]:
    """All refusals in message order: those of the walk, and one for each message and reason."""
    told = [refusal for one in bad for refusal in _refused(walked, one)]
    return tuple(sorted((*walked.refused, *told), key=lambda refusal: refusal.message))


def _refused(walked: Walked, bad: Bad) -> list[Refusal]:
    messages, first, count = np.unique(bad.messages, return_index=True, return_counts=True)
    offsets = (bad.slices[first] >> OFFSET_BITS) - walked.bounds[messages, 0]
    return [
        Refusal(message, bad.reason, offset, records)
        for message, offset, records in zip(
            messages.tolist(), offsets.tolist(), count.tolist(), strict=True
        )
    ]


def too_long(slices: Ints) -> Truths:
    """Which texts are longer than ``LONGEST_NAME``."""
    long: Truths = slices & LENGTH_MASK > LONGEST_NAME
    return long
