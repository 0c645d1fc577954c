"""What holds for every format of lines: golden files, laws, and no secret gets past the door."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import admit_lines, format_of_lines, line_format
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.model.topics import LINE_FORMATS
from tests.golden import Golden
from tests.pipeline.decode.line_rows import rows_of

HERE = Path(__file__).parent / "golden"
MASKED = MaskedKeys()
GOLDENS = [name for name in LINE_FORMATS if (HERE / f"{name}.in.txt").exists()]

PLANTED = "Zq3x9SECRETv7Lm"
SHAPES = (
    f"?access_token={PLANTED}&a=1",
    f"Bearer {PLANTED}",
    f"Basic {PLANTED}==",
    f"password={PLANTED}",
    f"X-Api-Key: {PLANTED}",
    f"https://user:{PLANTED}@host/x",
    f"/cb?code={PLANTED}",
    f"/go?to=https%3A%2F%2Fh%3Ftoken%3D{PLANTED}",
    f"eyJhbGciOiJIUzI1NiJ9.{PLANTED}.c2ln",
    f"Cookie: a=1; session={PLANTED}",
)


def lines_of(name: str) -> list[bytes]:
    return (HERE / f"{name}.in.txt").read_bytes().splitlines()


def test_every_format_has_a_golden_file() -> None:
    assert set(GOLDENS) >= {
        "envoy_text", "envoy_json", "linkerd_apache", "linkerd_json", "ztunnel", "combined",
    }  # fmt: skip


@pytest.mark.parametrize("name", GOLDENS)
def test_real_shaped_lines_become_rows(name: str, golden: Golden) -> None:
    decoded = DECODERS[name]([(HERE / f"{name}.in.txt").read_bytes()])
    refused = [{"offset": told.offset, "reason": told.reason} for told in decoded.refused]
    shown = orjson.dumps(
        {"rows": rows_of(decoded), "refused": refused},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    golden.check(HERE / f"{name}.out.json", shown.decode() + "\n")


@pytest.mark.parametrize("name", GOLDENS)
def test_a_format_is_known_by_its_lines(name: str) -> None:
    assert format_of_lines(lines_of(name)) == name
    assert line_format(name).fits(lines_of(name)[0])


SEVERAL = ("kong_json", "aws_apigateway", "apigee")
"""Formats that are also read in arrays and with line breaks in them: a line is no record there."""


@pytest.mark.parametrize("name", [name for name in LINE_FORMATS if name not in SEVERAL])
@given(data=st.binary(max_size=300))
def test_any_bytes_are_answered(name: str, data: bytes) -> None:
    admitted = admit_lines(name, data, MASKED)
    assert len(admitted.body) == len(data)
    lines = [line for line in admitted.body.split(b"\n") if line.strip(b" \t\r")]
    assert admitted.records + admitted.rejected == len(lines)


@pytest.mark.parametrize("name", GOLDENS)
@given(data=st.data())
@settings(max_examples=60)
def test_broken_lines_are_answered_too(name: str, data: st.DataObject) -> None:
    line = bytearray(data.draw(st.sampled_from(lines_of(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line) - 1))
        if data.draw(st.booleans()):
            line[at : at + data.draw(st.integers(1, 9))] = data.draw(st.binary(max_size=3))
        else:
            line[at] = data.draw(st.integers(0, 255))
        line = line or bytearray(b"x")
    admitted = admit_lines(name, bytes(line) + b"\n", MASKED)
    lines = [one for one in bytes(line).split(b"\n") if one.strip(b" \t\r")]
    assert admitted.records + admitted.rejected == len(lines)


@pytest.mark.parametrize("name", GOLDENS)
@given(data=st.data())
@settings(max_examples=25)
def test_neither_order_nor_chunking_changes_the_rows(name: str, data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(lines_of(name)), min_size=1, max_size=12))
    alone = [row for line in lines for row in rows_of(DECODERS[name]([line]))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=3)))
    messages = [
        b"\n".join(lines[begin:end]) + data.draw(st.sampled_from((b"", b"\n", b"\r\n\n")))
        for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)
    ]
    assert rows_of(DECODERS[name](messages)) == alone


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize("shape", SHAPES)
def test_secrets_planted_in_any_field_do_not_get_past_the_door(name: str, shape: str) -> None:
    for line in lines_of(name):
        for planted in planted_in(line, shape):
            admitted = admit_lines(name, planted, MASKED)
            assert PLANTED.encode() not in admitted.body, planted


def planted_in(line: bytes, shape: str) -> list[bytes]:
    """The line with the shape in the place of each of its fields, and under keys of secrets."""
    if line[:1] == b"{":
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return []
        secret = {"authorization": PLANTED, "Set-Cookie": [f"a={PLANTED}"], "x-api-key": PLANTED}
        return [orjson.dumps({**value, key: shape}) for key in value] + [
            orjson.dumps({**value, **secret, "nested": {"client_secret": PLANTED}})
        ]
    words = line.split(b" ")
    quoted = line.split(b'"')
    return [
        *(b" ".join([*words[:at], shape.encode(), *words[at + 1 :]]) for at in range(len(words))),
        *(
            b'"'.join([*quoted[:at], shape.encode(), *quoted[at + 1 :]])
            for at in range(1, len(quoted), 2)
        ),
    ]


def test_refusals_of_one_message_are_bounded() -> None:
    good = lines_of("combined")[1]
    decoded = DECODERS["combined"]([b"x\n" * 5000 + good])
    assert sum(told.records for told in decoded.refused) == 5000
    assert len(decoded.refused) == 101
    assert [told.offset for told in decoded.refused[:3]] == [0, 2, 4]


def test_masked_keys_of_the_settings_count_in_lines_too() -> None:
    line = b'{"start_time":"2026-03-02T10:15:33Z","response_code":200,"x-employee":"E1"}'
    masked = admit_lines("envoy_json", line, MaskedKeys(["x-employee"]))
    assert b'"x-employee":"**"' in masked.body
