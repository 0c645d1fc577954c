"""What the door hides, as the settings say: secrets, and persons behind keyed pseudonyms."""

import secrets
from functools import cache

from collectors.settings import IntakeSettings
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.privacy.persons import Persons


def redaction(settings: IntakeSettings) -> MaskedKeys:
    """What is hidden before anything is stored.

    Without a key the pseudonyms are those of this process alone.
    """
    key = settings.pseudonym_key
    told = _key_of_this_process() if key is None else key.get_secret_value().encode()
    persons = Persons(told, settings.personal_data, settings.personal_fields)
    return MaskedKeys(settings.masked_keys, persons)


@cache
def _key_of_this_process() -> bytes:
    return secrets.token_bytes(32)
