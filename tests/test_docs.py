"""What can be set, called or run is documented, or this fails."""

import argparse
import re
from pathlib import Path

import pytest

from api.cli import COMMANDS, _parsers
from api.settings import declared
from tests.api.conftest import app, http, ledger, mesh, mesh_directory  # noqa: F401 - fixtures

DOCS = Path(__file__).parents[1] / "docs"
LONGEST_MODULE = 420
"""Lines of a module: what is longer has a second reason to change, and is split there."""

MARKER = "<!-- settings: written by make golden -->"


def settings_table():
    """The table of all settings, as `docs/settings.md` shows it."""
    lines = ["| key | flag | variable | default | meaning |", "|---|---|---|---|---|"]
    for one in declared():
        flag = f"`{one.flag}`" if one.flag else ""
        # how many processors there are is this machine's business
        default = "processors, at most 4" if one.key == "store_threads" else one.default
        shown = f"`{default}`" if default else ""
        meaning = str(one.field.description).replace("|", "\\|")
        lines.append(f"| `{one.key}` | {flag} | `{one.variable}` | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def test_every_setting_is_documented(request):
    page = DOCS / "settings.md"
    before, marker, table = page.read_text().partition(MARKER)
    assert marker
    if request.config.getoption("--update-golden"):
        page.write_text(f"{before}{marker}\n\n{settings_table()}")
        return
    assert table.strip() == settings_table().strip(), "run make golden"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    assert re.search(rf"^## `meshweir {command}\b", (DOCS / "cli.md").read_text(), re.MULTILINE)


def test_every_option_that_is_no_setting_is_documented():
    text = (DOCS / "cli.md").read_text() + (DOCS / "settings.md").read_text()
    _, commands = _parsers()
    nested = [
        (f"{name} {action}", parser)
        for name, command in commands.items()
        for place in command._actions
        if isinstance(place, argparse._SubParsersAction)
        for action, parser in place.choices.items()
    ]
    for name, parser in [*commands.items(), *nested]:
        for option in parser._option_string_actions:
            if option.startswith("--") and option != "--help":
                assert f"`{option}" in text, f"meshweir {name} {option}"


def test_every_route_and_parameter_is_documented(app):  # noqa: F811 - a fixture
    text = (DOCS / "api.md").read_text()
    for path, operations in app.openapi()["paths"].items():
        section = text.partition(f"`GET {path}`")[2].partition("\n### ")[0]
        assert section, path
        for parameter in operations["get"].get("parameters", []):
            if parameter["in"] == "query":
                assert f"`{parameter['name']}" in section, f"{path}: {parameter['name']}"


def test_every_metric_is_documented(http):  # noqa: F811 - a fixture
    text = (DOCS / "api.md").read_text()
    for line in http.get("/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            assert f"`{line.split()[2]}`" in text


def test_every_decision_has_a_number_of_its_own():
    pages = sorted((DOCS / "decisions").glob("*.md"))
    for number, page in enumerate(pages, start=1):
        assert page.name.startswith(f"{number:04}-")
        assert page.read_text().startswith(f"# {number}. ")


def test_modules_stay_short():
    packages = ("api", "collectors", "pipeline")
    root = Path(__file__).parents[1]
    long = {
        str(path.relative_to(root)): lines
        for package in packages
        for path in (root / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert not long


ROOT = DOCS.parent
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in headings(found), target


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
