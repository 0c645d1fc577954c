"""Bytes as people read them: offset, hexadecimal, text."""

from typing import Final

WIDTH: Final = 16
"""Bytes in a line."""

AROUND: Final = 128
"""Bytes shown before and after the byte at fault."""


def dump(value: bytes, at: int | None = None) -> str:
    """Lines of a value around a byte, which is marked; from its beginning when there is none.

    Args:
        value: the bytes.
        at: index of a byte; outside of ``value`` its end is shown.
    """
    middle = min(max(at or 0, 0), len(value))
    first = max(middle - AROUND, 0) // WIDTH * WIDTH
    last = min(middle + AROUND, len(value))
    return "".join(_line(value[start:last], start, at) for start in range(first, last, WIDTH))


def _line(rest: bytes, start: int, at: int | None) -> str:
    cells = rest[:WIDTH]
    marked = [
        f"[{cell:02x}]" if start + index == at else f" {cell:02x} "
        for index, cell in enumerate(cells)
    ]
    text = "".join(chr(cell) if 0x20 <= cell < 0x7F else "." for cell in cells)
    return f"{start:08x} {''.join(marked).ljust(4 * WIDTH)} {text}\n"
