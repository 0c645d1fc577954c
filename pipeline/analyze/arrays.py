"""Columns as arrays for compiled functions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl


def values(series: pl.Series) -> npt.NDArray[Any]:
    """The values of a series without nulls, read-only whether or not they had to be copied.

    Numba compiles a function anew for every combination of argument types, and read-only is part
    of the type: with arrays that are sometimes copies it would compile while traffic waits.
    """
    return read_only(series.to_numpy())


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, contiguous and not to be written to."""
    shown = np.ascontiguousarray(array).view()
    shown.setflags(write=False)
    return shown
