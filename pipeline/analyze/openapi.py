"""Paths of an OpenAPI document, and which of them a request is for.

Of several that fit, the most concrete counts: from the left, a literal segment before one that is
partly a parameter before a parameter (OpenAPI 3.1, "Path Templating"). Documents of version 2
(``basePath``) and 3 (``servers``) are understood.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline.errors import InvalidInput

MOST_PATHS: Final = 10_000
"""Paths of one document."""

_PARAMETER: Final = re.compile(r"\{[^{}/]*\}")


class _Node:
    """One place in the tree of paths."""

    __slots__ = ("ends", "literals", "mixed", "parameter")

    def __init__(self) -> None:
        self.ends: str | None = None
        self.literals: dict[str, _Node] = {}
        self.mixed: dict[str, tuple[re.Pattern[str], _Node]] = {}
        self.parameter: _Node | None = None


class Paths:
    """The path templates of one service.

    Args:
        templates: such as ``/users/{id}/orders``.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self._root = _Node()
        for template in sorted(set(templates)):
            self._add(template)

    def match(self, path: str) -> str | None:
        """The template that a path is of; None when it is of none."""
        return _match(self._root, _segments(path), 0)

    def _add(self, template: str) -> None:
        node = self._root
        for segment in _segments(template):
            if _PARAMETER.fullmatch(segment):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            elif _PARAMETER.search(segment):
                _, inner = node.mixed.setdefault(segment, (_pattern(segment), _Node()))
                node = inner
            else:
                node = node.literals.setdefault(segment, _Node())
        node.ends = node.ends or template


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")


def _pattern(segment: str) -> re.Pattern[str]:
    literals = map(re.escape, _PARAMETER.split(segment))
    return re.compile("[^/]+?".join(literals))


def _match(node: _Node, segments: Sequence[str], at: int) -> str | None:
    if at == len(segments):
        return node.ends
    segment = segments[at]
    return next(
        (
            found
            for child in _children(node, segment)
            if (found := _match(child, segments, at + 1)) is not None
        ),
        None,
    )


def _children(node: _Node, segment: str) -> Iterable[_Node]:
    """Where a segment may lead, the most concrete first."""
    if segment in node.literals:
        yield node.literals[segment]
    for pattern, child in node.mixed.values():
        if pattern.fullmatch(segment):
            yield child
    if node.parameter is not None and segment:
        yield node.parameter


def templates_of(document: Mapping[str, Any], *, name: str) -> tuple[str, ...]:
    """The path templates of a document, each behind every base path that requests may have.

    Args:
        document: the document, read.
        name: of the document, for messages.

    Raises:
        InvalidInput: it is no OpenAPI document, or has too many paths.
    """
    paths = document.get("paths")
    if not isinstance(paths, dict) or not ("openapi" in document or "swagger" in document):
        raise InvalidInput(name, found="something else", allowed="an OpenAPI document with paths")
    if len(paths) > MOST_PATHS:
        raise InvalidInput(name, found=f"{len(paths)} paths", allowed=f"{MOST_PATHS} at most")
    told = [path for path in paths if isinstance(path, str) and path.startswith("/")]
    return tuple(base + path for base in _bases(document) for path in told)


def _bases(document: Mapping[str, Any]) -> Sequence[str]:
    if "swagger" in document:
        return [str(document.get("basePath") or "").rstrip("/")]
    servers = document.get("servers")
    urls = [
        _filled(server)
        for server in (servers if isinstance(servers, list) else [])
        if isinstance(server, dict)
    ]
    return sorted({urlsplit(url).path.rstrip("/") for url in urls}) or [""]


def _filled(server: Mapping[str, Any]) -> str:
    """The URL of a server with the defaults of its variables."""
    url, variables = str(server.get("url", "")), server.get("variables")
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        if isinstance(variable, dict):
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url
