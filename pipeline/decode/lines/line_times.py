"""When lines were written: as they say, else when a container runtime had them."""

import numpy as np

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints
from pipeline.decode.lines.lines import Lines
from pipeline.decode.lines.text_values import Values, rfc3339


def times_of(lines: Lines, source: Buffer, told: Ints) -> Values:
    """Times of lines, as Unix nanoseconds.

    Args:
        lines: the lines.
        source: where ``told`` lies.
        told: what each of them says, in RFC 3339; ``NOTHING`` where it says nothing.
    """
    found = rfc3339(source, told)
    untold = told == NOTHING
    if not untold.any() or (lines.stamps == NOTHING).all():
        return found
    had = rfc3339(lines.buffer, lines.stamps)
    return Values(
        np.where(untold, had.values, found.values), np.where(untold, had.good, found.good)
    )
