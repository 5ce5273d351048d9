"""Features, two rankers at the same time, one list: `salver run recommender:app`.

curl 'http://127.0.0.1:8000/?user=2'
"""

from __future__ import annotations

import asyncio

import numpy as np
from starlette.responses import JSONResponse

import salver

FILMS = ["Metropolis", "Nosferatu", "Playtime", "Ran", "Sherlock Jr.", "Solaris", "Stalker", "Kes"]
RATINGS = np.array([  # a row for each user, 0: not seen
    [5, 4, 0, 0, 0, 5, 0, 0],
    [4, 5, 0, 0, 0, 4, 5, 0],
    [0, 0, 5, 0, 4, 0, 0, 5],
    [0, 0, 4, 3, 5, 0, 0, 0],
    [0, 3, 0, 5, 0, 0, 4, 4],
])  # fmt: skip


@salver.deployment
class Features:
    async def of(self, user: int) -> dict:
        return {"tastes": RATINGS[user], "unseen": np.flatnonzero(RATINGS[user] == 0)}


@salver.deployment
class ByTaste:
    """What people with the same taste like."""

    async def rank(self, features: dict) -> np.ndarray:
        tastes = features["tastes"]
        alike = RATINGS @ tastes / np.linalg.norm(RATINGS, axis=1) / np.linalg.norm(tastes)
        return alike @ RATINGS / alike.sum()


@salver.deployment
class ByFame:
    """What everybody likes who has seen it."""

    async def rank(self, features: dict) -> np.ndarray:
        return RATINGS.sum(0) / (RATINGS > 0).sum(0)


@salver.deployment
class Recommender:
    def __init__(self, features, rankers) -> None:
        self.features = features
        self.rankers = rankers

    async def __call__(self, request):
        text = request.query_params.get("user", "0")
        if not (text.isdecimal() and int(text) < len(RATINGS)):
            return JSONResponse({"error": f"user is 0 to {len(RATINGS) - 1}"}, 400)
        user = int(text)
        features = await self.features.of.remote(user)
        scores = sum(await asyncio.gather(*(each.rank.remote(features) for each in self.rankers)))
        best = sorted(features["unseen"], key=lambda film: -scores[film])
        return [{"film": FILMS[film], "score": round(float(scores[film]), 2)} for film in best[:3]]


app = Recommender.bind(Features.bind(), [ByTaste.bind(), ByFame.bind()])
