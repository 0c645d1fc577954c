"""How functions are compiled here, said once.

Kernels release the interpreter's lock, so that several threads may decode, and are cached on disk,
so that a machine compiles them once. Numba compiles a function again for every combination of
argument types it meets; ``buffer_of`` gives all kernels the same type of buffer.

A cached kernel does not notice that a kernel it calls in *another* file has changed. While working
on kernels, delete ``pipeline/decode/__pycache__``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numba.core import types
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

SLACK: Final = 64
"""Bytes behind the contents of every buffer, so that kernels may read and write whole words."""


_OPTIONS: Final[dict[str, Any]] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    # Kernels do not count references to arrays, which is ten times faster where small kernels call
    # each other, and so they cannot make arrays: whoever calls brings all the room they need.
    "_nrt": False,
}


def kernel(function: Function) -> Function:
    """Compile on first call; no exceptions, no interpreter, no bounds checks inside."""
    return _compiled(function)


def inlined(function: Function) -> Function:
    """A kernel small enough to be copied into its callers by the compiler."""
    return _compiled(function, forceinline=True)


def _compiled(function: Function, *, forceinline: bool = False) -> Function:
    """The function, compiled once for all numbers that are written where it is called.

    Numba would compile it again for each of them, and for what a variable begins with.
    """
    compiled: Any = njit(**_OPTIONS, forceinline=forceinline)(function)
    ask = compiled.get_call_template

    def ask_without_literals(arguments: Iterable[Any], named: Mapping[str, Any]) -> object:
        return ask(tuple(map(types.unliteral, arguments)), named)

    compiled.get_call_template = ask_without_literals
    return cast("Function", compiled)


class Buffer(NamedTuple):
    """Writable bytes with slack behind them; kernels take it as it is.

    Attributes:
        data: the bytes, one by one.
        words: the same memory as little-endian 64-bit words, one starting at every byte:
            ``words[i]`` is an unaligned load of bytes ``i`` to ``i + 7``.
        size: how many bytes are contents.
    """

    data: Bytes
    words: Words
    size: int


def buffer_of(parts: Iterable[bytes]) -> Buffer:
    """The parts one after the other."""
    told = tuple(parts)
    buffer = empty_buffer(sum(map(len, told)))
    room, at = buffer.data.data, 0
    for part in told:
        room[at : at + len(part)] = part
        at += len(part)
    return buffer


def empty_buffer(size: int) -> Buffer:
    """Room for ``size`` bytes; what is in them is not defined."""
    return _buffer(np.empty(size + SLACK, np.uint8), size)


def _buffer(data: Bytes, size: int) -> Buffer:
    words = np.ndarray((len(data) - 7,), np.uint64, data, strides=(1,))
    return Buffer(data, words, size)
