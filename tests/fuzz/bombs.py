"""Inputs made to blow up: small pieces that a careless decoder makes large, or slow, or deep."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

Bomb = Callable[[bytes, int], bytes]
"""Makes a message of about so many bytes out of a good one."""


def _fill(piece: bytes, size: int) -> bytes:
    return piece * -(-size // len(piece))


def _nested(opening: bytes, closing: bytes) -> Bomb:
    return lambda _seed, size: (
        opening * (size // len(opening + closing)) + closing * (size // len(opening + closing))
    )


def _filled(piece: bytes) -> Bomb:
    return lambda _seed, size: _fill(piece, size)


def _repeated(seed: bytes, size: int) -> bytes:
    return _fill(seed if seed.endswith(b"\n") else seed + b"\n", size)


def _joined(seed: bytes, size: int) -> bytes:
    return _fill(seed, size)


def _in_array(seed: bytes, size: int) -> bytes:
    line = seed.splitlines()[0] if seed else b"{}"
    return b"[" + b",".join([line] * max(1, size // (len(line) + 1))) + b"]"


def _long_middle(seed: bytes, size: int) -> bytes:
    half = len(seed) // 2
    return seed[:half] + b"a" * size + seed[half:]


def _many_messages_in_protobuf(_seed: bytes, size: int) -> bytes:
    """Empty messages inside of messages, three levels deep."""
    inner = _fill(b"\x0a\x00", 120)
    middle = _fill(b"\x12" + bytes((len(inner),)) + inner, size)
    length = len(middle)
    varint = bytes((length >> shift & 127) | 128 for shift in range(0, 28, 7)) + b"\0"
    return b"\x0a" + varint + middle


def _deep_protobuf(_seed: bytes, size: int) -> bytes:
    message = b""
    while len(message) < min(size, 4000):
        length = len(message)
        message = b"\x0a" + bytes((length & 127 | 128, length >> 7)) + message
    return message


BOMBS: Final[Mapping[str, Bomb]] = {
    "arrays in arrays": _nested(b"[", b"]"),
    "objects in objects": _nested(b'{"a":', b"}"),
    "arrays that never end": _filled(b"["),
    "escapes that never end": _filled(b'"\\'),
    "quotes": _filled(b'"'),
    "blank lines": _filled(b"\n"),
    "spaces": _filled(b" "),
    "commas": _filled(b","),
    "percent signs": _filled(b"%25"),
    "zeros": _filled(b"\0"),
    "groups in groups": _filled(b"\x0b"),
    "empty fields": _filled(b"\x0a\x00"),
    "empty messages in messages": _many_messages_in_protobuf,
    "messages in messages": _deep_protobuf,
    "many records": _repeated,
    "many records in one line": _joined,
    "many records in an array": _in_array,
    "a long piece": _long_middle,
    "parts of a line that never ends": _filled(b"2026-03-02T10:15:33Z stdout P x\n"),
    "parts of two lines in turn": _filled(
        b"2026-03-02T10:15:33Z stdout P x\n2026-03-02T10:15:33Z stderr P y\n"
    ),
    "lines of nothing in containers": _filled(
        b'{"log":"\\n","stream":"stdout","time":"2026-03-02T10:15:33Z"}\n'
    ),
    "lines that say whose the others are": _filled(
        b'# meshweir pod {"k8s.namespace.name":"a","k8s.pod.name":"b","k8s.container.name":"c"}\n'
        b'- - - [25/Nov/2020:21:26:18 +0000] "GET / HTTP/1.1" 200 1\n'
    ),
}


def depths(seed: bytes, depth: int) -> Iterator[bytes]:
    """The JSON lines of a seed with arrays and objects this deep in the place of each member."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = opening * depth + b"1" + closing * depth
        yield deep
        for line in {seed, *seed.splitlines()}:
            yield from (_with(line, path, deep) for path in _paths(line))


def echoes(seed: bytes, size: int) -> Iterator[bytes]:
    """JSON of a seed in which one text is long, and one array has very many short items."""
    for line in {seed, *seed.splitlines()}:
        whole = _loaded(line)
        for path in _paths(line):
            for other in _paths(line):
                if isinstance(_at(whole, path), str) and isinstance(_at(whole, other), list):
                    yield _echo(line, path, other, size)


def _echo(line: bytes, text: tuple[Any, ...], array: tuple[Any, ...], size: int) -> bytes:
    whole = _loaded(line)
    items = _at(whole, array)
    items *= max(1, size // (1 + len(orjson.dumps(items))))
    holder = _at(whole, text[:-1])
    holder[text[-1]] = "a" * size
    return orjson.dumps(whole)


def _loaded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(line: bytes, path: tuple[Any, ...], deep: bytes) -> bytes:
    whole = _loaded(line)
    _at(whole, path[:-1])[path[-1]] = "@deep@"
    return orjson.dumps(whole).replace(b'"@deep@"', deep)


def _paths(line: bytes) -> list[tuple[Any, ...]]:
    """Where in a JSON document other values stand, as keys to follow."""
    found: list[tuple[Any, ...]] = []
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), _loaded(line))]
    while waiting:
        path, value = waiting.pop()
        if path:
            found.append(path)
        members = value.items() if isinstance(value, dict) else ()
        members = enumerate(value) if isinstance(value, list) else members
        waiting += [((*path, key), inner) for key, inner in members]
    return found
