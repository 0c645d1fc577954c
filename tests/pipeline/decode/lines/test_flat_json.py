"""Lines that are walked and lines that are parsed are read alike."""

import orjson
import pyarrow as pa
from hypothesis import given, strategies as st

from pipeline.decode.envoy_json import FORMAT
from pipeline.decode.lines.lines import lines_of

KEYS = st.sampled_from(
    ["method", ":method", "path", "response_code", "duration", "bytes_sent", "grpc_status",
     "grpc-status", "x_forwarded_for", "start_time", "other", "user-agent"]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.just("-"), st.just(""), st.integers(-5, 10**6), st.just(10**18),
    st.text(max_size=6), st.integers(0, 10**6).map(str), st.just("007"), st.booleans(),
    st.just([1]), st.floats(0, 9),
)  # fmt: skip


def columns(texts: list[bytes], *, parsed: bool) -> dict[str, object]:
    lines = lines_of([b"\n".join(texts)])
    read = FORMAT._parsed(lines) if parsed else FORMAT.read(lines)
    return {
        "bad": read.bad.tolist(),
        "attributes": [one and orjson.loads(one) for one in read.attributes.to_pylist()],
        **{name: found.to_pylist() for name, found in read.fields.items()},
    }


def written(value: object, spaces: bool) -> bytes:
    text = orjson.dumps(value)
    return text.replace(b":", b" : ").replace(b",", b" , ") if spaces else text


@given(st.lists(st.builds(written, st.dictionaries(KEYS, VALUES), st.booleans()), min_size=1))
def test_walking_and_parsing_answer_the_same(texts: list[bytes]) -> None:
    assert columns(texts, parsed=False) == columns(texts, parsed=True)


LINES = rb"""{"method":"GET"
{"method" "GET"}
{"method":GET}
{"method":"GET",}
{,}
{}
{"method":01}
{"method":1 2}
{"method":"a"}}
{"method":"a"}x
{"duration":}
{"duration":nul}
{"duration":null}
{"duration":5}
{"response_code":65536}
{"duration":5
{"path":"\n"}
{"method":"a","method":"b"}
{"method":"a",:method":"b"}
{"duration":1e3}
{"duration":12345678901234567890}
{"method":"\u0041"}
{"method":"GET" "path":"a"}
[]"""
BROKEN = st.sampled_from(
    [*LINES.split(b"\n"), b'{"method":"\x01"}', b'{"a":"\xff"}', b'{"method":"\x7f"}']
)


@given(st.lists(BROKEN, min_size=1))
def test_what_is_not_json_is_told_alike(texts: list[bytes]) -> None:
    assert columns(texts, parsed=False) == columns(texts, parsed=True)


def test_simple_lines_are_walked() -> None:
    from pipeline.decode.lines.json_walk import walk  # noqa: PLC0415 - beside what it shows

    line = b'{"start_time":"2026-03-02T10:15:33Z", "method":"GET", "duration":12, "path":null}'
    walked = walk(lines_of([line]), FORMAT._members)
    assert walked.simple.tolist() == [True]
    assert isinstance(FORMAT.read(lines_of([line])).attributes, pa.Array)
