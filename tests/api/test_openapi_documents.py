"""OpenAPI documents of services are found in a directory by their names."""

import pytest

from api.openapi_documents import LARGEST, documents_of
from pipeline.errors import InvalidInput
from pipeline.jobs.settings import AnalysisSettings

DOCUMENT = 'openapi: "3.1.0"\npaths:\n  /users/{id}: {}\n'


def read(directory):
    return documents_of(AnalysisSettings(openapi_directory=directory))


def test_documents_are_known_by_service_or_namespace_and_service(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "cart.yaml").write_text(DOCUMENT)
    (tmp_path / "shop" / "web.json").write_text('{"swagger": "2.0", "paths": {"/a": {}}}')
    (tmp_path / "README.md").write_text("no document")
    found = read(tmp_path)
    assert sorted(found) == ["cart", "shop/web"]
    assert found["cart"].match("/users/7") == "/users/{id}"
    assert found["shop/web"].match("/a") == "/a"


def test_without_a_directory_there_are_none():
    assert documents_of(AnalysisSettings()) == {}


@pytest.mark.parametrize("content", ["a: [", "- a", "a: 1", "x" * (LARGEST + 1)])
def test_what_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "cart.yaml").write_text(content)
    with pytest.raises(InvalidInput, match=r"cart\.yaml"):
        read(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="analysis_openapi_directory"):
        read(tmp_path / "absent")
