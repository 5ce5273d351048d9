"""A door that others see under a path."""

from __future__ import annotations

import pytest

from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from tests.doors.door_fakes import OK, Scene


@pytest.fixture
def scene() -> Scene:
    scene = Scene(HttpSettings(root_path="/api/v1"))
    scene.door.apply([RouteView("/app", "app", DeploymentId("dep", "app"))])
    scene.router.answer = OK
    return scene


def get(path: str, body: str = "") -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n{length}\r\n{body}".encode()


@pytest.mark.parametrize("path", ["/app", "/app/x?y=1", "/app/%20"])
@pytest.mark.parametrize("body", ["", "body"])
def test_with_the_path_or_without_the_app_sees_the_whole(
    scene: Scene, path: str, body: str
) -> None:
    client = scene.client()
    for _ in range(2):
        client.send(get(path, body) + get("/api/v1" + path, body))
    assert scene.router.requests == [get("/api/v1" + path, body)] * 4
    assert client.out == OK * 4


@pytest.mark.parametrize("path", ["/api/v1x/app", "/api/app", "/api/v1/other", "/api/v1"])
def test_what_only_looks_like_it_is_not_found(scene: Scene, path: str) -> None:
    client = scene.client()
    client.send(get(path))
    assert client.status == 404
    assert scene.router.requests == []


@pytest.mark.parametrize("root", ["", "/api/v1"])
def test_the_door_s_own_pages_are_at_both(scene: Scene, root: str) -> None:
    client = scene.client()
    client.send(get(root + "/-/healthz"))
    assert client.out.endswith(b"\r\n\r\nsuccess")


def test_a_head_that_is_too_long_with_it_is_refused(scene: Scene) -> None:
    client = scene.client()
    client.send(get("/app/" + "x" * (65408 - len(get("/app/")))))
    assert client.status == 431
