"""Every example, as a user meets it: the command line and real HTTP."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image

from tests.conftest import ROOT, Command

Client = Callable[[str], httpx.Client]


@pytest.fixture
def client(salver_command: Command) -> Iterator[Client]:
    """A client of an example; at the end, the example stops cleanly."""
    opened = []

    def begin(example: str) -> httpx.Client:
        served = salver_command("run", f"{example}:app", "--port", "0")
        opened.append((served, httpx.Client(base_url=served.url)))
        return opened[-1][1]

    yield begin
    for served, http in opened:
        http.close()
        assert served.stop() == 0, served.errors()


def test_every_example_has_a_test() -> None:
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert examples == {name.removeprefix("test_") for name in globals() if name[5:] in examples}


def test_hello(client: Client) -> None:
    http = client("hello")
    assert http.get("/").text == "Hello, world!"
    assert http.get("/", params={"name": "you"}).text == "Hello, you!"


def test_function(client: Client) -> None:
    assert client("function").post("/", json={"celsius": 20}).json() == {"fahrenheit": 68}


def test_composition(client: Client) -> None:
    answer = client("composition").get("/", params={"number": 1})
    assert answer.json() == {"sums": [2, 11], "product": 22}


def test_fastapi_app(client: Client) -> None:
    http = client("fastapi_app")
    assert http.post("/notes", json={"text": "hi"}).json() == {"number": 1}
    assert http.get("/notes/1").json() == {"text": "hi", "stars": 0}
    assert http.get("/notes/2").status_code == 404
    assert http.post("/notes", json={"stars": "many"}).status_code == 422
    assert "Notes" in http.get("/docs").text
    assert "/notes/{number}" in http.get("/openapi.json").json()["paths"]


def test_streaming(client: Client) -> None:
    with client("streaming").stream("GET", "/") as answer:
        words = list(answer.iter_text())
    assert "".join(words).split()[:3] == ["words", "arrive", "one"]
    assert len(words) > 1, "the words came all at once"


def test_image_upload(client: Client) -> None:
    http = client("image_upload")
    buffer = io.BytesIO()
    Image.new("RGB", (800, 400), "red").save(buffer, "JPEG")
    answer = http.post("/", files={"image": ("photo.jpg", buffer.getvalue(), "image/jpeg")})
    with Image.open(io.BytesIO(answer.content)) as thumbnail:
        assert thumbnail.size == (128, 64)
    assert http.post("/", files={"other": b""}).status_code == 400
