"""Bodies of lines are cut between records, and nothing is lost or changed by it."""

import orjson
import pytest
from hypothesis import given, strategies as st

from collectors.cut.lines import line_parts
from collectors.delivery import parts_of
from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.errors import MessageTooLarge
from pipeline.model.pods import ContainerLog
from tests.pipeline.decode.gateway_rows import rows


def record(number: int, pad: int = 0) -> dict[str, object]:
    return {
        "started_at": 1_764_172_800_000 + number,
        "latencies": {"request": 5},
        "request": {"method": "GET", "uri": "/" + "x" * pad},
        "response": {"status": 200},
    }


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    end=st.sampled_from([b"", b"\n"]),
    size=st.integers(1, 60),
)
def test_lines_stay_whole_and_parts_fit_where_they_can(
    lines: list[bytes], end: bytes, size: int
) -> None:
    text = b"\n".join([b"!", *lines]) + end
    parts = list(line_parts(text, size=size))
    assert b"".join(parts) == text
    assert all(len(part) <= size or part.count(b"\n", 0, -1) == 0 for part in parts)


def test_whose_log_it_is_stands_before_every_part() -> None:
    head = ContainerLog("shop", "cart-0", "app").line()
    body = head + b"".join(b"line %d\n" % number for number in range(20))
    parts = list(line_parts(body, size=len(head) + 30))
    assert len(parts) > 2
    assert all(part.startswith(head) and len(part) <= len(head) + 30 for part in parts)
    assert head + b"".join(part.removeprefix(head) for part in parts) == body


@pytest.mark.parametrize("form", ["array", "indented", "lines"])
def test_records_in_any_layout_are_cut(form: str) -> None:
    records = [record(number, pad=200) for number in range(50)]
    body = {
        "array": orjson.dumps(records),
        "indented": orjson.dumps(records, option=orjson.OPT_INDENT_2),
        "lines": b"\n".join(map(orjson.dumps, records)),
    }[form]
    whole = admit("kong_json", body, MaskedKeys())
    parts = parts_of("kong_json", whole, limit=2000)
    assert len(parts) > 5
    assert all(len(part.body) <= 2000 for part in parts)
    decoded = DECODERS["kong_json"]([part.body for part in parts])
    assert [row["start_time"] for row in rows(decoded)] == [
        (1_764_172_800_000 + number) * 10**6 for number in range(50)
    ]


def test_bad_lines_stay_in_their_place() -> None:
    good = orjson.dumps(record(1, pad=100))
    whole = admit("kong_json", b"\n".join([good, b"bad", good, b'{"a":1}', good]), MaskedKeys())
    parts = parts_of("kong_json", whole, limit=300)
    assert sum(part.records for part in parts) == whole.records == 3
    assert sum(part.rejected for part in parts) == whole.rejected == 2


def test_a_record_that_is_larger_by_itself_refuses_the_body() -> None:
    body = orjson.dumps([record(1), record(2, pad=500)])
    whole = admit("kong_json", body, MaskedKeys())
    with pytest.raises(MessageTooLarge, match="record 2 of the body"):
        parts_of("kong_json", whole, limit=400)
