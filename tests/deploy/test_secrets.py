"""``deploy/secrets.sh``: what ``make secrets`` makes."""

import shutil
import stat
import subprocess

import pytest

from tests.deploy.compose import COMPOSE, ROOT


@pytest.fixture
def deploy(tmp_path):
    """A copy of the script where it may write."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "secrets.sh", tmp_path / "deploy")
    return tmp_path / "deploy"


def make(deploy):
    done = subprocess.run([deploy / "secrets.sh"], capture_output=True, text=True, check=True)
    secrets = {path.name: path.read_text() for path in (deploy / "secrets").iterdir()}
    return secrets | {".env": (deploy.parent / ".env").read_text()}, done.stdout


def test_it_makes_every_secret_that_compose_mounts(deploy):
    secrets, said = make(deploy)
    for name, where in COMPOSE["secrets"].items():
        assert where == {"file": f"./deploy/secrets/{name}"}
        assert len(secrets[name]) == 43
        assert secrets[name] not in said
    assert secrets[".env"].startswith("MESHWEIR_INTAKE_TOKEN=")
    assert len(set(secrets.values())) == len(secrets)


def test_only_the_owner_gets_at_them(deploy):
    make(deploy)
    assert stat.S_IMODE((deploy / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((deploy.parent / ".env").stat().st_mode) == 0o600


def test_it_keeps_those_that_are_there(deploy):
    (deploy.parent / ".env").write_text("OTHER=1\n")
    first, _ = make(deploy)
    again, _ = make(deploy)
    assert first == again
    assert first[".env"].startswith("OTHER=1\n")


def test_they_are_never_committed():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "deploy/secrets/"} <= set(ignored)
