"""What files say is read, or refused, before a process opens anything."""

import socket

import pytest

from api.configured import Configured
from api.role import COLLECT, PROCESS, SERVE, UP
from api.settings import load
from pipeline.errors import InvalidInput
from tests.api.test_cli import meshweir

WRONG = {
    "scrape_config_file": "scrape_configs: [{job_name: a, consul_sd_configs: []}]",
    "identity_aliases": "- no mapping",
    "analysis_openapi_directory": "openapi: [",
}
CONCERN = {
    "scrape_config_file": {UP, COLLECT},
    "identity_aliases": {UP, SERVE},
    "analysis_openapi_directory": {UP, PROCESS},
}


def named(directory, key, text):
    """The setting that names a file with that text; a directory where one is wanted."""
    file = directory / "cart.yaml"
    if text is not None:
        file.write_text(text)
    whole = key != "analysis_openapi_directory"
    return str(file if whole else directory if text is not None else directory / "none")


@pytest.mark.parametrize("text", [True, None], ids=["wrong", "missing"])
@pytest.mark.parametrize("key", WRONG)
@pytest.mark.parametrize("role", [UP, COLLECT, PROCESS, SERVE], ids=lambda role: role.name)
def test_a_file_is_refused_by_the_roles_it_concerns(tmp_path, role, key, text):
    place = named(tmp_path, key, WRONG[key] if text else None)
    settings = load(flags={key: place}, environment={})
    if role in CONCERN[key]:
        with pytest.raises(InvalidInput, match=r"cart\.yaml|analysis_openapi_directory"):
            Configured.of(role, settings)
    else:
        Configured.of(role, settings)


def test_certificates_of_senders_are_read_too(tmp_path):
    flags = {
        "apigee_syslog_address": "127.0.0.1:0",
        "apigee_syslog_certificate_file": str(tmp_path / "none.pem"),
        "apigee_syslog_key_file": str(tmp_path / "none.key"),
    }
    with pytest.raises(InvalidInput, match="apigee_syslog_certificate_file"):
        Configured.of(COLLECT, load(flags=flags, environment={}))


@pytest.mark.parametrize("key", WRONG)
def test_it_is_wrong_usage_and_nothing_is_opened(tmp_path, key):
    (tmp_path / "files").mkdir()
    flag = f"--{key.replace('_', '-')}"
    data = tmp_path / "data"
    with socket.socket() as taken:
        # whoever came as far as listening would end with this address in use
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = meshweir(
            *("up", "--data", data, "--api-address", address),
            *(flag, named(tmp_path / "files", key, WRONG[key])),
        )
    assert ended.returncode == 2
    assert "cart.yaml" in ended.stderr.decode()
    assert "in use" not in ended.stderr.decode()
    assert not data.exists()
