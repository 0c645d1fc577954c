"""Measures this machine: every benchmark in a process of its own, one after the other.

Run ``make bench``, or ``python -m tests.benchmarks decode ingest`` for some of them.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("decode", "receive", "store", "minutes", "graph", "ingest", "kafka", "kafka_load")


def machine() -> str:
    """The machine in one line."""
    cpu = Path("/proc/cpuinfo")
    model = "unknown processor"
    if cpu.exists():
        names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    print(f"# {machine()}", flush=True)
    for name in names or BENCHMARKS:
        print(f"\n## {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
