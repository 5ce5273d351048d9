"""Every example, as a user meets it: the command line and real HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import ROOT, Command

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.timeout(300)  # torch and transformers are long imports on a busy machine
Client = Callable[..., httpx.Client]


@pytest.fixture
def client(salver_command: Command) -> Iterator[Client]:
    """A client of an example; at the end, the example stops cleanly."""
    opened = []

    def begin(example: str, *args: str) -> httpx.Client:
        target = example if ":" in example else f"{example}:app"
        served = salver_command("run", target, *args, "--port", "0")
        opened.append((served, httpx.Client(base_url=served.url, timeout=60)))
        return opened[-1][1]

    yield begin
    for served, http in opened:
        http.close()
        assert served.stop() == 0, served.errors()


def test_every_example_has_a_test() -> None:
    """Each file that says how to run it, in folders too: `digits/serve.py`: test_digits_serve."""
    files = [path for path in EXAMPLES.rglob("*.py") if "`salver run" in path.read_text()]
    names = ["_".join(path.relative_to(EXAMPLES).with_suffix("").parts) for path in files]
    assert len(names) > 10
    assert [name for name in names if f"test_{name}" not in globals()] == []


def test_hello(client: Client) -> None:
    http = client("hello")
    assert http.get("/").text == "Hello, world!"
    assert http.get("/", params={"name": "you"}).text == "Hello, you!"


def test_task_queue(client: Client, tmp_path: Path) -> None:
    http = client("task_queue:build", f"folder={tmp_path}")
    begun = http.post("/count", json={"text": "one two two"})
    assert begun.status_code == 202
    while (state := http.get(f"/count/{begun.json()['id']}").json())["status"] == "PENDING":
        pass
    assert state == {"status": "SUCCESS", "result": {"one": 1, "two": 2}}


def test_client(client: Client) -> None:
    url = str(client("endpoint").base_url)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "client.py"), url],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    first, second, *items = done.stdout.splitlines()
    assert first.startswith("[[0.6")
    assert "expected FP32 (numpy.float32), got an array of int64" in second
    assert items == ["in 2", "in 1"]


def test_function(client: Client) -> None:
    http = client("function")
    assert http.post("/", json={"celsius": 20}).json() == {"fahrenheit": 68}
    assert http.post("/", json={"kelvin": 20}).status_code == 400


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


def test_gradio_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    http = client("gradio_page")
    assert http.get("/").headers["content-type"].startswith("text/html")
    asked = http.post("/gradio_api/call/count", json={"data": ["to be or not"]}).json()
    answer = http.get(f"/gradio_api/call/count/{asked['event_id']}").text
    assert answer == "event: complete\ndata: [4]\n\n"


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
    assert http.post("/", data={"image": "a word"}).status_code == 400
    halved = buffer.getvalue()[: buffer.tell() // 2]
    for name, content in (("a.txt", b"text"), ("half.jpg", halved)):
        assert http.post("/", files={"image": (name, content)}).status_code == 415
    printed = io.BytesIO()
    Image.new("CMYK", (80, 40)).save(printed, "JPEG")
    assert http.post("/", files={"image": ("print.jpg", printed.getvalue())}).status_code == 200


def test_recommender(client: Client) -> None:
    http = client("recommender")
    best = http.get("/", params={"user": 0}).json()
    assert best[0]["film"] == "Stalker"
    assert [each["score"] for each in best] == sorted((e["score"] for e in best), reverse=True)
    for wrong in ("9", "-1", "me"):
        assert http.get("/", params={"user": wrong}).json() == {"error": "user is 0 to 4"}


def test_detector(client: Client) -> None:
    http = client("detector:build")
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), "red").save(buffer, "PNG")
    upload = {"image": ("street.png", buffer.getvalue(), "image/png")}
    found = http.post("/detect", files=upload, params={"threshold": 0}).json()
    assert len(found) == 20, "one for each query of the network"
    assert {each["label"] for each in found} <= {"cat", "dog", "car"}
    assert all(each["box"]["left"] < each["box"]["right"] for each in found)
    assert http.post("/detect", files=upload, params={"threshold": 1}).json() == []
    assert http.post("/detect", files={"image": ("a.txt", b"text")}).status_code == 415
    assert http.post("/detect").status_code == 422


# ---- digits, step by step


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `digits/train.py` has learnt."""
    path = tmp_path_factory.mktemp("digits") / "digits.pt"
    command = [sys.executable, "-m", "digits.train", str(path)]
    trained = subprocess.run(command, cwd=EXAMPLES, check=True, capture_output=True, text=True)
    assert float(trained.stdout.split()[-1].rstrip("%")) > 90, trained.stdout
    return f"weights={path}"


@pytest.fixture(scope="module")
def pictures() -> list[dict[str, Any]]:
    """Handwritten digits as the services take them, 0 to 9 in order, twice."""
    from sklearn.datasets import load_digits

    return [{"pixels": image.tolist()} for image in load_digits().images[:20]]


def right(digits: list[int]) -> int:
    """How many of the pictures were read right. The network is good, and not perfect."""
    return sum(digit == place % 10 for place, digit in enumerate(digits))


def read_all(http: httpx.Client, pictures: list[dict[str, Any]]) -> list[Any]:
    """What the service answers to all of them at once."""
    with ThreadPoolExecutor(len(pictures)) as clients:
        return [
            a.json() for a in clients.map(lambda picture: http.post("/", json=picture), pictures)
        ]


def test_digits_serve(client: Client, weights: str, pictures: list[dict[str, Any]]) -> None:
    http = client("digits.serve:build", weights)
    assert right([http.post("/", json=picture).json()["digit"] for picture in pictures]) > 16


def test_digits_replicas(client: Client, weights: str, pictures: list[dict[str, Any]]) -> None:
    http = client("digits.replicas:build", weights)
    answers = read_all(http, pictures)
    assert right([answer["digit"] for answer in answers]) > 16
    while len({answer["process"] for answer in answers}) < 2:
        answers += read_all(http, pictures)
    assert {(answer["device"], answer["threads"]) for answer in answers} == {("cpu", 1)}


async def test_digits_autoscaling(
    client: Client, weights: str, pictures: list[dict[str, Any]]
) -> None:
    """A hundred clients ask at the same moment, again and again, until a second replica answers."""
    http = client("digits.autoscaling:build", weights)
    body = json.dumps(pictures[0]).encode()
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    host, port = http.base_url.host, http.base_url.port
    crowd = [await asyncio.open_connection(host, port) for _ in range(100)]
    processes: set[int] = set()
    while len(processes) < 2:
        for _, writer in crowd:
            writer.write(request)
        answers = await asyncio.gather(*(_answer(reader) for reader, _ in crowd))
        processes.update(answer["process"] for answer in answers)
    for _, writer in crowd:
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> Any:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length is not None
    return json.loads(await reader.readexactly(int(length[1])))


def test_digits_batching(client: Client, weights: str, pictures: list[dict[str, Any]]) -> None:
    http = client("digits.batching:build", weights)
    assert http.post("/", json=pictures[3]).json() == {"digit": 3, "together": 1}
    answers = read_all(http, pictures)
    assert right([answer["digit"] for answer in answers]) > 16
    while max(answer["together"] for answer in answers) == 1:  # on a machine too busy to meet
        answers = read_all(http, pictures)


def test_digits_pipeline(client: Client, weights: str, pictures: list[dict[str, Any]]) -> None:
    http = client("digits.pipeline:build", weights)
    for digit in range(4):
        pixels = bytes(int(p * 255 / 16) for row in pictures[digit]["pixels"] for p in row)
        image = Image.frombytes("L", (8, 8), pixels).resize((64, 64), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert http.post("/", content=buffer.getvalue()).json() == {"digit": digit}


def test_digits_validated(client: Client, weights: str, pictures: list[dict[str, Any]]) -> None:
    http = client("digits.validated:build", weights)
    assert http.post("/read", json=pictures[7]).json() == {"digit": 7}
    short = {"pixels": pictures[7]["pixels"][:7]}
    loud = {"pixels": [[17] * 8] * 8}
    for wrong, place in ((short, ["body", "pixels"]), (loud, ["body", "pixels", 0, 0]), ({}, [])):
        refused = http.post("/read", json=wrong)
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"][: len(place)] == place
    assert "Digits" in http.get("/docs").text


# ---- language


def test_language_sentiment(client: Client) -> None:
    http = client("language.sentiment:build")
    texts = ["What a great day!", "i hate this", "Really good work."]
    with ThreadPoolExecutor(3) as clients:
        labels = [
            answer.json()["label"]
            for answer in clients.map(lambda text: http.post("/", json={"text": text}), texts)
        ]
    assert labels == ["POSITIVE", "NEGATIVE", "POSITIVE"]
    for wrong in (b'{"words": 1}', b'["a list"]', b"no JSON", b"\xff"):
        refused = http.post("/", content=wrong)
        assert refused.status_code == 400
        assert refused.json() == {"error": 'send {"text": "..."}'}


def test_language_sentiment_takes_a_model_by_its_path(client: Client, tmp_path: Path) -> None:
    save = "import sys; from language import tiny; model, tokenizer = tiny.sentiment(); "
    save += "model.save_pretrained(sys.argv[1]); tokenizer.save_pretrained(sys.argv[1])"
    subprocess.run([sys.executable, "-c", save, str(tmp_path)], cwd=EXAMPLES, check=True)
    http = client("language.sentiment:build", f"model={tmp_path}")
    assert http.post("/", json={"text": "What a bad day!"}).json()["label"] == "NEGATIVE"


def test_language_chat(client: Client) -> None:
    http = client("language.chat:build")
    messages = [{"role": "user", "content": "Who are you?"}]
    with http.stream("POST", "/", json={"messages": messages}) as answer:
        words = list(answer.iter_text())
    assert "".join(words).strip() == "i am a very small language model"
    assert len(words) > 1, "the words came all at once"
    one = {"role": "user", "content": "hello"}
    wrong: tuple[Any, ...] = (
        "hello",
        [],
        {},
        None,
        one,
        [one, "hello"],
        [{"role": "user"}],
        [{**one, "content": 1}],
    )
    bodies = [json.dumps({"messages": messages}).encode() for messages in wrong]
    for body in (*bodies, b"{}", b"[1]", b"no JSON", b"\xff"):
        refused = http.post("/", content=body)
        assert refused.status_code == 400, body
        assert '{"messages": [{"role": ' in refused.json()["error"]


def test_grpc_service(salver_command: Command, tmp_path: Path) -> None:
    source = ROOT / "examples" / "grpc_service"
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    generate = "grpc_tools.protoc -I. --python_out=. --grpc_python_out=. fruit.proto"
    subprocess.run([sys.executable, "-m", *generate.split()], cwd=tmp_path, check=True)
    served = salver_command(
        "run", "shop:app", "--port", "0", "--grpc-port", "0",
        "--grpc-servicer-functions", "fruit_pb2_grpc.add_FruitShopServicer_to_server",
        cwd=tmp_path,
    )  # fmt: skip
    address = served.line(r"answers gRPC at (\S+)").group(1)
    command = [sys.executable, "client.py", address]
    asked = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert asked.stdout.splitlines() == [
        "one basket: 2.5 2 fruits",
        "   4 apple 2.0",
        "   2 kiwi 0.5",
        "three baskets: 7.5",
        "each: [2.5, 0.0]",
        "NOT_FOUND There are no pears today.",
    ]
    assert served.stop() == 0, served.errors()


def test_endpoint(client: Client) -> None:
    http = client("endpoint")
    assert http.post("/", json={"vectors": [[3, 4]]}).json() == [[0.6, 0.8]]
    rows = http.post("/v1/models/Vectors:predict", json={"instances": [[3, 4]]})
    assert rows.json() == {"predictions": [[0.6, 0.8]]}
    body = {
        "inputs": [{"name": "vectors", "shape": [1, 2], "datatype": "FP32", "data": [3, 4]}],
        "parameters": {"order": 1},
    }
    answer = http.post("/v2/models/Vectors/infer", json=body).json()
    assert answer["outputs"][0]["shape"] == [1, 2]
    events = http.post("/v2/models/countdown/generate_stream", json={"text_input": "t"}).text
    assert events.count("data: ") == 3


def test_iris(client: Client) -> None:
    http = client("iris")
    flowers = {"name": "flowers", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    wanted = [{"name": "scores", "parameters": {"classification": 1}}]
    answer = http.post(
        "/v2/models/iris/versions/1/infer", json={"inputs": [flowers], "outputs": wanted}
    )
    assert answer.json()["outputs"][0]["data"][0].endswith(":0:setosa")
