"""What holds of every decoder of protobuf, and damage to try it with."""

from random import Random
from typing import TypeVar

from google.protobuf.message import DecodeError as ProtobufError, Message

from pipeline.model.decoded import Decoded

Parsed = TypeVar("Parsed", bound=Message)


def damaged(message: bytes, seed: int, wounds: int) -> bytes:
    """A message in which some bytes are others."""
    random, found = Random(seed), bytearray(message)
    for _ in range(wounds if found else 0):
        found[random.randrange(len(found))] = random.randrange(256)
    return bytes(found)


def judged(decoded: Decoded, rows: int, message: bytes, official: type[Parsed]) -> Parsed | None:
    """Hold what was decoded of one message against the official parser; None where that refuses.

    What it takes is not refused as a whole, nothing is where there are rows, and what is refused
    lies in the message.
    """
    for refusal in decoded.refused:
        assert refusal.message == 0
        assert refusal.offset is None or 0 <= refusal.offset <= len(message)
    whole = any(refusal.whole for refusal in decoded.refused)
    assert not (whole and rows)
    try:
        parsed = official.FromString(message)
    except ProtobufError:
        return None
    assert not whole
    return parsed
