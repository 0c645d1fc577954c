"""Cases for relabelling at random: ``python -m tests.collectors.scrape.relabel_cases``.

The golden file is these cases, each with what Prometheus makes of it; ``golden/relabel.go`` asks
Prometheus' own package (v0.308.0, of Prometheus 3.8):

    go mod init relabel && go get github.com/prometheus/prometheus@v0.308.0 && go mod tidy
    go build -o relabel . && python -m tests.collectors.scrape.relabel_cases ./relabel
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "relabel.jsonl"

NAMES = ["__name__", "a", "b", "le", "job", "pod_name", "Ünï", "http.route", "__tmp"]
VALUES = [
    "foo",
    "bar",
    "foobar",
    "foo-bar",
    "a1b22",
    "X",
    "",
    "ΣΑΣ ßİ",
    "é",
    "two\nlines",
    "$1",
    "0.5",
]
ACTIONS = [
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop",
    "labelkeep", "lowercase", "uppercase", "Replace", "KEEP", "mirror",
]  # fmt: skip
EXPRESSIONS = [
    "(.*)", "", "foo|bar", "f(o+)(.*)", ".+", "(?i)FOO.*", r"\d+", r"([a-z]+)\d(.*)", r"\pL+",
    r"foo\z", "[[:alpha:]]+-(?P<rest>.*)", "^foo$", "(?P<first>.)(.*)", "a|b|le", "(pod|job)(_.*)?",
    "__name__|a", "(a)|(b)", ".*;.*", "two.lines", r"\w+", "(?U)(.+)(o*)", "(", r"(?=a)",
    r"foo\b.*",
]  # fmt: skip
TEMPLATES = [
    "$1", "${1}", "x", "", "${1}_$2", "$rest", "${first}x", "$1x", "$$1", "$", "${", "${ü}", "$01",
    "$10", "${2}", "-$1-", "new_${1}",
]  # fmt: skip


def rule(chance: random.Random) -> dict[str, Any]:
    """One rule; some make no sense."""
    keys = {
        "source_labels": lambda: chance.sample(NAMES, chance.randint(1, 3)),
        "separator": lambda: chance.choice([";", "", "-", ";;"]),
        "target_label": lambda: chance.choice([*NAMES, "new", "${1}", "x_$1"]),
        "regex": lambda: chance.choice(EXPRESSIONS),
        "modulus": lambda: chance.choice([1, 7, 1000, 2**64 - 1]),
        "replacement": lambda: chance.choice(TEMPLATES),
    }
    action = chance.choice(ACTIONS)
    likely = {
        "labeldrop": {"regex"},
        "labelkeep": {"regex"},
        "labelmap": {"regex", "replacement"},
        "keepequal": {"source_labels", "target_label"},
        "dropequal": {"source_labels", "target_label"},
        "hashmod": {"source_labels", "target_label", "modulus"},
        "lowercase": {"source_labels", "target_label"},
        "uppercase": {"source_labels", "target_label"},
        "keep": {"source_labels", "regex"},
        "drop": {"source_labels", "regex"},
    }.get(action, {"source_labels", "target_label", "regex", "replacement"})
    told = {
        key: make()
        for key, make in keys.items()
        if chance.random() < (0.9 if key in likely else 0.03)
    }
    return told | ({} if chance.random() < 0.02 else {"action": action})


def cases(count: int = 700) -> list[dict[str, Any]]:
    """Labels and rules; the same each time."""
    chance = random.Random(20251125)
    return [
        {
            "labels": {
                name: value
                for name in chance.sample(NAMES, chance.randint(1, 6))
                if (value := chance.choice(VALUES))
            },
            "rules": [rule(chance) for _ in range(chance.choice([1, 1, 1, 2, 3]))],
        }
        for _ in range(count)
    ]


def main(oracle: str) -> None:
    """Ask Prometheus, and write what it answers."""
    asked = [one | {"rules": json.dumps(one["rules"])} for one in cases()]
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    told = subprocess.run(
        [oracle], input=lines, capture_output=True, text=True, check=True, timeout=60
    )
    answers = map(json.loads, told.stdout.splitlines())
    golden = [one | {"after": after} for one, after in zip(cases(), answers, strict=True)]
    GOLDEN.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in golden))


if __name__ == "__main__":
    main(sys.argv[1])
