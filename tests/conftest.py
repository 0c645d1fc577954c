"""Fixtures and flags that all tests share."""

import pytest

from tests.golden import Golden


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that rewrites golden files."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files with what was found"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares with golden files, or rewrites them."""
    return Golden(update=bool(request.config.getoption("--update-golden")))
