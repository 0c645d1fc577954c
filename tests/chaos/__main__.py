"""The long form: ``python -m tests.chaos [--events 200] [--seed N]``, or ``make chaos``."""

import argparse
import json
import sys
import time
from dataclasses import asdict

from tests.chaos.run import run


def main() -> int:
    """Run it, print what was found as JSON; 0 when all promises were kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=200, help="faults [200]")
    parser.add_argument("--seed", type=int, default=None, help="[the time]")
    parser.add_argument("--workers", type=int, default=2, help="workers that share the store [2]")
    asked = parser.parse_args()
    seed = int(time.time()) if asked.seed is None else asked.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    outcome = run(
        asked.events,
        seed=seed,
        workers=asked.workers,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps({**asdict(outcome), "holds": outcome.verdict.holds}, indent=2))
    return 0 if outcome.verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
