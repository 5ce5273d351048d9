"""Blocks until Ctrl-C, as `serve.run(app, blocking=True)` does."""

from salver import serve


@serve.deployment
def hello() -> str:
    return "hello"


try:
    serve.run(hello.bind(), name="first", route_prefix=None)
    print("starting", flush=True)
    serve.run(hello.bind(), blocking=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
