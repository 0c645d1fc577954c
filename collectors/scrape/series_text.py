"""A series as an exposition spells it, to labels and back.

The name is the label ``__name__``. Both formats may quote names, ``{"http.server","a.b"="/"}``; a
label without a value is none.
"""

import re
from collections.abc import Mapping
from typing import Final

NAME: Final = "__name__"

_SERIES: Final = re.compile(r'[ \t]*([^\s{"]*)[ \t]*(?:\{(.*)\})?', re.DOTALL)
_SIMPLE: Final = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*"(?:,|(?=\})))*)\})?'
)
"""A series without anything in it that would have to be looked at twice: nearly all."""

_SIMPLE_LABEL: Final = re.compile('([a-zA-Z0-9_]+)="([^"]*)"')

_TEXT: Final = r'"((?:[^"\\]|\\.)*)"[ \t]*'
_LABEL: Final = re.compile(
    rf'[ \t]*(?:{_TEXT}|([^\s"=,{{}}]+)[ \t]*)(?:=[ \t]*{_TEXT})?(?:,|$)', re.DOTALL
)
_ESCAPED: Final = re.compile(r'\\([\\n"])')
_SIGNS: Final = {"\\": "\\", "n": "\n", '"': '"'}
_PLAIN_NAME: Final = re.compile("[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL: Final = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


def labels_in(series: bytes) -> dict[str, str] | None:
    """The labels of a series, its name first; None when it is not well-formed."""
    try:
        text = series.decode()
    except UnicodeDecodeError:
        return None
    if simple := _SIMPLE.fullmatch(text):
        found = _SIMPLE_LABEL.findall(simple[2] or "")
        labels = {NAME: simple[1], **dict(found)}
        good = len(labels) == len(found) + 1
    else:
        labels = _labels_of_any(text)
        good = NAME in labels
    return {name: value for name, value in labels.items() if value} if good else None


def series_text(labels: Mapping[str, str]) -> bytes:
    """How a series with these labels, ``__name__`` among them, is spelled."""
    name = labels[NAME]
    plain = _PLAIN_NAME.fullmatch(name) is not None
    inside = [] if plain else [_quoted(name)]
    inside += [
        f"{label if _PLAIN_LABEL.fullmatch(label) else _quoted(label)}={_quoted(value)}"
        for label, value in labels.items()
        if label != NAME
    ]
    front = name if plain else ""
    return (front + (f"{{{','.join(inside)}}}" if inside else "")).encode()


def _labels_of_any(text: str) -> dict[str, str]:
    """The labels of a series that has blanks, escapes or names in quotes; none if it is bad."""
    told = _SERIES.fullmatch(text)
    if told is None:
        return {}
    labels = {NAME: told[1]} if told[1] else {}
    inside, at = (told[2] or "").rstrip(" \t"), 0
    while at < len(inside):
        match = _LABEL.match(inside, at)
        name, value = _label(match) if match else (None, "")
        if match is None or name is None or name in labels:
            return {}
        labels[name] = value
        at = match.end()
    return labels


def _label(match: re.Match[str]) -> tuple[str | None, str]:
    """Name and value of a label; a quoted text alone is the metric's name."""
    quoted, plain, value = match.groups()
    if value is None:
        return (NAME, _read(quoted)) if quoted else (None, "")
    return plain if quoted is None else _read(quoted), _read(value)


def _read(text: str) -> str:
    return _ESCAPED.sub(lambda sign: _SIGNS[sign[1]], text) if "\\" in text else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'"{escaped}"'
