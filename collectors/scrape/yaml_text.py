"""Reads YAML as Prometheus does: what is wanted as text is what was written.

``regex: true`` and ``replacement: 8080`` are texts there, and ``label: 1.10`` keeps its zero. So
words without quotes stay the texts they are, of a class of their own, and whoever wants a number or
a truth makes it of them.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.errors import InvalidInput

MAX_BYTES: Final = 16 * 1024 * 1024


class Plain(str):
    """A word without quotes that YAML takes for a number, a truth or a time."""

    __slots__ = ()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's safe types; words of the simple ones stay as they are written."""


def _plain(_loader: Any, node: yaml.ScalarNode) -> Plain:  # noqa: ANN401 - it has no common type
    return Plain(node.value)


for _kind in ("bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _plain)


def read_yaml(file: Path) -> object:
    """What a file of YAML, or of JSON, says; raises InvalidInput when it says nothing."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InvalidInput(
                str(file), found="a larger one", allowed=f"a file of {MAX_BYTES} bytes"
            )
        return yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as problem:
        raise InvalidInput(
            str(file), found="a file that cannot be read", allowed=f"a YAML file: {problem}"
        ) from problem
