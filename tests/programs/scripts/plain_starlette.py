"""Annotations by `starlette.requests`, with no more said than `import starlette`."""

import starlette

from salver import serve


@serve.deployment
class Echo:
    async def __call__(self, request: starlette.requests.Request) -> starlette.responses.Response:
        return starlette.responses.Response(await request.body(), media_type="text/x-echo")


if __name__ == "__main__":
    import httpx

    from salver.api import session

    serve.run(Echo.bind())
    answer = httpx.post(session._instance.url, content="said")
    print(answer.text, answer.headers["content-type"])
