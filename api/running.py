"""Word left in a data directory of where the process that holds it answers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import orjson

RUNNING_FILE: Final = "running.json"


@contextmanager
def announced(data: Path, api: str) -> Iterator[None]:
    """Leave word in the data directory of where its process answers.

    Where several share it, the word of the last one holds.
    """
    file = data / RUNNING_FILE
    word = orjson.dumps({"api": api, "pid": os.getpid()})
    file.write_bytes(word)
    try:
        yield
    finally:
        with suppress(OSError):
            if file.read_bytes() == word:
                file.unlink()


def answering_at(data: Path) -> str | None:
    """URL of the process that holds a data directory, as far as it left word."""
    try:
        told = orjson.loads((data / RUNNING_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return str(told["api"]) if isinstance(told, dict) and "api" in told else None
