"""Good messages to begin from: the golden files and the decoders' own samples."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import orjson

from pipeline.decode import DECODERS
from pipeline.decode.__main__ import SAMPLES
from pipeline.decode.door import MaskedKeys, admit_foreign
from pipeline.errors import DecodeError
from pipeline.model.pods import ContainerLog
from pipeline.model.topics import FORMAT_SIGNAL
from tests.zipkin_pb import list_of

GOLDEN: Final = Path(__file__).parents[1] / "pipeline/decode/golden"
SEED_BYTES: Final = 4096
"""Larger golden files are no seeds: mutations would hardly ever meet what matters in them."""


def _wrapped() -> bytes:
    """Lines in the envelope that CloudWatch Logs delivers them in."""
    lines = (GOLDEN / "aws_apigateway.in.jsonl").read_text(encoding="utf-8").splitlines()
    events = [{"id": "1", "timestamp": 1_764_172_800_123, "message": line} for line in lines[:2]]
    return orjson.dumps(
        {"messageType": "DATA_MESSAGE", "logGroup": "g", "logStream": "s", "logEvents": events}
    )


def _records() -> bytes:
    """The same as Firehose and Kinesis deliver it."""
    data = base64.b64encode(gzip.compress(_wrapped(), mtime=0)).decode()
    return orjson.dumps({"records": [{"data": data}, {"kinesis": {"data": data}}]})


def _contained() -> list[bytes]:
    """Lines as container runtimes keep them, and behind a line that says whose they are."""
    log = ContainerLog("shop", "cart-0", "app").line()
    found = []
    for name in ("envoy_text", "combined", "ztunnel", "kong_json"):
        lines = SAMPLES[name]().splitlines()
        cri = b"".join(
            b"2026-03-02T10:15:33Z stdout P %b\n2026-03-02T10:15:33Z stdout F %b\n"
            % (line[:20], line[20:])
            for line in lines
        )
        told = [{"log": f"{line.decode()}\n", "stream": "stdout", "time": "2026-03-02T10:15:33Z"}
                for line in lines]  # fmt: skip
        docker = b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in told)
        found += [cri, docker, log + cri]
    return found


def _zipkin_proto() -> bytes:
    told = orjson.loads((GOLDEN / "zipkin_v2.in.json").read_bytes())
    return list_of(told).SerializeToString(deterministic=True)


@cache
def messages() -> Sequence[bytes]:
    """All that is known to be good in some format."""
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("*.in.*"))]
    samples = [sample() for sample in SAMPLES.values()]
    wrapped = (_wrapped(), _records(), _zipkin_proto(), *_contained())
    return [message for message in (*golden, *samples, *wrapped) if len(message) <= SEED_BYTES]


@cache
def seeds() -> Mapping[str, Sequence[bytes]]:
    """Of each format the messages that give rows."""
    return {name: [message for message in messages() if _rows(name, message)] for name in DECODERS}


def _rows(name: str, message: bytes) -> int:
    try:
        message = admit_foreign(name, message, MaskedKeys())
    except DecodeError:
        return 0
    rows = DECODERS[name]([message]).batches.get(FORMAT_SIGNAL[name])
    return 0 if rows is None else rows.num_rows
