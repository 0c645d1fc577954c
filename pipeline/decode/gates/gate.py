"""What the door must know of a format; each decoder has one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.walk import Format, Walked
from pipeline.model.decoded import Refusal


@dataclass(frozen=True, slots=True)
class Gate:
    """What the door must know of a format.

    Attributes:
        format: its declaration, compiled.
        records: the tables whose rows are records.
        refused: what the decoder refuses of a walk: whole messages, and records of others.
        headers: tables of headers (cells ``key`` and ``value``, text by text), and the prefix that
            their keys have where headers are attributes. Tables of attributes need not be named.
        mask: overwrites secrets in the walk's buffer and tells if it did, where they cannot be
            found by ``headers``.
    """

    format: Format
    records: tuple[str, ...]
    refused: Callable[[Walked], tuple[Refusal, ...]]
    headers: Mapping[str, str] = field(default_factory=dict)
    mask: Callable[[Walked, MaskedKeys], bool] | None = None
