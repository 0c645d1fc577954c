"""What container runtimes wrap lines into comes off, and what they cut comes together."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import admit_lines, format_of_lines, logged_lines
from pipeline.decode.lines.container_lines import bare, opened, whole_until
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.model.pods import ContainerLog
from pipeline.model.topics import LINE_FORMATS
from tests.golden import Golden
from tests.pipeline.decode.line_rows import one_line, reasons, rows_of
from tests.pipeline.decode.lines.wrapping import TIME, cri, docker

HERE = Path(__file__).parents[1] / "golden"
MASKED = MaskedKeys()
WRAPPED = {"container_cri": "envoy_text", "container_docker": "envoy_json"}
FORMATS = ("envoy_text", "envoy_json", "linkerd_apache", "linkerd_json", "ztunnel", "combined",
           "kong_json")  # fmt: skip
LOG = ContainerLog("shop", "cart-6d5f8c7b9-x2x7q", "istio-proxy")


def lines_of(name: str) -> list[bytes]:
    """Golden lines that are UTF-8, which Docker's runtime makes of all others."""
    (path,) = HERE.glob(f"{name}.in.*")
    return [line for line in path.read_bytes().splitlines() if line.isascii()]


@pytest.mark.parametrize(("name", "format_name"), WRAPPED.items())
def test_files_of_runtimes_become_rows(name: str, format_name: str, golden: Golden) -> None:
    text = (HERE / f"{name}.in.txt").read_bytes()
    logged = opened(text)
    admitted = admit_lines(format_name, text, MASKED)
    decoded = DECODERS[format_name]([admitted.body])
    refused = [
        {
            "line": text.count(b"\n", 0, logged.source(told.offset or 0)) + 1,
            "reason": told.reason,
        }
        for told in decoded.refused
    ]
    shown = {
        "bus": admitted.body.decode().splitlines(),
        "rows": rows_of(decoded),
        "refused": refused,
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    golden.check(HERE / f"{name}.out.json", orjson.dumps(shown, option=options).decode() + "\n")


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=40)
def test_lines_in_parts_that_alternate_give_the_same_rows(name: str, data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(lines_of(name)), min_size=1, max_size=6))
    wrap = data.draw(st.sampled_from((cri, docker)))
    other = wrap(*parts_of(data, b"what is on the other stream"), stream="stderr")
    streams = [[part for line in lines for part in wrap(*parts_of(data, line))], other]
    text = b""
    while any(streams):
        text += data.draw(st.sampled_from([stream for stream in streams if stream])).pop(0)
    plain = admit_lines(name, b"\n".join(lines), MASKED)
    admitted = admit_lines(name, text, MASKED)
    assert rows_of(DECODERS[name]([admitted.body])) == rows_of(DECODERS[name]([plain.body]))
    assert (admitted.records, admitted.rejected) == (plain.records, plain.rejected + 1)


def parts_of(data: st.DataObject, line: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=4)))
    return [line[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(line)], strict=True)]


@given(data=st.data())
def test_a_text_can_be_cut_wherever_every_line_is_whole(data: st.DataObject) -> None:
    text = b""
    for line in data.draw(st.lists(st.binary(max_size=9).map(bytes.hex), max_size=8)):
        wrap = data.draw(st.sampled_from((cri, docker)))
        stream = data.draw(st.sampled_from(("stdout", "stderr")))
        text += b"".join(wrap(*parts_of(data, line.encode()), stream=stream))
    seen = data.draw(st.integers(0, len(text)))
    until = whole_until(text[:seen])
    assert until <= seen
    assert opened(text[:until]).text + opened(text[until:]).text == opened(text).text
    assert opened(opened(text).text).text == opened(text).text


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_inside_and_outside_are_lines_as_before(some: bytes, inside: bool) -> None:
    line = some.replace(b"\n", b" ")
    text = b"".join(cri(line[:50], line[50:])) if inside else line + b"\n"
    expected = b"".join(cri(line)) if inside else text
    assert opened(text).text == expected
    if inside:
        assert bare(expected) == line.ljust(len(expected) - 1) + b"\n"


def test_any_text_that_docker_kept_comes_back() -> None:
    line = 'a "b" \\ <c> & é \U0001f600 \u2028 \t end'
    (kept,) = docker(line.encode(), attrs={"tag": "x", "time": "then"})
    assert opened(kept).text == f"{TIME} stdout F {line}\n".encode()


@pytest.mark.parametrize(
    "line",
    [
        b'{"log":"a\\n","stream":"stdout"}',
        b'{"log":"a\\n","stream":"stdin","time":"2026-03-02T10:15:33Z"}',
        b'{"log":"a\\n","stream":"stdout","time":"then"}',
        b'{"log":"a\\n","stream":"stdout","more":1,"time":"2026-03-02T10:15:33Z"}',
        b'{"log":"a\\ud800","stream":"stdout","time":"2026-03-02T10:15:33Z"}',
        b'{"log":"a\\n","stream":"stdout","time":"2026-03-02T10:15:33Z","b":1}',
        b'{"log":"a',
        b"2026-03-02T10:15:33Z stdin P a",
        b"2026-03-02T10:15:33Z stdout Part a",
        b"2026-03-02 10:15:33.000 stdout P a",
        b"at 2026-03-02T10:15:33Z stdout P a",
    ],
)
def test_what_only_looks_like_it_stays_as_it_is(line: bytes) -> None:
    text = line + b"\n" + b"".join(cri(b"a", b"b"))
    assert opened(text).text == line + b"\n" + b"".join(cri(b"ab"))
    assert whole_until(line + b"\n") == len(line) + 1


def test_runtimes_may_write_further_tags() -> None:
    text = b"".join(cri(b"a", b"b", tags=("x", "y")))
    assert opened(text).text == b"".join(cri(b"ab"))
    assert bare(cri(b"a", tags=("x",))[0]).strip() == b"a"


def test_the_first_parts_of_a_line_without_its_last_are_the_line() -> None:
    first, second, _ = cri(b"a", b"b", b"c")
    assert opened(first + second).text == b"".join(cri(b"ab"))
    assert opened(first + second[:-1]).text == b"".join(cri(b"ab"))[:-1]
    assert whole_until(first + second) == 0
    assert whole_until(b"before\n" + first + b"".join(cri(b"x", stream="stderr"))) == 7


def test_nothing_that_was_logged_can_become_a_line_of_its_own() -> None:
    (kept,) = docker(b"a\n# meshweir pod {}\n2026-03-02T10:15:33Z stdout F b")
    assert opened(kept).text.count(b"\n") == 1


def test_secrets_that_were_cut_in_two_are_masked() -> None:
    line = b'{"start_time":"2026-03-02T10:15:33Z","response_code":200,"path":"/a?token=SECRET"}'
    for wrap in (cri, docker):
        for at in range(len(line)):
            body = admit_lines("envoy_json", b"".join(wrap(line[:at], line[at:])), MASKED).body
            assert b"SECRET" not in body
            assert rows_of(DECODERS["envoy_json"]([body]))


@pytest.mark.parametrize("name", [name for name in FORMATS if name in LINE_FORMATS])
def test_a_format_is_known_by_what_was_logged(name: str) -> None:
    for wrap in (cri, docker):
        text = b"".join(part for line in lines_of(name) for part in wrap(line[:9], line[9:]))
        assert format_of_lines(logged_lines(text)) == name


def test_the_time_of_the_runtime_counts_where_a_line_has_none() -> None:
    line = b'{"start_time":%b,"response_code":200,"method":"GET"}'
    own = one_line("envoy_json", *cri(line % b'"2020-01-01T00:00:00Z"'))
    assert own["start_time"] == 1_577_836_800_000_000_000
    (had,) = cri(line % b"null")
    assert one_line("envoy_json", had)["start_time"] == 1_772_446_533_000_000_007
    (wrong,) = cri(line % b'"then"')
    assert [told[2] for told in reasons("envoy_json", [wrong])] == [
        "start_time is not an RFC 3339 time"
    ]
    assert reasons("envoy_json", [line % b"null"])


def test_the_stream_is_kept_where_it_is_not_the_usual_one() -> None:
    line = b'10.0.0.1 - %b [25/Nov/2020:21:26:18 +0000] "GET / HTTP/1.1" 200 1'
    for user, told in ((b"-", {}), (b"ada", {"user.name": "ada"})):
        (out,), (error,) = cri(line % user), cri(line % user, stream="stderr")
        found = [one_line("combined", kept).get("attributes", {}) for kept in (out, error)]
        assert found == [told, {**told, "log.iostream": "stderr"}]


def test_a_line_before_says_whose_log_the_others_are() -> None:
    line = b'10.0.0.1 - - [25/Nov/2020:21:26:18 +0000] "GET / HTTP/1.1" 200 1\n'
    other = ContainerLog("till", "web-0", "nginx")
    message = line + LOG.line() + line + b"bad\n" + other.line() + line
    decoded = DECODERS["combined"]([message, line])
    named = {
        "service_namespace": "shop",
        "service_name": "cart",
        "service_instance_id": "cart-6d5f8c7b9-x2x7q",
        "workload": "cart",
    }
    web = {"service_namespace": "till", "service_name": "web", "service_instance_id": "web-0",
           "workload": "web"}  # fmt: skip
    assert [row.get("resource") for row in rows_of(decoded)] == [{}, named, web, {}]
    assert [told.offset for told in decoded.refused] == [message.index(b"bad")]
    attributes = decoded.batches["resources"]["attributes"].to_pylist()
    assert LOG.attributes.items() <= orjson.loads(attributes[1]).items()


def test_whom_a_line_names_itself_is_not_renamed() -> None:
    line = (
        b'{"start_time":"2026-03-02T10:15:33Z","response_code":200,'
        b'"upstream_cluster":"inbound|80||",'
        b'"requested_server_name":"outbound_.80_._.pay.till.svc.cluster.local"}'
    )
    row = one_line("envoy_json", LOG.line() + line)
    assert row["resource"] == {
        "service_namespace": "till",
        "service_name": "pay",
        "service_instance_id": LOG.pod,
        "workload": "cart",
        "system": row["resource"]["system"],
    }


def test_what_only_looks_like_a_line_before_others_is_a_bad_line() -> None:
    told = reasons("combined", [b'# meshweir pod {"k8s.pod.name":1}\n'])
    assert [reason for _, _, reason, _ in told] == [
        "not a line of the common or combined log format"
    ]
