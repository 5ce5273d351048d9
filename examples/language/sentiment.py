"""What a text feels like: `salver run language.sentiment:build` (needs transformers).

curl -d '{"text": "What a great day!"}' http://127.0.0.1:8000/

Any classifier by name or path: `salver run language.sentiment:build model=NAME`.
"""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse

import salver


@salver.deployment(max_ongoing_requests=32, ray_actor_options={"num_cpus": 1})
class Sentiment:
    def __init__(self, name: str | None) -> None:
        # Imported here, by the replica only: these imports are what takes time.
        from transformers import pipeline

        from language import tiny

        model, tokenizer = (name, None) if name else tiny.sentiment()
        self.pipeline = pipeline("text-classification", model=model, tokenizer=tokenizer)

    async def __call__(self, request):
        try:
            text = (await request.json())["text"]
        except (ValueError, TypeError, LookupError):
            text = None
        if not isinstance(text, str):
            return JSONResponse({"error": 'send {"text": "..."}'}, 400)
        return await self.classify(text)

    @salver.batch(max_batch_size=16)
    async def classify(self, texts: list[str]) -> list[dict]:
        return await asyncio.to_thread(self.pipeline, texts, batch_size=len(texts))


def build(args: dict[str, str]) -> salver.Application:
    return Sentiment.bind(args.get("model"))
