"""When nobody writes to a file any more, as far as was looked."""

from pathlib import Path

import pytest

from collectors.tail_file import TailedFile
from collectors.tail_followed import Followed


@pytest.fixture
def one(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"unfinished")
    found = Followed(TailedFile.open(tmp_path / "log"))
    yield found
    found.file.close()


def test_a_file_that_has_its_name_is_never_over(one: Followed) -> None:
    assert not one.is_over(0)
    one.missed(0)
    one.missed(10)
    assert one.is_over(10)
    one.seen(Path("renamed"))
    assert not one.is_over(0)
    assert one.file.place.path == "renamed"
    one.missed(20)
    assert not one.is_over(10)


def test_a_file_that_grows_is_not_over_though_its_line_has_no_end(
    one: Followed, tmp_path: Path
) -> None:
    one.missed(0)
    with (tmp_path / "log").open("ab", buffering=0) as log:
        log.write(b" still")
        one.missed(10)
        assert not one.is_over(10)
        one.missed(20)
        log.write(b" more")
        assert not one.is_over(10)  # it grew since the last look
    one.missed(30)
    one.missed(40)
    assert one.is_over(10)


def test_one_look_alone_says_nothing(one: Followed) -> None:
    """A file that is just renamed may be missed, and the bus may be full until the next look."""
    one.missed(0)
    assert not one.is_over(1)
