"""``python -m tests.fuzz``: Atheris against every decoder and door, guided by coverage.

Begins from the seeds of all formats. What breaks a law is written to ``crash-*`` in the folder of
findings and ends the run with an error. Kernels are compiled with bounds checks, into a cache of
their own; modules that hold kernels are not instrumented, since Numba reads their bytecode.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FINDINGS: Final = ROOT / ".fuzz"
_LONGEST: Final = 1 << 14
_SLOW_SECONDS: Final = 30
_MEMORY_MB: Final = 4096


def main() -> None:
    """Run Atheris; it never returns, but ends the process."""
    arguments = _parser().parse_args()
    if not arguments.unchecked:
        os.environ["NUMBA_BOUNDSCHECK"] = "1"
        os.environ["NUMBA_CACHE_DIR"] = str(arguments.findings / "kernels")
    import atheris  # noqa: PLC0415 - has no wheel for every Python, and must come before the others

    with atheris.instrument_imports(include=["pipeline"], exclude=_with_kernels()):
        from pipeline.decode import DECODERS, module_of  # noqa: PLC0415

        for name in DECODERS:
            module_of(name)
        from tests.fuzz.laws import check  # noqa: PLC0415
        from tests.fuzz.seeds import seeds  # noqa: PLC0415

    names = sorted(DECODERS)
    only = arguments.format
    for name in names:
        check(name, seeds()[name])  # what must be compiled must not count as a slow input

    def one(data: bytes) -> None:
        if data:
            check(only or names[data[0] % len(names)], [data[1:]])

    corpus = arguments.findings / (only or "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        for index, seed in enumerate(seeds()[name]):
            (corpus / f"{name}-{index}").write_bytes(bytes((number,)) + seed)
    atheris.Setup([sys.argv[0], *_flags(arguments), str(corpus)], one)
    atheris.Fuzz()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=0, help="how long; 0 for no end")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs; -1 for no end")
    parser.add_argument("--format", default="", help="one format alone")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0 picks one")
    parser.add_argument(
        "--unchecked", action="store_true", help="take the usual kernels, without bounds checks"
    )
    parser.add_argument("--findings", type=Path, default=FINDINGS, help="folder for what it finds")
    return parser


def _flags(arguments: argparse.Namespace) -> list[str]:
    """The flags of libFuzzer."""
    return [
        f"-max_total_time={arguments.seconds}",
        f"-runs={arguments.runs}",
        f"-seed={arguments.seed}",
        f"-max_len={_LONGEST}",
        f"-timeout={_SLOW_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={arguments.findings}/",
        "-print_final_stats=1",
    ]


def _with_kernels() -> list[str]:
    """Modules in which functions are compiled."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        if "@kernel" in (text := path.read_text(encoding="utf-8")) or "@inlined" in text
    ]


if __name__ == "__main__":
    main()
