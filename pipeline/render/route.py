"""Route templates in the words that matchers of paths need."""

import re
from dataclasses import dataclass
from typing import Final

_METHOD: Final = re.compile(r"[A-Z]+")
_VARIABLE: Final = re.compile(r"\{[^{}/]*\}|:[A-Za-z_]\w*|\*")
_SPECIAL: Final = re.compile(r"[.+*?()|\[\]{}^$\\]")  # RE2 refuses to have others escaped


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """What requests look like: their method (None: any), and a regular expression of the path."""

    method: str | None
    path_regex: str


def route_match(route: str) -> RouteMatch | None:
    """The match of a route such as ``GET /users/{id}`` or of an RPC method ``pkg.Service/Get``.

    None when it is neither.
    """
    first, _, rest = route.partition(" ")
    if rest.startswith("/") and _METHOD.fullmatch(first):
        return RouteMatch(first, _path_regex(rest))
    if route.startswith("/"):
        return RouteMatch(None, _path_regex(route))
    if route.count("/") == 1 and not rest:
        return RouteMatch(None, _path_regex("/" + route))
    return None


def _path_regex(template: str) -> str:
    fixed = _VARIABLE.split(template)
    return "[^/]+".join(_SPECIAL.sub(r"\\\g<0>", part) for part in fixed)
