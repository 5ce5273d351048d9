"""Salver in a script that adds replicas on demand.

usage: python -m bench.apps.salver_replica PORT

Serves the hello app with one replica; for every line N on stdin it asks for N replicas and, when
they run, prints how many milliseconds that took.
"""

from __future__ import annotations

import sys
import time

from bench.apps import programs
from salver import serve


def main() -> None:
    """Serve until stdin ends."""
    hello = serve.deployment(max_ongoing_requests=256)(programs.Hello)
    serve.start(http_options={"port": int(sys.argv[1])})
    serve.run(hello.bind())
    try:
        for line in sys.stdin:
            began = time.perf_counter()
            serve.run(hello.options(num_replicas=int(line)).bind())
            print(f"{(time.perf_counter() - began) * 1e3:.3f}", flush=True)
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
