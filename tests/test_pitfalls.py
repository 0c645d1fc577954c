"""Every known trap of meshes and gateways has a test, or a reason why not: ``pitfalls.txt``."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COUNTS = {"mesh": 34, "gateways": 20, "containers": 8}
"""How many traps each list has."""


def pitfalls() -> dict[tuple[str, int], list[str]]:
    """By list and number the tests, or one line with the reason."""
    found: dict[tuple[str, int], list[str]] = {}
    for line in (HERE / "pitfalls.txt").read_text(encoding="utf-8").splitlines():
        if numbered := re.match(r"(mesh|gateways|containers) (\d+) ", line):
            key = numbered[1], int(numbered[2])
            assert key not in found
            found[key] = []
        elif line.startswith("  "):
            found[key].append(line.strip())
    return found


@cache
def functions_in(path: str) -> dict[str, str]:
    """The tests of a file, and the file's text where they have parameters."""
    text = (HERE.parent / path).read_text(encoding="utf-8")
    functions = [one for one in ast.walk(ast.parse(text)) if isinstance(one, FUNCTIONS)]
    return {one.name: text for one in functions}


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_trap_is_missing() -> None:
    every = {(name, number) for name, count in COUNTS.items() for number in range(1, count + 1)}
    assert set(pitfalls()) == every


@pytest.mark.parametrize(("key", "told"), pitfalls().items(), ids=lambda value: str(value)[:20])
def test_a_trap_has_a_test_that_is_there_or_a_reason(key: tuple[str, int], told: list[str]) -> None:
    assert told
    if told[0].startswith("- "):
        assert len(told) == 1
        return
    for name in told:
        path, _, test = name.partition("::")
        test, _, scene = test.partition("[")
        assert test in functions_in(path), name
        assert not scene or f'"{scene.rstrip("]")}"' in functions_in(path)[test], name
