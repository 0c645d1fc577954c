"""The check at the door says of any bytes exactly what the decoder will do with them."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import line_format
from pipeline.model.topics import FORMAT_SIGNAL, LINE_FORMATS

GOLDEN = Path(__file__).parent / "golden"
CHECKED = [name for name in LINE_FORMATS if line_format(name).check]


def agrees(name: str, messages: list[bytes]) -> int:
    """How many records are taken, when both say so and refuse the same."""
    check = line_format(name).check
    assert check
    told = check(messages)
    decoded = DECODERS[name](messages)
    rows = decoded.batches.get(FORMAT_SIGNAL[name])
    assert told.records == (0 if rows is None else rows.num_rows)
    assert told.refused == decoded.refused
    return told.records


def golden(name: str) -> bytes:
    (found,) = GOLDEN.glob(f"{name}.in.*")
    return found.read_bytes()


def lines_of(name: str) -> list[bytes]:
    """Lines of the golden file that are objects."""
    return [line for line in golden(name).splitlines() if is_object(line)]


def is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def test_formats_of_json_have_a_check() -> None:
    gateways = {"kong_json", "aws_apigateway", "apigee"}
    assert {*gateways, "envoy_json", "linkerd_json"} <= set(CHECKED)


@pytest.mark.parametrize("name", CHECKED)
def test_of_golden_files(name: str) -> None:
    whole = golden(name)
    assert agrees(name, [whole]) > 0
    assert agrees(name, [b"", whole, whole]) > 0


@pytest.mark.parametrize("name", CHECKED)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_of_broken_lines(name: str, data: st.DataObject) -> None:
    messages = []
    for line in data.draw(st.lists(st.sampled_from(lines_of(name)), min_size=1, max_size=4)):
        broken = bytearray(line)
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(broken)))
            broken[at : at + data.draw(st.integers(0, 9))] = data.draw(
                st.one_of(
                    st.binary(max_size=3),
                    st.sampled_from([b"{", b"}", b'"', b"\\", b"null", b"\n", b"[", b'\\u0073"']),
                )
            )
        messages.append(bytes(broken))
    agrees(name, messages)


@pytest.mark.parametrize("name", CHECKED)
@given(messages=st.lists(st.binary(max_size=80), max_size=4))
@settings(max_examples=60, deadline=None)
def test_of_any_bytes(name: str, messages: list[bytes]) -> None:
    agrees(name, messages)


@pytest.mark.parametrize("name", CHECKED)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_of_records_in_which_members_are_missing_or_strange(name: str, data: st.DataObject) -> None:
    value = orjson.loads(data.draw(st.sampled_from(lines_of(name)[:4])))
    for _ in range(data.draw(st.integers(1, 5))):
        key = data.draw(st.sampled_from(sorted(value)))
        value[key] = data.draw(
            st.sampled_from([None, "", "-", "(not set)", -1, 0, 5.5, True, [], {}, "x", 10**15])
        )
    agrees(name, [orjson.dumps(value)])
