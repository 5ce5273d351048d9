"""Loaded by `loaded.py`."""

import dataclasses

from salver import serve


@dataclasses.dataclass
class Question:
    about: str


def found() -> int:
    return 42


@serve.deployment
class Answering:
    def __init__(self, question: Question) -> None:
        self.question = question

    def answer(self) -> str:
        return f"{self.question.about}: {found()}"
