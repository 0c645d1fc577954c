"""Labels told as pairs of texts, as rows of attributes."""

from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK
from pipeline.decode.wire.declaration import HEADER, PARENT
from pipeline.decode.wire.otlp_common import STRING
from pipeline.decode.wire.walk import Rows

_CELLS: Final = {"key": HEADER, "value": HEADER + 1, "type": HEADER + 2}


def label_rows(owners: Ints, keys: Ints, values: Ints) -> Rows:
    """A table of attributes; an empty label is none, as in Prometheus.

    Args:
        owners: of each label whose it is, in ascending order; the parents of the rows.
        keys: slices.
        values: slices.
    """
    told = values & LENGTH_MASK != 0
    cells = np.zeros((int(told.sum()), HEADER + len(_CELLS)), np.int64)
    for cell, column in ((PARENT, owners), (_CELLS["key"], keys), (_CELLS["value"], values)):
        cells[:, cell] = column[told]
    cells[:, _CELLS["type"]] = STRING
    return Rows(cells, _CELLS)


def labels_of(rows: Rows) -> Rows:
    """The same of rows with the cells ``key`` and ``value``."""
    return label_rows(rows.parents, rows.column("key"), rows.column("value"))
