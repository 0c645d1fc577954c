"""``python -m tests.e2e.log_writer PATH PER_FILE STOP [cri]``: writes a log, and rotates it.

Numbered lines of an access log, a few at a time, until the file STOP appears; then it prints how
many. After PER_FILE lines the file is renamed and another begun, as logrotate does by default and
the kubelet does. With ``cri`` lines are wrapped as containerd wraps them, some of them in parts.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    """Write until told to stop."""
    path, per_file, stop = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    wrapped = "cri" in sys.argv[4:]
    log = path.open("ab", buffering=0)
    number = 0
    while not stop.exists():
        time.sleep(0.1)
        for _ in range(60):
            text = line(number)
            for piece in cri(text, number) if wrapped else (text[:40], text[40:] + b"\n"):
                log.write(piece)  # in several writes, so that a reader meets half a line
            number += 1
            if number % per_file == 0:
                path.rename(f"{path}.{number // per_file}")
                log.close()
                log = path.open("ab", buffering=0)
    print(number, flush=True)


def line(number: int) -> bytes:
    """One line, without its end."""
    told = {
        "start_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "method": "GET",
        "path": "/cart",
        "response_code": 200,
        "duration": 5,
        "request_id": f"r-{number}",
        "upstream_cluster": "cart",
    }
    return json.dumps(told).encode()


def cri(text: bytes, number: int) -> Iterator[bytes]:
    """The line as containerd writes it, every third one in parts."""
    before = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.{number:09d}Z stdout"
    if number % 3 == 0:
        yield f"{before} P ".encode() + text[:50] + b"\n"
        text = text[50:]
    yield f"{before} F ".encode()
    yield text + b"\n"


if __name__ == "__main__":
    main()
