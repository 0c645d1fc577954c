"""The key of pseudonyms: given, or made once in the data directory and kept there."""

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from api.role import Role
from api.settings import Settings
from pipeline.errors import InvalidInput
from pipeline.model.personal_fields import PersonalData

KEY_FILE: Final = "pseudonym.key"
SHORTEST: Final = 16
"""Characters; whoever can try all keys can try names, too."""

log = logging.getLogger(__name__)


def with_key(settings: Settings) -> Settings:
    """The settings with the key of pseudonyms in them; made, with its file, where none is given.

    Raises:
        InvalidInput: the key is too short, or its file cannot be read or made.
    """
    intake = settings.collectors.intake
    if intake.personal_data is not PersonalData.HASH:
        return settings
    if intake.pseudonym_key is not None:
        _long_enough(intake.pseudonym_key.get_secret_value(), "intake_pseudonym_key")
        return settings
    file = intake.pseudonym_key_file or settings.data / KEY_FILE
    try:
        if intake.pseudonym_key_file is None:
            _make(file)
        key = _long_enough(file.read_text("ascii").strip(), str(file))
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            "intake_pseudonym_key_file", found=str(file), allowed=f"a text file: {problem}"
        ) from problem
    told = {"pseudonym_key": SecretStr(key), "pseudonym_key_file": None}
    collectors = {"intake": intake.model_copy(update=told)}
    return settings.model_copy(
        update={"collectors": settings.collectors.model_copy(update=collectors)}
    )


def of_role(settings: Settings, role: Role) -> Settings:
    """The same for a process, which may have no data directory.

    Raises:
        InvalidInput: the key is too short, or its file cannot be read or made.
    """
    intake = settings.collectors.intake
    given = intake.pseudonym_key is not None or intake.pseudonym_key_file is not None
    if role.works or (role.receives and given):
        return with_key(settings)
    if role.receives and intake.personal_data is PersonalData.HASH:
        log.warning(
            "no intake_pseudonym_key is set: the pseudonyms of persons are those of this process "
            "alone, and others after its restart; give all collectors and workers the same key"
        )
    return settings


def _long_enough(key: str, where: str) -> str:
    if len(key) < SHORTEST:
        raise InvalidInput(
            where, found=f"a key of {len(key)} characters", allowed=f"{SHORTEST} or more"
        )
    return key


def _make(file: Path) -> None:
    """Make the file of the key unless there is one; whole at once, readable by its owner only."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(32) + "\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):  # another process was faster: its key holds
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)
