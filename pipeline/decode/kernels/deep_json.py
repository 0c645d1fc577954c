"""JSON values written again, also those that are nested deeper than a writer goes.

A parser reads some 1,000 levels, the writer writes 254: what lies between must not break a decoder.
"""

from typing import Final

import orjson

TOO_DEEP: Final = "(nested too deeply)"
"""What stands for a structure that can be read but not be written again."""


def written(value: object) -> str:
    """The value as JSON text; ``TOO_DEEP`` where it is too deep."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return TOO_DEEP


def members_written(members: dict[str, object]) -> str:
    """An object as JSON text, with ``TOO_DEEP`` in the place of each member that is too deep."""
    try:
        return orjson.dumps(members).decode()
    except orjson.JSONEncodeError:
        kept = {name: _shallow(value) for name, value in members.items()}
        return orjson.dumps(kept).decode()


def _shallow(value: object) -> object:
    # inside of an object it is a level deeper
    return TOO_DEEP if written([value]) == TOO_DEEP else value
