"""Documents of JSON are cut between their records."""

import orjson
import pytest
from hypothesis import given, strategies as st

from collectors.cut.documents import cut
from pipeline.decode.otlp.via_otlp import flat
from pipeline.errors import DecodeError

RECORDS = st.recursive(
    st.dictionaries(st.text(max_size=5), st.integers(0, 10**6), max_size=4),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=30,
)


@given(RECORDS, st.integers(10, 200))
def test_parts_hold_all_records_in_order_and_fit(value: object, size: int) -> None:
    document = orjson.dumps(value)
    parts = list(cut(document, size=size))
    found = [record for part in parts for record in flat(orjson.loads(part))]
    assert found == list(flat(value))
    for part in parts:
        assert len(part) <= size or len(list(flat(orjson.loads(part)))) == 1


def test_what_fits_stays_as_it_is() -> None:
    document = b'  [ {"a" : 1} ]'
    assert list(cut(document, size=100)) == [document]


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(DecodeError, match="not JSON at byte 4"):
        list(cut(b"[1, ", size=2))
