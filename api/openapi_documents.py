"""The OpenAPI documents of services, read from a directory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.analyze.openapi import Paths, templates_of
from pipeline.errors import InvalidInput
from pipeline.jobs.settings import AnalysisSettings

LARGEST: Final = 16 * 2**20
"""Bytes of one document."""

ENDINGS: Final = (".yaml", ".yml", ".json")
SETTING: Final = "analysis_openapi_directory"

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents_of(settings: AnalysisSettings) -> dict[str, Paths]:
    """The paths of each service that has a document, by ``service`` or ``namespace/service``.

    Raises:
        InvalidInput: the directory or a document cannot be read, or is no OpenAPI document.
    """
    directory = settings.openapi_directory
    if directory is None:
        return {}
    if not directory.is_dir():
        raise InvalidInput(SETTING, found=str(directory), allowed="a directory")
    return {
        name: Paths(templates_of(_read(file), name=str(file))) for name, file in _files(directory)
    }


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """The documents, in the order of their names."""
    for file in sorted((*directory.glob("*"), *directory.glob("*/*"))):
        if file.suffix in ENDINGS and file.is_file():
            yield file.relative_to(directory).with_suffix("").as_posix(), file


def _read(file: Path) -> Mapping[str, Any]:
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise InvalidInput(str(file), found=f"{size} bytes", allowed=f"{LARGEST} at most")
        document = yaml.load(file.read_text("utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise InvalidInput(
            str(file), found="a file", allowed=f"YAML or JSON: {problem}"
        ) from problem
    if not isinstance(document, dict):
        raise InvalidInput(str(file), found="something else", allowed="an OpenAPI document")
    return document
