"""Requests find the most concrete path of an OpenAPI document."""

import pytest
from hypothesis import given, strategies as st

from pipeline.analyze.openapi import MOST_PATHS, Paths, templates_of
from pipeline.errors import InvalidInput

PETS = Paths(
    [
        "/pets", "/pets/mine", "/pets/{petId}", "/pets/{petId}/toys/{toyId}",
        "/pets/mine/toys/ball", "/pets/{petId}.json", "/{kind}/list", "/",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/pets", "/pets"),
        ("/pets/", "/pets"),
        ("/pets/mine", "/pets/mine"),
        ("/pets/7", "/pets/{petId}"),
        ("/pets/7.json", "/pets/{petId}.json"),
        ("/pets/mine/toys/ball", "/pets/mine/toys/ball"),
        ("/pets/mine/toys/3", "/pets/{petId}/toys/{toyId}"),
        ("/pets/list", "/pets/{petId}"),
        ("/cats/list", "/{kind}/list"),
        ("/", "/"),
        ("/pets//toys/3", None),
        ("/pets/7/toys", None),
        ("/cats", None),
    ],
)
def test_the_most_concrete_path_counts(path, wanted):
    assert PETS.match(path) == wanted


WORDS = st.sampled_from(["a", "b", "{x}", "{y}", "c{z}"])
TEMPLATES = st.lists(WORDS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(TEMPLATES, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_a_document_does_not_matter(templates, chance):
    shuffled = list(templates)
    chance.shuffle(shuffled)
    for template in templates:
        path = template.replace("{x}", "1").replace("{y}", "2").replace("{z}", "3")
        found = Paths(templates).match(path)
        assert found is not None
        assert found == Paths(shuffled).match(path)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"openapi": "3.1.0", "paths": {"/a": {}, "x-other": {}}}, ("/a",)),
        ({"swagger": "2.0", "basePath": "/v1/", "paths": {"/a": {}}}, ("/v1/a",)),
        (
            {
                "openapi": "3.0.3",
                "servers": [
                    {"url": "https://api.example.com/v1"},
                    {"url": "/{version}", "variables": {"version": {"default": "v2"}}},
                ],
                "paths": {"/a/{id}": {}},
            },
            ("/v1/a/{id}", "/v2/a/{id}"),
        ),
    ],
)
def test_paths_stand_behind_the_base_of_their_servers(document, wanted):
    assert templates_of(document, name="a.yaml") == wanted


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"openapi": "3.1.0"},
        {"paths": {"/a": {}}},
        {"openapi": "3.1.0", "paths": {f"/{number}": {} for number in range(MOST_PATHS + 1)}},
    ],
)
def test_what_is_no_document_is_refused_by_its_name(document):
    with pytest.raises(InvalidInput, match=r"a\.yaml"):
        templates_of(document, name="a.yaml")
