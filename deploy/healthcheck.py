"""Whether Meshweir is ready: exits with 0 when it is, else with 1 and the reason on stdout.

``healthcheck.py [URL]``. Needs nothing but Python, so that it costs little each time.
"""

import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8080/readyz"
SECONDS = 4


def main() -> int:
    """Ask once."""
    url = sys.argv[1] if len(sys.argv) > 1 else URL
    # whatever proxy the environment names, this stays in the container
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS):
            return 0
    except urllib.error.HTTPError as error:
        reason = error.read(1000).decode(errors="replace")
    except OSError as error:
        reason = str(error)
    sys.stdout.write(f"{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
