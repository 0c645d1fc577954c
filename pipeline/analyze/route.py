"""Route templates: ``/users/42`` is a request for ``/users/{id}``.

A route that is told (``http.route``, a gateway's route) counts as it is. Else the path becomes one:

1. by the OpenAPI document of the service, where there is one (see ``openapi``);
2. by the shape of its segments: numbers, dates, UUIDs, hexadecimal and other tokens are ids.

Both look at one path alone, so a template depends neither on order nor on what else was seen. What
shapes cannot tell, names and slugs, ``collapsed`` finds by counting when the question is asked.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.analyze.identity import node_id
from pipeline.analyze.openapi import Paths

ID: Final = "{id}"
"""In the place of a segment that is somebody's or something's id."""

REST: Final = "{...}"
"""In the place of the segments that are too deep, or of the routes that are too many."""

OTHER: Final = f"/{REST}"
"""All routes past the limit on how many are told apart."""

DEEPEST: Final = 8
"""Segments of a template at most; what is below is ``{...}``."""

KEPT_PER_MINUTE: Final = 200
"""Routes of one node told apart in one minute of one unit of slices; the others are ``/{...}``."""

BRANCHES: Final = 20
"""Different segments in one place of a service's routes; where there are more they are ids."""

_LONGEST: Final = 32
_HEX_WORD: Final = 8
_TOKEN: Final = 16


def _with_digit(letters: str, characters: str, length: int) -> str:
    """A pattern for at least so many characters of which one is a digit; it looks nowhere back."""
    early = "|".join(
        f"{letters}{{{before}}}[0-9]{characters}{{{length - 1 - before},}}"
        for before in range(length)
    )
    return f"(?:{early}|{letters}{{{length},}}[0-9]{characters}*)"


_SHAPES: Final = (
    r"[0-9][0-9._,T:+-]*(?:Z|\.[A-Za-z]{2,5})?",
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    _with_digit("[a-fA-F]", "[0-9a-fA-F]", _HEX_WORD),
    _with_digit("[A-Za-z_-]", "[A-Za-z0-9_-]", _TOKEN),
    r"[A-Za-z]{1,12}[-_.]?[0-9]{3,}",
    r"[^/{}]*[@%=;][^/{}]*",
    rf"[^/{{}}]{{{_LONGEST},}}",
)
"""Segments that are ids: numbers, dates and times; UUIDs; hexadecimal and other tokens with a digit
in them; a word and its number; what is encoded, or holds ``@``; whatever is long."""

_SEGMENT: Final = rf"/(?:{'|'.join(_SHAPES)})(/|$)"
_TOO_DEEP: Final = rf"(?s)^((?:/[^/]+){{{DEEPEST}}})/.*$"


def template(path: pl.Expr) -> pl.Expr:
    """The template of a path by the shapes of its segments; null for what is no path.

    A template is its own template.
    """
    bare = path.str.replace(r"(?s)[?#].*$", "").str.replace_all(r"/{2,}", "/")
    # every segment gets slashes of its own, since a match takes those on both of its sides
    apart = bare.str.replace_all("/", "//", literal=True)
    plain = apart.str.replace_all(_SEGMENT, f"/{ID}$1").str.replace_all("//", "/", literal=True)
    whole = plain.str.replace(_TOO_DEEP, f"$1/{REST}").str.replace(r"(?s)(.)/$", "$1")
    return pl.when(path.str.starts_with("/")).then(whole)


def templated(
    rows: pl.DataFrame, resources: pl.DataFrame, documents: Mapping[str, Paths]
) -> pl.DataFrame:
    """The rows with a column ``template`` for the column ``url_path``.

    Args:
        rows: columns ``url_path`` and ``resource_id``.
        resources: rows of ``resources``.
        documents: OpenAPI documents by node id, or by the name of a service.
    """
    by_shape = rows.select("url_path").unique().with_columns(template=template(pl.col("url_path")))
    known = rows.join(by_shape, on="url_path", how="left", nulls_equal=True, maintain_order="left")
    if not documents:
        return known
    by_document = _by_document(rows, resources, documents)
    return (
        known.join(by_document, on=["resource_id", "url_path"], how="left", maintain_order="left")
        .with_columns(pl.coalesce("documented", "template").alias("template"))
        .drop("documented")
    )


def _by_document(
    rows: pl.DataFrame, resources: pl.DataFrame, documents: Mapping[str, Paths]
) -> pl.DataFrame:
    """The templates of those paths that a document tells: ``documented``."""
    node = node_id(pl.col("service_namespace"), pl.col("service_name"))
    described = resources.select(
        "resource_id",
        pl.coalesce(
            pl.when(name.is_in(list(documents))).then(name)
            for name in (node, pl.col("service_name"))
        ).alias("document"),
    ).drop_nulls()
    asked = (
        rows.select("resource_id", "url_path")
        .drop_nulls()
        .unique()
        .join(described.unique("resource_id"), on="resource_id")
    )
    told = [
        documents[name].match(path) for path, name in asked.select("url_path", "document").rows()
    ]
    return asked.select(
        "resource_id", "url_path", pl.Series("documented", told, pl.String)
    ).drop_nulls()


def collapsed(routes: pl.DataFrame, *, most: int = BRANCHES) -> pl.DataFrame:
    """Of each route of a service the template to show: names that are too many are ids.

    From the left, wherever more than ``most`` different segments stand behind the same ones, all
    of them are one id. So at most ``most`` to the power of ``DEEPEST`` templates are left, which
    ``largest`` bounds further; which depends on the set of routes alone.

    Args:
        routes: column ``route``: a method and a template, or a template; other routes, and null,
            stay what they are.
        most: different segments in one place.

    Returns:
        Columns ``route`` and ``template``, a row for each different route.
    """
    distinct = sorted({route for route in routes["route"].to_list() if route is not None})
    split = {route: route.partition("/") for route in distinct}
    groups: dict[str, dict[str, list[str]]] = {}
    for route, (method, slash, path) in split.items():
        if slash and (not method or method.endswith(" ")):
            groups.setdefault(method, {})[route] = path.split("/", DEEPEST + 1)
    shown = {route: route for route in distinct}
    for method, members in groups.items():
        _collapse(members, 0, most)
        shown |= {route: f"{method}/{'/'.join(path)}" for route, path in members.items()}
    return pl.DataFrame(
        {"route": list(shown), "template": list(shown.values())},
        schema={"route": pl.String, "template": pl.String},
    )


def _collapse(members: Mapping[str, list[str]], depth: int, most: int) -> None:
    """Put ids in the place of segments from a depth on, in place."""
    by_segment: dict[str, dict[str, list[str]]] = {}
    for route, path in members.items():
        if len(path) > depth:
            by_segment.setdefault(path[depth], {})[route] = path
    if len(by_segment) > most:
        together = {route: path for inner in by_segment.values() for route, path in inner.items()}
        for path in together.values():
            if path[depth] not in ("", REST):
                path[depth] = ID
        _collapse(together, depth + 1, most)
        return
    for inner in by_segment.values():
        _collapse(inner, depth + 1, most)
