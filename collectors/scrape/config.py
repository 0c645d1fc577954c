"""What to scrape, as Prometheus' ``scrape_configs`` says it: the subset that is understood here.

What belongs to other parts of Prometheus is passed over, so that a ``prometheus.yml`` can be named
as it is. A key that would change what is scraped, and is not understood, is refused with its name.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from collectors.scrape.access import DIRECTORY, Access, Strict, beside
from collectors.scrape.quantities import ByteSize, Duration
from collectors.scrape.relabel import RelabelRule
from pipeline.errors import InvalidInput

MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024

ELSEWHERE: Final = frozenset(
    {
        "alerting",
        "otlp",
        "remote_read",
        "remote_write",
        "rule_files",
        "runtime",
        "storage",
        "tracing",
    }
)
"""Sections of ``prometheus.yml`` that are not about scraping."""

NOT_HERE: Final[Mapping[str, str]] = {
    "metric_relabel_configs": "no such rules: samples go on as they were exposed",
    "scrape_config_files": "all jobs in this one file",
    "password": "password_file: secrets are read from files only",
    "credentials": "credentials_file: secrets are read from files only",
    "bearer_token": "bearer_token_file: secrets are read from files only",
    "cert": "cert_file: a path",
    "key": "key_file: a path",
    "ca": "ca_file: a path",
    "oauth2": "authorization, basic_auth or bearer_token_file; no OAuth 2.0 yet",
    "sigv4": "authorization, basic_auth or bearer_token_file",
    "proxy_url": "direct connections only",
    "kubeconfig_file": "api_server with authorization and tls_config, or in a cluster nothing",
    "attach_metadata": "pods as they are; nodes and namespaces are not asked for",
}
"""What to write instead of a key of Prometheus that is not understood."""

OTHER_DISCOVERY: Final = (
    "static_configs, file_sd_configs, http_sd_configs or kubernetes_sd_configs; what finds targets "
    "otherwise can write them into a file of file_sd_configs"
)
"""What to write instead of another way to find targets."""


def _under(pattern: str, info: ValidationInfo) -> str:
    return str(beside(Path(pattern), info))


Pattern = Annotated[str, AfterValidator(_under)]
"""A path, perhaps with ``*``, relative to the file it is written in."""


class StaticConfig(Strict):
    """Targets by name."""

    targets: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)


class FileSd(Strict):
    """Targets from JSON or YAML files, which are read again when they change."""

    files: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    refresh_interval: Duration = 5.0


class HttpSd(Access):
    """Targets from the answer to a GET."""

    url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]
    refresh_interval: Duration = 60.0


class Namespaces(Strict):
    """Which namespaces are watched; all when none is named."""

    own_namespace: bool = False
    names: tuple[str, ...] = ()


class Selector(Strict):
    """Which pods are watched."""

    role: Literal["pod"] = "pod"
    label: str = ""
    field: str = ""


class KubernetesSd(Access):
    """Pods from the API of Kubernetes; without ``api_server`` that of the cluster around us."""

    role: Literal["pod"]
    api_server: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None = None
    namespaces: Namespaces = Namespaces()
    selectors: tuple[Selector, ...] = ()


class Negotiated(Strict):
    """What Prometheus lets one say of how it talks; here it makes no difference.

    All protocols that are understood are offered, and targets of any number are told of.
    """

    enable_compression: Any = None
    enable_http2: Any = None
    scrape_protocols: Any = None
    fallback_scrape_protocol: Any = None
    keep_dropped_targets: Any = None


class ScrapeJob(Access, Negotiated):
    """One entry of ``scrape_configs``."""

    job_name: Annotated[str, Field(min_length=1)]
    scrape_interval: Duration | None = None
    scrape_timeout: Duration | None = None
    metrics_path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    honor_labels: bool = False
    honor_timestamps: Literal[True] = True
    body_size_limit: ByteSize = 0
    sample_limit: Annotated[int, Field(ge=0)] = 0
    target_limit: Annotated[int, Field(ge=0)] = 0
    relabel_configs: tuple[RelabelRule, ...] = ()
    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileSd, ...] = ()
    http_sd_configs: tuple[HttpSd, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSd, ...] = ()

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.scrape_interval and (self.scrape_timeout or 0) > self.scrape_interval:
            raise ValueError("a scrape_timeout not longer than the scrape_interval")
        return self


class Globals(Negotiated):
    """``global``: what holds where jobs say nothing; the rest of it is not about scraping."""

    scrape_interval: Duration | None = None
    scrape_timeout: Duration | None = None
    evaluation_interval: Any = None
    rule_query_offset: Any = None
    query_log_file: Any = None
    scrape_failure_log_file: Any = None
    external_labels: Any = None


class ScrapeConfig(Strict):
    """A whole file."""

    all_jobs: Globals = Field(default=Globals(), alias="global")
    scrape_configs: tuple[ScrapeJob, ...] = ()

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        names = [job.job_name for job in self.scrape_configs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"each job_name once; {twice} is there twice")
        return self

    def jobs(self) -> Iterable[ScrapeJob]:
        """The jobs, each with the intervals that hold where it says none itself."""
        for job in self.scrape_configs:
            yield job.model_copy(
                update={
                    "scrape_interval": job.scrape_interval or self.all_jobs.scrape_interval,
                    "scrape_timeout": job.scrape_timeout or self.all_jobs.scrape_timeout,
                }
            )


def read_config(file: Path) -> list[ScrapeJob]:
    """The jobs of a configuration file.

    Raises:
        InvalidInput: it cannot be read, a key is not known, or a value not allowed; names it.
    """
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise InvalidInput(str(file), found=tree, allowed="a mapping with the key scrape_configs")
    ours = {key: value for key, value in tree.items() if key not in ELSEWHERE}
    try:
        config = ScrapeConfig.model_validate(ours, context={DIRECTORY: file.parent})
    except ValidationError as problem:
        raise refusal(problem, f"{file}: ") from None
    return list(config.jobs())


def read_yaml(file: Path) -> object:
    """What a file of YAML, or of JSON, says; raises InvalidInput when it says nothing."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise InvalidInput(
                str(file), found="a larger one", allowed=f"a file of {MAX_CONFIG_BYTES} bytes"
            )
        return yaml.safe_load(content)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(
            str(file), found="a file that cannot be read", allowed=f"a YAML file: {problem}"
        ) from problem


def refusal(problem: ValidationError, where: str = "") -> InvalidInput:
    """What is wrong, with its place and what to write instead; an unknown key before all else."""
    errors = problem.errors(include_url=False, include_input=True)
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    place = where + _place(first["loc"])
    if first["type"] == "extra_forbidden":
        return InvalidInput(
            place, found=_shown(first["input"]), allowed=_instead(str(first["loc"][-1]))
        )
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InvalidInput(place, found=_shown(first["input"]), allowed=message)


def _place(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _shown(given: object) -> object:
    """What was given, where that is short: a whole section, or a secret, is not repeated."""
    return given if isinstance(given, (bool, int, float)) else f"a {type(given).__name__}"


def _instead(key: str) -> str:
    if key in NOT_HERE:
        return NOT_HERE[key]
    if key.endswith("_sd_configs"):
        return OTHER_DISCOVERY
    known = sorted({name for model in _MODELS for name in model.model_fields})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"only keys that the scraper understands{meant}"


_MODELS: Final = (
    ScrapeConfig, ScrapeJob, StaticConfig, FileSd, HttpSd, KubernetesSd, Namespaces, Selector,
    RelabelRule,
)  # fmt: skip
