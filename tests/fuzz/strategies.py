"""Messages for Hypothesis: any bytes, and good messages that were damaged."""

from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import strategies as st

TOKENS = (
    b"\0", b"\xff", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\n", b"\r", b'"', b'""', b"\\", b'\\"',
    b"\\u0000", b"\\ud800", b"[", b"]", b"{", b"}", b":", b",", b"-", b"-0", b"1e999", b"1e-999",
    b"NaN", b"Infinity", b"null", b"true", b"18446744073709551616", b"-9223372036854775809",
    b"99999999999999999999999999", b"0x7f", b"\x0a\x00", b"\x12\x02\x0a\x00", b"\x0b", b"\x0c",
    b"\x0a\xff\xff\xff\xff\x0f", b"\x80" * 10 + b"\x01", b"\x1f\x8b", b"# TYPE ", b"# EOF\n", b"{}",
    b"2026-03-02T10:15:33Z stdout P ", b"\n2026-03-02T10:15:33Z stderr F:x ", b'{"log":"',
    b'\\n","stream":"stdout","time":"2026-03-02T10:15:33Z"}\n', b"# meshweir pod {",
)  # fmt: skip
"""What parsers trip over: half a character, numbers beyond 64 bits, tags and lengths."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["-", "", "0", "-1", "NaN", "a" * 300])
)


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, good messages with a few edits, and JSON with other values in it."""
    return st.binary(max_size=300) | edited(seeds) | other_values(seeds)


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed in which up to four pieces were replaced, removed, inserted or repeated."""
    message = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(message)))
        end = draw(st.integers(begin, min(len(message), begin + 40)))
        piece = draw(
            st.sampled_from(TOKENS)
            | st.binary(max_size=6)
            | st.binary(min_size=end - begin, max_size=end - begin)
            | st.integers(2, 5).map(lambda times, some=message[begin:end]: some * times)
        )
        message = message[:begin] + piece + message[end:]
    return message


@st.composite
def other_values(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A line of a seed that is JSON, with one value of it replaced; other seeds are only cut."""
    message = draw(st.sampled_from(seeds))
    line = draw(st.sampled_from([message, *message.splitlines()]))
    try:
        whole = [orjson.loads(line)]
    except orjson.JSONDecodeError:
        return line
    holder, key = draw(st.sampled_from(_places(whole)))
    holder[key] = draw(SCALARS | st.lists(SCALARS, max_size=3) | st.just({}) | st.just([{}]))
    return orjson.dumps(whole[0])


def _places(whole: list[Any]) -> list[tuple[Any, Any]]:
    """Every place in a JSON value where another one stands."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [whole]
    while waiting:
        holder = waiting.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                waiting.append(holder[key])
    return found
