"""Wire bytes to columnar batches: pure functions, one file per format.

The only error that leaves this room is ``DecodeError``. A decoder takes many messages at once and
answers with one batch per table and the list of what it could not accept.

The files are formats, and ``door``, the check that collectors make. What formats share is in
folders: ``wire`` (protobuf), ``lines`` and ``records`` (text and JSON), ``kernels`` (what is
compiled), ``otlp``, ``envoy`` and ``prometheus`` (what those families say), and for the door
``gates`` (how it checks each kind of format) and ``privacy`` (what it hides).
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Final, Protocol, cast

from pipeline.model.decoded import Decoded
from pipeline.model.topics import FORMATS


class Decoder(Protocol):
    """Decodes messages of one format; nothing but DecodeError leaves it, whatever the bytes."""

    def __call__(self, messages: Sequence[bytes], /) -> Decoded:
        """Decode messages, each for itself."""


def module_of(format_name: str) -> ModuleType:
    """The module of a format, imported when it is first asked for.

    It has a function ``decode`` and what the door must know: ``LINES`` where its records are lines,
    nothing where it is scraped text, and else its ``GATE``. A new format is such a module, and one
    line in ``model/topics.py``; all else is derived from that.

    Raises:
        KeyError: there is no such format.
    """
    if format_name not in FORMATS:
        raise KeyError(format_name)
    return import_module(f"{__name__}.{format_name}")


class _Decoders(Mapping[str, Decoder]):
    """Decoders by format."""

    def __getitem__(self, format_name: str) -> Decoder:
        return cast("Decoder", module_of(format_name).decode)

    def __iter__(self) -> Iterator[str]:
        return iter(FORMATS)

    def __len__(self) -> int:
        return len(FORMATS)


DECODERS: Final[Mapping[str, Decoder]] = _Decoders()
"""The decoder of each format."""
