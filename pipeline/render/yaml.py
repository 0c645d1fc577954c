"""Stable YAML: keys in the order given, no aliases, and a header that says who wrote it and why."""

import re
import textwrap
from typing import Final

import yaml

from pipeline.model.policy import Recommendation

_WIDTH: Final = 96
_NOT_PRINTABLE: Final = re.compile(r"[^\x20-\x7e\u00a1-\u2027\u202a-\ud7ff\uf900-\ufffd]+")


class _Dumper(yaml.SafeDumper):
    """Writes every value out in full."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Never refer to a value that was written before: people edit these documents."""
        return True


def document(value: object, recommendation: Recommendation, *notes: str) -> str:
    """A YAML document under a header of comments; ``notes`` are further lines of it."""
    return _header(recommendation, notes) + yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=_WIDTH,
    )


def seconds(value: float) -> str:
    """A duration as protobuf's JSON writes it, such as ``0.26s``; all planes here read that."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def _header(recommendation: Recommendation, notes: tuple[str, ...]) -> str:
    lines = (
        f"Made by Meshweir: rule {recommendation.rule}, recommendation {recommendation.id}.",
        recommendation.reason,
        recommendation.expected_effect,
        f"Confidence {recommendation.confidence:g}. Undo: {recommendation.undo}",
        *notes,
    )
    return "".join(_comment(line) for line in lines)


def _comment(line: str) -> str:
    """A comment of one or more lines; what could end a comment becomes a space."""
    plain = _NOT_PRINTABLE.sub(" ", line)
    return "".join(f"# {part}\n" for part in textwrap.wrap(plain, _WIDTH))
