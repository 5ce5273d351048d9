"""Blocks until Ctrl-C, as `serve.run(app, blocking=True)` does, and `run_many`, if asked to."""

import sys

from salver import api, serve

stay = api._stay


@serve.deployment
def hello() -> str:
    return "hello"


def tell_and_stay() -> None:
    print("blocks", flush=True)
    stay()


api._stay = tell_and_stay
try:
    serve.run(hello.bind(), name="first", route_prefix=None)
    if "many" in sys.argv:
        serve.run_many([serve.RunTarget(hello.bind())], blocking=True)
    else:
        serve.run(hello.bind(), blocking=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
