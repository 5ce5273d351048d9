"""Answers that arrive word by word: `salver run language.chat:build` (needs transformers).

curl -N -d '{"messages": [{"role": "user", "content": "who are you?"}]}' http://127.0.0.1:8000/

Any chat model by name or path: `salver run language.chat:build model=NAME`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Thread

from starlette.responses import JSONResponse, StreamingResponse

import salver


@salver.deployment(max_ongoing_requests=4, ray_actor_options={"num_cpus": 1})
class Chat:
    def __init__(self, name: str | None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from language import tiny

        if name:
            self.model = AutoModelForCausalLM.from_pretrained(name)
            self.tokenizer = AutoTokenizer.from_pretrained(name)
        else:
            self.model, self.tokenizer = tiny.chat()

    async def __call__(self, request):
        messages = messages_of(await request.body())
        if messages is None:
            said = 'send {"messages": [{"role": "user", "content": "..."}]}'
            return JSONResponse({"error": said}, 400)
        return StreamingResponse(self.answer(messages), media_type="text/plain")

    def answer(self, messages: list[dict]) -> Iterator[str]:
        """The model writes in a thread of its own; its words are passed on as they come."""
        from transformers import TextIteratorStreamer

        words = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        Thread(target=self.write, args=(messages, words), daemon=True).start()
        yield from words

    def write(self, messages: list[dict], words) -> None:
        try:
            prompt = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            prompt.pop("token_type_ids", None)
            self.model.generate(**prompt, streamer=words, max_new_tokens=64, do_sample=False)
        finally:
            words.end()  # also when it has failed: nobody is left waiting


def messages_of(body: bytes) -> list[dict] | None:
    """The talk so far; None for a body that is none."""
    try:
        messages = json.loads(body)["messages"]
        spoken = all(isinstance(m["role"], str) and isinstance(m["content"], str) for m in messages)
    except (ValueError, TypeError, LookupError):
        return None
    return messages if spoken and messages and isinstance(messages, list) else None


def build(args: dict[str, str]) -> salver.Application:
    return Chat.bind(args.get("model"))
