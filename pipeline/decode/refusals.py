"""Records that no row can hold, told beside the messages that could not be read."""

import numpy as np

from pipeline.decode.kernel import Ints
from pipeline.decode.text import OFFSET_BITS
from pipeline.decode.wire import Walked
from pipeline.model.decoded import Refusal


def with_records(walked: Walked, messages: Ints, slices: Ints, reason: str) -> tuple[Refusal, ...]:
    """All refusals in message order: those of the walk, and one for each message with bad records.

    Args:
        walked: the walk.
        messages: of each bad record the message it is in, in ascending order.
        slices: where each bad record is; the first of a message gives the offset.
        reason: what is wrong with them.
    """
    bad, first, count = np.unique(messages, return_index=True, return_counts=True)
    offsets = (slices[first] >> OFFSET_BITS) - walked.bounds[bad, 0]
    told = [
        Refusal(message, reason, offset, records)
        for message, offset, records in zip(
            bad.tolist(), offsets.tolist(), count.tolist(), strict=True
        )
    ]
    return tuple(sorted((*walked.refused, *told), key=lambda refusal: refusal.message))
