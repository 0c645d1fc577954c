"""What to scrape, as Prometheus' ``scrape_configs`` says it: the subset that is understood here.

What belongs to other parts of Prometheus is passed over, so that a ``prometheus.yml`` can be named
as it is. A key that would change what is scraped, and is not understood, is refused with its name.
"""

import difflib
import glob
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from collectors.scrape.access import DIRECTORY, Access, LabelValue, Strict, beside
from collectors.scrape.quantities import ByteSize, Duration
from collectors.scrape.relabel import RelabelRule
from collectors.scrape.yaml_text import Plain, read_yaml
from pipeline.errors import InvalidInput

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
    "password": "password_file: secrets are read from files only",
    "credentials": "credentials_file: secrets are read from files only",
    "bearer_token": "bearer_token_file: secrets are read from files only",
    "cert": "cert_file: a path",
    "key": "key_file: a path",
    "ca": "ca_file: a path",
    "secrets": "files: secrets are read from files only",
    "oauth2": "authorization, basic_auth or bearer_token_file; no OAuth 2.0 yet",
    "sigv4": "authorization, basic_auth or bearer_token_file",
    "proxy_url": "direct connections only",
    "proxy_from_environment": "direct connections only",
    "proxy_connect_header": "direct connections only",
    "no_proxy": "direct connections only",
    "kubeconfig_file": "api_server with authorization and tls_config, or in a cluster nothing",
    "attach_metadata": "pods as they are; nodes and namespaces are not asked for",
}
"""What to write instead of a key of Prometheus that is not understood."""

OTHER_DISCOVERY: Final = (
    "static_configs, file_sd_configs, http_sd_configs, dns_sd_configs or kubernetes_sd_configs; "
    "what finds targets otherwise can write them into a file of file_sd_configs"
)
"""What to write instead of another way to find targets."""


def _under(pattern: str, info: ValidationInfo) -> str:
    return str(beside(Path(pattern), info))


def _upper(text: object) -> object:
    return text.upper() if isinstance(text, str) else text


Pattern = Annotated[str, AfterValidator(_under)]
"""A path, perhaps with ``*``, relative to the file it is written in."""

Limit = Annotated[int, Field(ge=0)]
"""A number that must not be passed; 0 is no limit of its own."""

Protocol = Literal[
    "PrometheusProto", "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0",
    "PrometheusText0.0.4",
]  # fmt: skip
"""What Prometheus calls the formats of expositions."""

Model = TypeVar("Model", bound=Strict)


class StaticConfig(Strict):
    """Targets by name."""

    targets: tuple[str, ...] = ()
    labels: dict[str, LabelValue] = Field(default_factory=dict)


class FileSd(Strict):
    """Targets from JSON or YAML files, which are read again when they change."""

    files: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    refresh_interval: Duration = 5.0


class HttpSd(Access):
    """Targets from the answer to a GET."""

    url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]
    refresh_interval: Duration = 60.0


class DnsSd(Strict):
    """Targets from the records of DNS names; those of type SRV tell the port, too."""

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    type: Annotated[Literal["SRV", "A", "AAAA", "MX", "NS"], BeforeValidator(_upper)] = "SRV"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    refresh_interval: Duration = 30.0

    @model_validator(mode="after")
    def _has_port(self) -> Self:
        if self.type != "SRV" and not self.port:
            raise ValueError("a port, which only records of type SRV tell")
        return self


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


class LabelLimits(Strict):
    """What labels of a sample may be after all rules; 0 is no limit. A scrape past one has failed.

    As in Prometheus the name of the metric and the labels of the target are counted, too; lengths
    are bytes of UTF-8.
    """

    label_limit: Limit = 0
    label_name_length_limit: Limit = 0
    label_value_length_limit: Limit = 0


class Everywhere(LabelLimits):
    """What may be said once for all jobs, and by each for itself."""

    scrape_interval: Duration | None = None
    scrape_timeout: Duration | None = None
    scrape_protocols: tuple[Protocol, ...] = ()
    body_size_limit: ByteSize = 0
    sample_limit: Limit = 0
    target_limit: Limit = 0
    metric_name_validation_scheme: Literal["", "utf8", "legacy"] = ""
    metric_name_escaping_scheme: Literal["", "allow-utf-8", "underscores", "dots", "values"] = ""


class NoMatter(Strict):
    """What Prometheus lets one say beside, and what makes no difference here.

    HTTP/1.1 is spoken. Native histograms are exposed in protobuf alone, which is not asked for, and
    bounds of classic ones are kept as they are. Targets of any number are told of, and failures of
    scrapes are told by the API and in the log.
    """

    enable_http2: Any = None
    keep_dropped_targets: Any = None
    scrape_failure_log_file: Any = None
    scrape_native_histograms: Any = None
    scrape_classic_histograms: Any = None
    always_scrape_classic_histograms: Any = None
    convert_classic_histograms_to_nhcb: Any = None
    native_histogram_bucket_limit: Any = None
    native_histogram_min_bucket_factor: Any = None
    extra_scrape_metrics: Any = None


class ScrapeJob(Access, Everywhere, NoMatter):
    """One entry of ``scrape_configs``."""

    job_name: Annotated[str, Field(min_length=1)]
    metrics_path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    fallback_scrape_protocol: Protocol | None = None
    enable_compression: bool = True
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    relabel_configs: tuple[RelabelRule, ...] = ()
    metric_relabel_configs: tuple[RelabelRule, ...] = ()
    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileSd, ...] = ()
    http_sd_configs: tuple[HttpSd, ...] = ()
    dns_sd_configs: tuple[DnsSd, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSd, ...] = ()

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.scrape_interval and (self.scrape_timeout or 0) > self.scrape_interval:
            raise ValueError("a scrape_timeout not longer than the scrape_interval")
        return self


class Globals(Everywhere, NoMatter):
    """``global``: what holds where jobs say nothing; the rest of it is not about scraping."""

    evaluation_interval: Any = None
    rule_query_offset: Any = None
    query_log_file: Any = None
    external_labels: Any = None

    def given_to(self, job: ScrapeJob) -> ScrapeJob:
        """A job with what holds where it says nothing itself."""
        given = {
            name: getattr(self, name)
            for name in Everywhere.model_fields
            if not getattr(job, name) and getattr(self, name)
        }
        interval = job.scrape_interval or self.scrape_interval
        if interval and "scrape_timeout" in given:
            given["scrape_timeout"] = min(interval, given["scrape_timeout"])
        return job.model_copy(update=given)


class MoreJobs(Strict):
    """A file that ``scrape_config_files`` names."""

    scrape_configs: tuple[ScrapeJob, ...] = ()


class ScrapeConfig(MoreJobs):
    """A whole file."""

    all_jobs: Globals = Field(default=Globals(), alias="global")
    scrape_config_files: tuple[Pattern, ...] = ()


def read_config(file: Path) -> list[ScrapeJob]:
    """The jobs of a configuration file, and of those it names.

    Raises:
        InvalidInput: a file cannot be read, a key is not known, or a value not allowed; names it.
    """
    config = _read(ScrapeConfig, file, besides=ELSEWHERE)
    jobs = list(config.scrape_configs)
    for pattern in config.scrape_config_files:
        for name in sorted(glob.glob(pattern)):  # noqa: PTH207 - the pattern may be absolute
            jobs += _read(MoreJobs, Path(name)).scrape_configs
    names = Counter(job.job_name for job in jobs)
    if twice := next((name for name, times in names.items() if times > 1), None):
        raise InvalidInput(
            f"{file}: job_name", found=twice, allowed="each job_name once; this one is there twice"
        )
    return [config.all_jobs.given_to(job) for job in jobs]


def _read(model: type[Model], file: Path, besides: Collection[str] = ()) -> Model:
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise InvalidInput(str(file), found=tree, allowed="a mapping with the key scrape_configs")
    ours = {key: value for key, value in tree.items() if key not in besides}
    try:
        return model.model_validate(ours, context={DIRECTORY: file.parent})
    except ValidationError as problem:
        raise refusal(problem, f"{file}: ") from None


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
    given = first["input"]
    misspelt = first["type"] in {"literal_error", "enum"} and isinstance(given, str)
    found = str(given)[:_LONGEST_WORD] if misspelt else _shown(given)
    return InvalidInput(place, found=found, allowed=message)


_LONGEST_WORD: Final = 32
"""How much is repeated of what stands where one of some words must be."""


def _place(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _shown(given: object) -> object:
    """What was given, where that is short: a whole section, or a secret, is not repeated."""
    short = isinstance(given, (bool, int, float, Plain))
    return given if short else f"a {type(given).__name__}"


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
    ScrapeConfig, ScrapeJob, StaticConfig, FileSd, HttpSd, DnsSd, KubernetesSd, Namespaces,
    Selector, RelabelRule,
)  # fmt: skip
