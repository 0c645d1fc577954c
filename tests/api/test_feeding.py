"""Which bus feeds a data directory."""

import pytest

from api.feeding import Feed, claim
from pipeline.errors import InvalidInput
from pipeline.model.messages import Partition

READ = {Partition("otlp_spans", 0): 7}


@pytest.mark.parametrize("feed", Feed)
def test_a_new_directory_takes_either_and_keeps_it(tmp_path, feed):
    (other,) = set(Feed) - {feed}
    claim(tmp_path, feed, {})
    claim(tmp_path, feed, READ)
    with pytest.raises(InvalidInput, match=f"fed by the bus {feed}, whose"):
        claim(tmp_path, other, READ)


def test_a_store_from_before_there_was_a_choice_is_fed_by_the_embedded_bus(tmp_path):
    with pytest.raises(InvalidInput, match=r"another --data"):
        claim(tmp_path, Feed.KAFKA, READ)
    claim(tmp_path, Feed.EMBEDDED, READ)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"bus":"pigeons"}', b"\xff"])
def test_a_word_that_cannot_be_read_is_no_word(tmp_path, content):
    (tmp_path / "fed.json").write_bytes(content)
    claim(tmp_path, Feed.KAFKA, {})
    with pytest.raises(InvalidInput):
        claim(tmp_path, Feed.EMBEDDED, {})
