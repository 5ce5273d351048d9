"""Blocks until Ctrl-C, as `serve.run(app, blocking=True)` does, and `run_many`, if asked to."""

import sys

from salver import serve


@serve.deployment
def hello() -> str:
    return "hello"


try:
    serve.run(hello.bind(), name="first", route_prefix=None)
    print("starting", flush=True)
    if "many" in sys.argv:
        serve.run_many([serve.RunTarget(hello.bind())], blocking=True)
    serve.run(hello.bind(), blocking=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
