"""docker-compose.yml as the tests read it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docker-compose.yml"
COMPOSE: Final[Mapping[str, Any]] = yaml.safe_load(FILE.read_text())
SERVICES: Final[Mapping[str, Mapping[str, Any]]] = COMPOSE["services"]

OURS: Final = {name: service for name, service in SERVICES.items() if "build" in service}
"""The services that run Meshweir."""

PROFILES: Final = sorted(
    {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
)
