"""What the files of the settings say, read before anything is opened: a mistake in one is usage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from api.openapi_documents import documents_of
from api.role import Role
from api.settings import Settings
from collectors.registry import check
from pipeline.analyze.openapi import Paths


@dataclass(frozen=True, slots=True)
class Configured:
    """What was written for a role, as far as it concerns it.

    Attributes:
        documents: the paths of each service that has an OpenAPI document.
        aliases: for each name that an operator named the node id it stands for.
    """

    documents: Mapping[str, Paths]
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, role: Role, settings: Settings) -> Self:
        """Read all of it.

        Raises:
            InvalidInput: something cannot be read or is not allowed, be it what to scrape.
        """
        if role.receives:
            check(settings.collectors)
        return cls(
            documents_of(settings.analysis) if role.works else {},
            settings.identity.configured() if role.answers else {},
        )
