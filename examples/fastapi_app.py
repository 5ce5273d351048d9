"""A FastAPI app whose routes are methods of a deployment: `salver run fastapi_app:app`.

Its documentation is at http://127.0.0.1:8000/docs.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import salver

api = FastAPI(title="Notes")


class Note(BaseModel):
    text: str
    stars: int = 0


@salver.deployment
@salver.ingress(api)
class Notes:
    def __init__(self) -> None:
        self.notes: dict[int, Note] = {}

    @api.post("/notes", status_code=201)
    async def add(self, note: Note) -> dict[str, int]:
        number = len(self.notes) + 1
        self.notes[number] = note
        return {"number": number}

    @api.get("/notes/{number}")
    async def read(self, number: int) -> Note:
        if number not in self.notes:
            raise HTTPException(404, f"no note {number}")
        return self.notes[number]


app = Notes.bind()
