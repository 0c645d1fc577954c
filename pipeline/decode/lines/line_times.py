"""When lines were written: as they say, else when a container runtime had them."""

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.lines.lines import Lines
from pipeline.decode.lines.text_values import Values, of_texts, rfc3339


def times_of(lines: Lines, told: pa.Array) -> Values:
    """Times of lines, as Unix nanoseconds.

    Args:
        lines: the lines.
        told: what each of them says, in RFC 3339; null where it says nothing.
    """
    found = rfc3339(*of_texts(told))
    if not told.null_count or (lines.stamps == NOTHING).all():
        return found
    had = rfc3339(lines.buffer, lines.stamps)
    untold = told.is_null().to_numpy(zero_copy_only=False)
    return Values(
        np.where(untold, had.values, found.values), np.where(untold, had.good, found.good)
    )
