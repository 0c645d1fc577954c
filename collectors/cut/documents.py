"""Cuts JSON documents between their records, into arrays of a bounded size."""

from collections.abc import Iterator

import orjson

from pipeline.decode.otlp.via_otlp import flat
from pipeline.errors import DecodeError


def cut(document: bytes, *, size: int) -> Iterator[bytes]:
    """Arrays of at most ``size`` bytes that together hold the records of an array, in its order.

    An array inside the array is taken for its records, and a document that is no array for a
    record. One record may be larger by itself.

    Raises:
        DecodeError: it is not JSON.
    """
    if len(document) <= size:
        yield document
        return
    run: list[bytes] = []
    used = 2
    for record in flat(_value(document)):
        text = orjson.dumps(record)
        if run and used + len(text) + 1 > size:
            yield _array(run)
            run, used = [], 2
        run.append(text)
        used += len(text) + 1
    if run:
        yield _array(run)


def _array(records: list[bytes]) -> bytes:
    return b"[" + b",".join(records) + b"]"


def _value(document: bytes) -> object:
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise DecodeError("not JSON", offset=error.pos) from error
