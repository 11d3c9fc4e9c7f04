"""Whether the web server in this container serves: ``python -P config/probe.py`` ends with 0 if it does.

Without Django, as it runs every few seconds. It speaks as a proxy with TLS does, or SECURE=1 would send it away.
"""

import os
import sys
import urllib.request

TIMEOUT_S = 8


def main() -> int:
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/readyz"
    request = urllib.request.Request(url, headers={"X-Forwarded-Proto": "https"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 -- an address of ours
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
