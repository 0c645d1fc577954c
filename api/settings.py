"""One configuration: flags before environment before file before defaults.

Every setting is declared once, as a field of a frozen model beside the thing it configures. Its key
is the path of its field joined by ``_`` (``api.address`` is ``api_address``); the flag
``--api-address`` and the environment variable ``MESHWEIR_API_ADDRESS`` follow from the key. In the
file, keys may be written flat (``api_address: ...``) or nested (``api: {address: ...}``). Settings
for which a whole section stands have its key: ``kafka`` is where Kafka answers, ``tail`` which
files are followed.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from api.aliases import IdentitySettings
from api.listen import ListenAddress
from collectors.listen import is_loopback, split_address
from collectors.settings import CollectorSettings
from pipeline.bus.settings import EmbeddedBusSettings, KafkaSettings
from pipeline.errors import InvalidInput
from pipeline.jobs.settings import AnalysisSettings, IngestSettings
from pipeline.store.settings import StoreSettings

MIB: Final = 1024 * 1024
PREFIX: Final = "MESHWEIR_"

UNPREFIXED: Final = frozenset({"collectors"})
"""Sections whose keys stand without the section's name: ``otlp_grpc_address``."""

SHORT: Final = MappingProxyType({"kafka_bootstrap_servers": "kafka", "tail_paths": "tail"})
"""Keys that are shorter than their path."""


class ApiSettings(BaseModel):
    """The HTTP interface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: ListenAddress = Field(
        default="127.0.0.1:8080", description="Where the HTTP API listens; port 0 picks one."
    )
    token: SecretStr | None = Field(
        default=None,
        description="Bearer token that every request must carry; needed beyond loopback.",
    )
    token_file: Path | None = Field(
        default=None, description="File that holds the bearer token, instead of the token itself."
    )
    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        default=64 * MIB, description="Bytes of encoded answers kept in memory."
    )
    concurrent_questions: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="Questions put to the store at the same time; more wait."
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        default=10.0, description="How long requests under way may take when the process stops."
    )

    @model_validator(mode="after")
    def _guarded_beyond_loopback(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("api_token or api_token_file, not both")
        host, _ = split_address(self.address, field="address")
        if not is_loopback(host) and self.token is None and self.token_file is None:
            raise ValueError(
                f"{self.address} can be reached from other machines: set MESHWEIR_API_TOKEN or "
                "--api-token-file, or listen on 127.0.0.1"
            )
        return self

    def bearer_token(self) -> str | None:
        """The token requests must carry, or None where none is asked for.

        Raises:
            InvalidInput: the token's file cannot be read, or the token is empty.
        """
        token = self.token.get_secret_value() if self.token is not None else None
        if self.token_file is not None:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as problem:
                raise InvalidInput(
                    "api_token_file", found=str(self.token_file), allowed=f"a text file: {problem}"
                ) from problem
        if token is not None and not token.strip():
            raise InvalidInput("api_token", found="", allowed="a token that is not empty")
        return token


class Settings(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(
        default=Path("meshweir-data"), description="Directory that holds everything stored."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines to write to stderr."
    )
    api: ApiSettings = ApiSettings()
    collectors: CollectorSettings = CollectorSettings()
    bus: EmbeddedBusSettings = EmbeddedBusSettings()
    kafka: KafkaSettings = KafkaSettings()
    ingest: IngestSettings = IngestSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    store: StoreSettings = StoreSettings()
    identity: IdentitySettings = IdentitySettings()


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that can be set.

    Attributes:
        key: its name in the configuration file, flat.
        path: where it stands in ``Settings``.
        field: its declaration.
    """

    key: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def section(self) -> str:
        """Name of the part it configures; empty for settings of the whole process."""
        return self.path[0] if len(self.path) > 1 else ""

    @property
    def flag(self) -> str | None:
        """Its command line flag; a secret has none: all who list processes would see it."""
        return None if self.secret else "--" + self.key.replace("_", "-")

    @property
    def secret(self) -> bool:
        """True for what nobody may read."""
        return SecretStr in (self.field.annotation, *get_args(self.field.annotation))

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.key.upper()

    @property
    def default(self) -> str:
        """Its default, as one would write it."""
        value = self.field.get_default(call_default_factory=True)
        if isinstance(value, (list, tuple)):
            return ",".join(map(str, value))
        return "" if value is None else str(value)

    @property
    def many(self) -> bool:
        """True for lists, which flags and variables take separated by commas."""
        return isinstance(self.field.get_default(call_default_factory=True), (list, tuple))


class Given(NamedTuple):
    """A value somebody gave, and the name under which they gave it."""

    name: str
    value: object


@cache
def declared() -> tuple[Setting, ...]:
    """Every setting, in the order of declaration."""
    return tuple(_walk(Settings, ()))


def load(
    *,
    flags: Mapping[str, str],
    environment: Mapping[str, str],
    file: Path | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """The settings that hold.

    Args:
        flags: values of flags, by key.
        environment: the process's environment.
        file: the configuration file, where there is one.
        defaults: defaults of one command's own, by key.

    Raises:
        InvalidInput: a key is not known, or a value not allowed; names what was given and where.
    """
    given = {key: Given(key, value) for key, value in defaults.items()}
    if file is not None:
        given |= _from_file(file)
    known = {setting.key: setting for setting in declared()}
    for key, setting in known.items():
        if setting.variable in environment:
            given[key] = Given(setting.variable, environment[setting.variable])
        if key in flags:
            given[key] = Given("--" + key.replace("_", "-"), flags[key])
    tree: dict[str, Any] = {}
    for key, one in given.items():
        _place(tree, known[key], _read(known[key], one))
    try:
        return Settings.model_validate(tree)
    except ValidationError as problem:
        raise _refusal(problem, given) from None


def misspelt(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Environment variables that look like a setting but are none, with what was likely meant.

    Unknown variables are no error: Kubernetes sets some for a service that is named meshweir.
    """
    variables = [setting.variable for setting in declared()]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in variables:
            for meant in difflib.get_close_matches(name, variables, n=1, cutoff=0.85):
                yield name, meant


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        here = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, here)
        else:
            yield Setting(_key(here), here, field)


def _key(path: Iterable[str]) -> str:
    key = "_".join(part for part in path if part not in UNPREFIXED)
    return SHORT.get(key, key)


def _read(setting: Setting, given: Given) -> object:
    """The value as the setting's type; texts of flags and variables become numbers where due."""
    value = given.value
    if setting.many and isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    kind: Any = setting.field.annotation
    if value == "" and type(None) in get_args(kind):
        return None
    for constraint in setting.field.metadata:
        kind = Annotated[kind, constraint]
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as problem:
        raise InvalidInput(given.name, found=value, allowed=_reason(problem)) from None


def _place(tree: dict[str, Any], setting: Setting, value: object) -> None:
    for part in setting.path[:-1]:
        tree = tree.setdefault(part, {})
    tree[setting.path[-1]] = value


def _from_file(file: Path) -> dict[str, Given]:
    try:
        content = yaml.load(file.read_text(), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            "--config", found=str(file), allowed=f"a text file that can be read: {problem}"
        ) from problem
    except yaml.YAMLError as problem:
        raise InvalidInput("--config", found=str(file), allowed=f"YAML: {problem}") from problem
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidInput("--config", found=str(file), allowed="a mapping of keys to values")
    given: dict[str, Given] = {}
    for key, value in _flatten(content, (), file):
        if key in given:
            raise InvalidInput(f"{file}: {key}", found=value, allowed="each key only once")
        given[key] = Given(f"{file}: {key}", value)
    return given


def _flatten(
    content: Mapping[object, object], path: tuple[str, ...], file: Path
) -> Iterator[tuple[str, object]]:
    keys = [setting.key for setting in declared()]
    for name, value in content.items():
        here = (*path, str(name).replace("-", "_"))
        key = _key(here)
        if isinstance(value, dict) and _leads_on(key, here[-1], keys):
            yield from _flatten(value, here, file)
        elif key in keys:
            yield key, value
        else:
            raise InvalidInput(f"{file}: {key}", found=value, allowed=hint(key, keys))


def _leads_on(key: str, name: str, keys: Iterable[str]) -> bool:
    return name in UNPREFIXED or any(known.startswith(key + "_") for known in keys)


def hint(name: str, known: Iterable[str]) -> str:
    """What would have been allowed for ``name``: near misses first, else the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"no such name; did you mean {' or '.join(near)}?"
    return "one of " + ", ".join(names)


def _reason(problem: ValidationError) -> str:
    message = problem.errors(include_url=False)[0]["msg"]
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def _refusal(problem: ValidationError, given: Mapping[str, Given]) -> InvalidInput:
    """Values that are allowed each but not together; names all that were given of the section."""
    location = problem.errors(include_url=False)[0]["loc"]
    involved = [
        given[setting.key]
        for setting in declared()
        if setting.path[: len(location)] == location and setting.key in given
    ]
    name = ", ".join(one.name for one in involved) or ".".join(map(str, location))
    found = involved[0].value if len(involved) == 1 else "this combination"
    return InvalidInput(name, found=found, allowed=_reason(problem))


class _StrictLoader(yaml.SafeLoader):
    """YAML whose mappings have each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep=deep)
