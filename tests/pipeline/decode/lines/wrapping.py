"""Wraps lines as container runtimes do: an implementation of its own, by the runtimes' sources."""

from collections.abc import Sequence

import orjson

TIME = "2026-03-02T10:15:33.000000007Z"


def cri(
    *parts: bytes, stream: str = "stdout", time: str = TIME, tags: Sequence[str] = ()
) -> list[bytes]:
    """The lines that containerd and CRI-O write for one line; tags of their own may follow."""
    told = [*["P"] * (len(parts) - 1), "F"]
    return [
        f"{time} {stream} {':'.join((tag, *tags))} ".encode() + part + b"\n"
        for tag, part in zip(told, parts, strict=True)
    ]


def docker(
    *parts: bytes, stream: str = "stdout", time: str = TIME, attrs: object = None
) -> list[bytes]:
    """The lines that Docker's json-file writes for one line."""
    more = {} if attrs is None else {"attrs": attrs}
    texts = [part.decode() for part in parts]
    texts[-1] += "\n"
    return [
        # as Go does, which escapes what means something in HTML
        orjson.dumps({"log": text, "stream": stream, **more, "time": time})
        .replace(b"<", b"\\u003c")
        .replace(b"&", b"\\u0026")
        + b"\n"
        for text in texts
    ]
