"""How a server is to be spoken to: credentials, all of them from files, and TLS."""

import base64
import ssl
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from pipeline.errors import InvalidInput

DIRECTORY: Final = "directory"
"""The key of pydantic's validation context under which stands what paths are relative to."""

_MAX_SECRET_BYTES: Final = 64 * 1024


def beside(path: Path, info: ValidationInfo) -> Path:
    """A path as seen from the directory of the file that names it."""
    return Path((info.context or {}).get(DIRECTORY, "")) / path


NamedFile = Annotated[Path, AfterValidator(beside)]
"""A path that is relative to the file it is written in."""


class Strict(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Authorization(Strict):
    """The header ``authorization``, its credentials from a file that is read for every request."""

    type: Annotated[str, Field(pattern=r"^[!-~]+$")] = "Bearer"
    credentials_file: NamedFile


class BasicAuth(Strict):
    """A user and a password, the latter from a file."""

    username: str
    password_file: NamedFile


class TlsConfig(Strict):
    """What is presented, and what is accepted, when TLS is spoken."""

    ca_file: NamedFile | None = None
    cert_file: NamedFile | None = None
    key_file: NamedFile | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False

    @model_validator(mode="after")
    def _key_has_certificate(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file together")
        return self


class Access(Strict):
    """What Prometheus writes alike for scrapes and for service discovery."""

    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    bearer_token_file: NamedFile | None = None
    tls_config: TlsConfig = TlsConfig()
    follow_redirects: bool = True

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.authorization, self.basic_auth, self.bearer_token_file)
        if sum(kind is not None for kind in kinds) > 1:
            raise ValueError("one of authorization, basic_auth and bearer_token_file")
        return self

    def header(self) -> str | None:
        """The header ``authorization``, read anew since tokens are replaced; None without one.

        Raises:
            InvalidInput: the file cannot be read.
        """
        if self.basic_auth is not None:
            password = _secret(self.basic_auth.password_file, "basic_auth.password_file")
            both = f"{self.basic_auth.username}:{password}"
            return "Basic " + base64.b64encode(both.encode()).decode()
        if self.authorization is not None:
            token = _secret(self.authorization.credentials_file, "authorization.credentials_file")
            return f"{self.authorization.type} {token}"
        if self.bearer_token_file is not None:
            return f"Bearer {_secret(self.bearer_token_file, 'bearer_token_file')}"
        return None


class TlsContext:
    """A TLS context that follows its files: certificates are short-lived in a mesh.

    Args:
        config: the files.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        files = (config.ca_file, config.cert_file, config.key_file)
        self._files = [file for file in files if file is not None]
        self._seen: list[int] = []
        self.context = ssl.create_default_context()
        if config.ca_file is not None:
            # the authorities of the machine do not vouch for what has an authority of its own
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if config.insecure_skip_verify:
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    def refresh(self) -> None:
        """Read files that changed; new connections use what is in them.

        Raises:
            InvalidInput: a file cannot be read, or is not what it should be.
        """
        config = self._config
        try:
            now = [file.stat().st_mtime_ns for file in self._files]
            if now == self._seen:
                return
            if config.ca_file is not None:
                self.context.load_verify_locations(config.ca_file)
            if config.cert_file is not None:
                self.context.load_cert_chain(config.cert_file, config.key_file)
        except (OSError, ssl.SSLError) as problem:
            raise InvalidInput(
                "tls_config",
                found=", ".join(map(str, self._files)),
                allowed=f"PEM files that can be read: {problem}",
            ) from problem
        self._seen = now


def _secret(file: Path, field: str) -> str:
    try:
        with file.open() as opened:
            return opened.read(_MAX_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            field, found=str(file), allowed=f"a text file that can be read: {problem}"
        ) from problem
