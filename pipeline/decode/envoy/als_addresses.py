"""Addresses of access-log entries as text.

``ip:port``, ``[ip]:port``, the path of a pipe, or ``envoy://listener/endpoint``; of ports that have
names the name. Source: ``envoy/config/core/v3/address.proto``.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.envoy.als_entries import Entries
from pipeline.decode.kernels.json_text import Page, written
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, inlined, kernel
from pipeline.decode.kernels.text import (
    COLON,
    LENGTH_MASK,
    LONGEST_MENDED,
    OFFSET_BITS,
    copy_text,
    decimal,
)
from pipeline.decode.wire.parts import Part

_SOCKET, _PIPE, _INTERNAL = 1, 2, 3
"""Field numbers of Address's alternatives."""

_NAMED_PORT: Final = 4
"""Field number of SocketAddress's alternative to a numeric port."""

_KIND, _HOST, _PORT, _PORT_NAME, _PATH, _LISTENER, _ENDPOINT = range(7)

_TEXTS: Final = (_HOST, _PORT_NAME, _PATH, _LISTENER, _ENDPOINT)
_ROOM: Final = 64
_SCHEME: Final = np.frombuffer(b"envoy://", np.uint8)
_OPEN, _CLOSE, _SLASH, _ZERO = ord("["), ord("]"), ord("/"), ord("0")


def address(entries: Entries, table: str) -> pa.Array:
    """The address of that part of each entry; null where none is told."""
    part = Part(entries.walked.rows(table), len(entries))
    named = part.case("port_kind") == _NAMED_PORT
    cells = np.stack(
        [
            part.case("kind"),
            part.column("host"),
            np.where(named, -1, part.column("port")),
            part.column("named_port"),
            *(part.column(name) for name in ("path", "listener", "endpoint")),
        ],
        axis=1,
    )
    source = entries.walked.buffer

    def write(page: Page) -> int:
        return _addresses(source, cells, page)

    return written(write, 24 * len(entries), len(entries))


@kernel
def _addresses(source: Buffer, cells: Ints, page: Page) -> int:
    """Write addresses; returns the entry there was no room for."""
    first, out, offsets = page
    for entry in range(first, len(cells)):
        at = offsets[entry]
        room = _ROOM
        for text in _TEXTS:
            room += LONGEST_MENDED * (cells[entry, text] & LENGTH_MASK)
        if at + room > out.size:
            return entry
        kind = cells[entry, _KIND]
        if kind == _SOCKET and cells[entry, _HOST] & LENGTH_MASK:
            at = _socket(source, cells[entry], out, at)
        elif kind == _PIPE:
            at = copy_text(source, cells[entry, _PATH], out, at)
        elif kind == _INTERNAL:
            at = _word(_SCHEME, out, at)
            at = copy_text(source, cells[entry, _LISTENER], out, at)
            if cells[entry, _ENDPOINT] & LENGTH_MASK:
                out.data[at] = _SLASH
                at = copy_text(source, cells[entry, _ENDPOINT], out, at + 1)
        offsets[entry + 1] = at
    return len(cells)


@inlined
def _socket(source: Buffer, cells: Ints, out: Buffer, at: int) -> int:
    host = cells[_HOST]
    bracketed = _has_colon(source, host)
    if bracketed:
        out.data[at] = _OPEN
        at += 1
    at = copy_text(source, host, out, at)
    if bracketed:
        out.data[at] = _CLOSE
        at += 1
    out.data[at] = COLON
    at += 1
    if cells[_PORT] >= 0:
        return decimal(cells[_PORT], out, at)
    if cells[_PORT_NAME] & LENGTH_MASK:
        return copy_text(source, cells[_PORT_NAME], out, at)
    out.data[at] = _ZERO
    return at + 1


@inlined
def _has_colon(source: Buffer, slice_: int) -> bool:
    begin = slice_ >> OFFSET_BITS
    for index in range(begin, begin + (slice_ & LENGTH_MASK)):
        if source.data[index] == COLON:
            return True
    return False


@inlined
def _word(word: Bytes, out: Buffer, at: int) -> int:
    for index in range(len(word)):
        out.data[at + index] = word[index]
    return int(at + len(word))
