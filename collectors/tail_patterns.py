"""Which files are followed: paths and globs, each with the format its files are in or without."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectors import formats
from pipeline.errors import InvalidInput

FIELD: Final = "tail"

_GROWING: Final = tuple(name for name in formats.FORMATS if name != formats.JAEGER_JSON)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Files of one setting.

    Attributes:
        format: a name out of ``formats.FORMATS``.
        glob: a path, or a glob in which ``**`` stands for any directories.
    """

    format: str
    glob: str

    def files(self) -> Iterator[Path]:
        """What matches now, in the order of names."""
        found = glob.iglob(self.glob, recursive=True)  # noqa: PTH207 - Path.glob is never absolute
        yield from map(Path, sorted(found))


def pattern(text: str) -> Pattern:
    """Read ``FORMAT:GLOB`` or ``GLOB``.

    Raises:
        InvalidInput: nothing is named, or a format that is not known or does not come line by line.
    """
    name, colon, rest = text.partition(":")
    if not colon or "/" in name:
        name, rest = formats.AUTO, text
    if not rest:
        raise InvalidInput(FIELD, found=text, allowed="a path or a glob, or FORMAT:GLOB")
    try:
        found = formats.known(name)
    except InvalidInput as error:
        raise InvalidInput(FIELD, found=text, allowed=_allowed()) from error
    if found not in _GROWING:
        raise InvalidInput(FIELD, found=text, allowed=_allowed())
    return Pattern(found, rest)


def _allowed() -> str:
    return f"a path (./a:b, where it has a colon), or FORMAT:GLOB with one of {', '.join(_GROWING)}"
