"""docker-compose.yml: Compose takes it, and Meshweir takes every command and variable of it."""

import re
import shutil
import subprocess

import pytest
import yaml

from api.cli import _parsers
from api.demo.broker import VERSION as KAFKA_VERSION
from api.settings import PREFIX, declared, load
from api.version import program_version
from tests.deploy.compose import COMPOSE, FILE, OURS, PROFILES, ROOT, SERVICES

TOKEN = "MESHWEIR_INTAKE_TOKEN"


@pytest.fixture
def compose(tmp_path):
    """Runs ``docker-compose`` on the file; it knows the variables given, and those alone."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose (Debian package docker-compose)")
    nothing = tmp_path / "env"
    nothing.touch()

    def run(*arguments, **environment):
        return subprocess.run(
            [program, "--env-file", nothing, "--file", FILE, *arguments],
            env={"PATH": "/usr/bin:/bin"} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("profiles", [[], PROFILES])
def test_compose_accepts_it(compose, profiles):
    flags = [f"--profile={profile}" for profile in profiles]
    done = compose(*flags, "config", **{TOKEN: "secret"})
    assert done.returncode == 0, done.stderr
    wanted = {
        name
        for name, service in SERVICES.items()
        if set(service.get("profiles", [])) <= set(profiles)
    }
    # Compose 1 shows services of all profiles, Compose 2 those that would run
    assert wanted <= set(yaml.safe_load(done.stdout)["services"]) <= set(SERVICES)


def test_compose_says_how_to_make_the_token_that_is_missing(compose):
    done = compose("config")
    assert done.returncode != 0
    assert "make secrets" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_guarded(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["pids_limit"]
    assert "privileged" not in service
    # Meshweir's image has its user and its health check in itself
    if name not in OURS:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_of_one_version(name):
    assert re.search(r":v?\d+\.\d+(\.\d+)?[-\w.]*$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_alone(name):
    service = SERVICES[name]
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
        assert "outside" in service["networks"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_mounts_is_there(name):
    for volume in SERVICES[name].get("volumes", []):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert target.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    assert set(SERVICES[name].get("secrets", [])) <= set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", SERVICES)
def test_it_waits_for_services_that_have_a_health_check(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert other in SERVICES


@pytest.mark.parametrize("name", OURS)
def test_meshweir_takes_the_command(name):
    parser, _ = _parsers()
    command = OURS[name]["command"]
    _, unknown = parser.parse_known_args(command)
    assert not unknown


@pytest.mark.parametrize("name", OURS)
def test_meshweir_takes_the_environment(name):
    environment = OURS[name].get("environment", {})
    known = {setting.variable for setting in declared()}
    assert {variable for variable in environment if variable.startswith(PREFIX)} <= known
    assert load(flags={}, environment=environment)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name):
    """They come from files or from variables that must be given; nothing has a default."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|TOKEN|SECRET", variable):
            assert str(value).startswith(("/run/secrets/", "${")), variable
            assert ":-" not in str(value)


def test_files_of_secrets_are_those_that_the_services_read():
    for name, service in SERVICES.items():
        read = {
            str(value).removeprefix("/run/secrets/")
            for value in service.get("environment", {}).values()
            if str(value).startswith("/run/secrets/")
        }
        assert read <= set(service.get("secrets", [])), name


def test_versions_are_those_that_are_tested():
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert OURS["api"]["image"] == f"meshweir:{program_version()}"
