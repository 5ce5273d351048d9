"""The inference protocols at the door: which route their paths take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from salver.doors.answers import Answers
from salver.doors.inference import InferenceServer
from salver.doors.local import Local
from salver.doors.routes import Route
from salver.oip.errors import ModelNotFoundError
from salver.spec.ids import DeploymentId
from salver.spec.status import ModelView

if TYPE_CHECKING:
    import asyncio

    from salver.calls.router import Router

__all__ = ("OpenInference", "ProtocolRoute")

_SERVER: Final = DeploymentId("", "")
_OURS: Final = re.compile(r"/v2(?:/.*)?|/v1/models(?:/.*)?", re.DOTALL)
_V2: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(.*))?", re.DOTALL)
_V1: Final = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:(.*)", re.DOTALL)
# What the model itself is needed for, or what its code says. All else is known here.
_BY_REPLICA: Final = frozenset(
    ("", "infer", "infer_stream", "generate", "generate_stream", "predict", "explain",
     "config", "docs", "docs/dataplane.json")
)  # fmt: skip


class ProtocolRoute(Route):
    """A route whose failures are told in the protocols' own form."""

    __slots__ = ()
    json_errors = True


class OpenInference:
    """Knows the models; says which route a path of the protocols takes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inference: InferenceServer,
        router_of: Callable[[DeploymentId], Router],
    ) -> None:
        self._inference = inference
        self._router_of = router_of
        local = cast("Any", Local(loop, Answers(inference).answer))
        self._here = ProtocolRoute("", "", _SERVER, local)

    def apply(self, views: Iterable[ModelView]) -> bool:
        """From now on these are the models; whether there are any."""
        self._inference.apply(views, self._router_of)
        return bool(self._inference.models)

    def match(self, path: str) -> Route | None:
        """The route of a path; None: it is no path of the protocols."""
        path = path.rstrip("/")
        if _OURS.fullmatch(path) is None:
            return None
        found = _V2.fullmatch(path) or _V1.fullmatch(path)
        if found is None or (found[3] or "") not in _BY_REPLICA:
            return self._here
        try:
            model = self._inference.models.find(found[1], found[2] or "")
        except ModelNotFoundError:
            return self._here
        if model.view.withheld:
            return self._here
        deployment = model.view.deployment
        return ProtocolRoute("", deployment.app, deployment, model.router)
