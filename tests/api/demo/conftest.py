"""Fixtures for the tests of the demo."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        yield Path(name)
