"""What tests of jobs share."""

import pytest

from pipeline.store import open_store


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()
