"""Which names an operator says stand for which nodes."""

from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import InvalidInput

LARGEST_FILE: Final = 1024 * 1024
MOST_ALIASES: Final = 10_000
LONGEST_NAME: Final = 1024


class IdentitySettings(BaseModel):
    """Who is who, where telemetry does not tell it or tells it wrongly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: Path | None = Field(
        default=None,
        description="YAML file of names, addresses and certificate names, each with the node id it "
        "stands for; goes before what was seen.",
    )

    def configured(self) -> dict[str, str]:
        """For each name the node id it stands for; empty when nothing is set.

        Raises:
            InvalidInput: the file cannot be read, or is not such a mapping.
        """
        if self.aliases is None:
            return {}
        content = _read(self.aliases)
        if content is None:
            return {}
        if not isinstance(content, dict) or len(content) > MOST_ALIASES:
            raise _refusal(self.aliases, f"a mapping of at most {MOST_ALIASES} names to node ids")
        for name, node in content.items():
            if not _is_name(name) or not _is_name(node):
                raise _refusal(
                    self.aliases, f"names and node ids of 1..{LONGEST_NAME} characters, in quotes"
                )
        return dict(content)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _read(file: Path) -> object:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise _refusal(file, f"a file of at most {LARGEST_FILE} bytes")
        content: object = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise _refusal(file, f"a YAML file that can be read: {problem}") from problem
    return content


def _refusal(file: Path, allowed: str) -> InvalidInput:
    return InvalidInput("identity_aliases", found=str(file), allowed=allowed)
