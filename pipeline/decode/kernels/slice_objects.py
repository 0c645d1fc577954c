"""JSON objects of texts that lie in a buffer: one for each line, of what is told."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.json_text import Page, written
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.kernels.text import (
    CLOSE_OBJECT,
    COMMA,
    LENGTH_MASK,
    LONGEST_ESCAPED,
    OPEN_OBJECT,
    copy,
    json_string,
    slices_of,
)

_ROOM: Final = 16


def objects_of(source: Buffer, members: Mapping[str, Ints]) -> pa.Array:
    """One JSON object for each line; null where nothing is told.

    Args:
        source: what the slices point into.
        members: keys, and of each line the slice of its text; ``NOTHING`` leaves it out.
    """
    labels = [orjson.dumps(key) + b":" for key in members]
    values = np.stack(list(members.values()))
    text, slices = buffer_of(labels), slices_of(labels)

    def write(page: Page) -> int:
        return _objects(source, values, text, slices, page)

    return written(write, 1 << 12, values.shape[1])


@kernel
def _objects(source: Buffer, values: Ints, text: Buffer, labels: Ints, page: Page) -> int:
    """Write objects; returns the line there was no room for."""
    first, out, offsets = page
    for line in range(first, len(offsets) - 1):
        at = offsets[line]
        room = _ROOM
        for member in range(len(labels)):
            if values[member, line] != NOTHING:
                room += (labels[member] & LENGTH_MASK) + _ROOM
                room += LONGEST_ESCAPED * (values[member, line] & LENGTH_MASK)
        if at + room > out.size:
            return line
        if room > _ROOM:
            out.data[at] = OPEN_OBJECT
            at += 1
            for member in range(len(labels)):
                if values[member, line] != NOTHING:
                    at = copy(text, labels[member], out, at)
                    at = json_string(source, values[member, line], out, at)
                    out.data[at] = COMMA
                    at += 1
            out.data[at - 1] = CLOSE_OBJECT
        offsets[line + 1] = at
    return len(offsets) - 1
