"""Becomes another program that ends with its parent: ``tether.py PARENT PROGRAM ARGUMENT...``.

Run by path, as a program of its own, before anything is imported. On Linux the kernel is asked to
kill this process when its parent ends, and the request survives ``exec``; elsewhere it only becomes
the program. Doing this between fork and exec in the parent would run Python code in a copy of a
process with many threads, which may hang.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the program."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # the parent ended before the kernel was asked
    os.execv(command[0], command)  # noqa: S606 - the command is the demo's own


if __name__ == "__main__":
    main()
