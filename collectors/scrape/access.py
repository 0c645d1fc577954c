"""How a server is to be spoken to: credentials, all of them from files, and TLS."""

import base64
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from pipeline.errors import InvalidInput

DIRECTORY: Final = "directory"
"""The key of pydantic's validation context under which stands what paths are relative to."""

TlsVersion = Literal["TLS12", "TLS13"]
"""Of those that Prometheus names what is safe."""

_TLS_VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS: Final = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "host",
        "transfer-encoding", "user-agent", "x-prometheus-scrape-timeout-seconds",
    }
)  # fmt: skip
"""Headers that are said otherwise."""

_MAX_SECRET_BYTES: Final = 64 * 1024


def beside(path: Path, info: ValidationInfo) -> Path:
    """A path as seen from the directory of the file that names it."""
    return Path((info.context or {}).get(DIRECTORY, "")) / path


NamedFile = Annotated[Path, AfterValidator(beside)]
"""A path that is relative to the file it is written in."""


class Strict(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, told: Any) -> Any:  # noqa: ANN401 - whatever there is to validate
        """A key without a value is a text that is empty; of other kinds it is not there."""
        if not isinstance(told, dict):
            return told
        fields = cls.model_fields
        texts = {name for name, field in fields.items() if field.annotation is str}
        return {
            key: "" if value is None else value
            for key, value in told.items()
            if value is not None or key in texts
        }


def _text(value: object) -> object:
    return "" if value is None else value


LabelValue = Annotated[str, BeforeValidator(_text)]
"""The value of a label; one that is not there is empty."""


class Authorization(Strict):
    """The header ``authorization``, its credentials from a file that is read for every request."""

    type: Annotated[str, Field(pattern=r"^[!-~]+$")] = "Bearer"
    credentials_file: NamedFile


class BasicAuth(Strict):
    """A user and a password, the latter from a file."""

    username: str = ""
    username_file: NamedFile | None = None
    password_file: NamedFile

    @model_validator(mode="after")
    def _one_user(self) -> Self:
        if self.username and self.username_file is not None:
            raise ValueError("one of username and username_file")
        return self


class TlsConfig(Strict):
    """What is presented, and what is accepted, when TLS is spoken."""

    ca_file: NamedFile | None = None
    cert_file: NamedFile | None = None
    key_file: NamedFile | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    min_version: TlsVersion | None = None
    max_version: TlsVersion | None = None

    @model_validator(mode="after")
    def _key_has_certificate(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file together")
        return self


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
        raise ValueError("the name of a header that the scraper does not write itself")
    return name


class SentHeader(Strict):
    """The values of a header; those of files are secrets, and read for every request."""

    values: tuple[str, ...] = ()
    files: tuple[NamedFile, ...] = ()


class Access(Strict):
    """What Prometheus writes alike for scrapes and for service discovery."""

    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    bearer_token_file: NamedFile | None = None
    tls_config: TlsConfig = TlsConfig()
    follow_redirects: bool = True
    http_headers: dict[Annotated[str, AfterValidator(_header)], SentHeader] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.authorization, self.basic_auth, self.bearer_token_file)
        if sum(kind is not None for kind in kinds) > 1:
            raise ValueError("one of authorization, basic_auth and bearer_token_file")
        return self

    def headers(self) -> list[tuple[str, str]]:
        """The headers of a request that say who asks, read anew since tokens are replaced.

        Raises:
            InvalidInput: a file cannot be read.
        """
        own = self.header()
        return [
            *([("authorization", own)] if own else []),
            *((name, text) for name, sent in self.http_headers.items() for text in sent.values),
            *(
                (name, _secret(file, f"http_headers.{name}.files"))
                for name, sent in self.http_headers.items()
                for file in sent.files
            ),
        ]

    def header(self) -> str | None:
        """The header ``authorization``, read anew since tokens are replaced; None without one.

        Raises:
            InvalidInput: the file cannot be read.
        """
        if self.basic_auth is not None:
            basic, user = self.basic_auth, self.basic_auth.username
            if basic.username_file is not None:
                user = _secret(basic.username_file, "basic_auth.username_file")
            both = f"{user}:{_secret(basic.password_file, 'basic_auth.password_file')}"
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
        if config.min_version:
            self.context.minimum_version = _TLS_VERSIONS[config.min_version]
        if config.max_version:
            self.context.maximum_version = _TLS_VERSIONS[config.max_version]
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
