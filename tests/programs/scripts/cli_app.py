"""Run by `salver run cli_app:app` and `salver run cli_app:build word=...`."""

from fastapi import FastAPI

from salver import serve
from salver.serve import Application

api = FastAPI()


@serve.deployment
class Word:
    def __init__(self, word: str) -> None:
        self.word = word

    def get(self) -> str:
        return self.word


@serve.deployment
@serve.ingress(api)
class Door:
    def __init__(self, word) -> None:
        self.word = word

    @api.get("/word")
    async def get(self) -> str:
        return await self.word.get.remote()


app = Door.bind(Word.bind("bound"))


def build(args: dict[str, str]) -> Application:
    return Door.bind(Word.bind(args["word"]))
