"""Remote write 1.0: ``prometheus.WriteRequest`` to rows of ``metric_points``.

What type a metric is of comes in messages of its own, once a minute or so, and seldom in the
message of its samples. Where it does not, names decide (``families``).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import texts
from pipeline.decode.privacy.label_masking import overwrite, secret_labels
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.prometheus.families import Declared
from pipeline.decode.prometheus.label_rows import labels_of
from pipeline.decode.prometheus.remote_messages import REMOTE_WRITE, TYPES
from pipeline.decode.prometheus.remote_rows import decoded_of
from pipeline.decode.prometheus.remote_series import RECORDS, Remote, Series, series_of
from pipeline.decode.wire.walk import Walked
from pipeline.model.decoded import Decoded, Refusal


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``WriteRequest`` messages."""
    return decoded_of(_remote(REMOTE_WRITE.walk(messages)))


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, and what no row can hold."""
    return series_of(_remote(walked)).refused()


def mask(walked: Walked, masked: MaskedKeys) -> bool:
    """Overwrite the values of secret labels in the walk's buffer; tells if it did."""
    hidden = False
    for table in ("labels", "exemplar_labels"):
        labels = walked.rows(table)
        secret = secret_labels(walked.buffer, labels.column("key"), masked.names)
        overwrite(walked.buffer, labels.column("value")[secret])
        hidden |= bool(secret.any())
    return hidden


def _remote(walked: Walked) -> Remote:
    series = walked.rows("series")
    return Remote(
        walked,
        labels_of(walked.rows("labels")),
        labels_of(walked.rows("exemplar_labels")),
        np.zeros(len(series), np.bool_),
        _declared,
    )


def _declared(series: Series) -> tuple[Declared, ...]:
    """What each message tells of its metrics, for all owners of the message."""
    walked = series.remote.walked
    rows = walked.rows("metadata")
    of_messages = [Declared({}, {}) for _ in range(len(walked.bounds))]
    for message, type_, name, unit in zip(
        rows.parents.tolist(),
        rows.column("type").tolist(),
        texts(walked.buffer, rows.column("name"), empty_is_null=False).to_pylist(),
        texts(walked.buffer, rows.column("unit"), empty_is_null=False).to_pylist(),
        strict=True,
    ):
        of_messages[message].tell(name, TYPES.get(type_, ""), unit)
    return tuple(of_messages[message] for message in series.owner_messages)


GATE: Final = WireGate(REMOTE_WRITE, RECORDS, refused, mask)
"""What the door knows of remote write 1.0."""
