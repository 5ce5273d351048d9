"""The blocks of README and docs do what they say.

`python file=NAME` blocks are files of one folder; `sh` blocks are run there, line by line; the
`text` block behind one is what its last line prints. `salver run` goes on until the next one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.conftest import ROOT, Command

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOTS = [ROOT / "src" / "salver", ROOT]
GUIDES = [ROOT / "docs" / "design.md", ROOT / "CONTRIBUTING.md"]
NAMED = re.compile(r"`([\w/.]+(?:/|\.(?:py|json|toml|md)))`")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader:
    """Does what a document says, in a folder of its own."""

    def __init__(self, folder: Path, salver_command: Command) -> None:
        self.folder = folder
        self.salver_command = salver_command
        self.url = self.grpc = ""
        self.printed: str | None = None  # by the last line that was run; None: there is none

    def do(self, kind: str, file: str, content: str) -> None:
        if kind == "text" and file:
            (self.folder / file).write_text(content)
        elif kind == "python":
            (self.folder / (file or "block.py")).write_text(content)
            if not file or file.startswith("test_"):
                self.printed = self.run([sys.executable, file or "block.py"])
        elif kind == "yaml" and file:
            (self.folder / file).write_text(content)
        elif kind == "sh":
            for line in content.splitlines():
                self.type(line)
        elif kind == "text" and self.printed is not None:
            printed, self.printed = self.printed, None
            assert printed.strip() == content.strip()

    def type(self, line: str) -> None:
        line = line.removeprefix("pip install . && ")
        if line.startswith("salver run"):
            words = shlex.split(line)[1:]
            where = ROOT if "--app-dir" in words else self.folder
            self.serve(*words, "--port", "0", cwd=where)
        elif line.startswith("salver"):
            self.printed = self.run([sys.executable, "-m", *shlex.split(line)])
        elif line.startswith("curl"):
            words = shlex.split(line.replace("http://127.0.0.1:8000/", self.url))
            self.printed = self.run([words[0], "--silent", "--show-error", *words[1:]])
        elif line.startswith("python call.py"):
            line = line.replace("127.0.0.1:9000", self.grpc)
            self.printed = self.run([sys.executable, *shlex.split(line)[1:]])
        elif " python " in f" {line}" and not line.startswith("pip"):
            line = re.sub(r"(?<!\S)python(?!\S)", sys.executable, line)
            line = line.replace("http://127.0.0.1:8000/", self.url)
            self.printed = self.run(["sh", "-c", line])

    def serve(self, *words: str, cwd: Path) -> None:
        self.printed = None  # it goes on
        grpc = any(word.startswith("--grpc") for word in words)
        served = self.salver_command(*words, *(("--grpc-port", "0") if grpc else ()), cwd=cwd)
        if grpc:
            self.grpc = served.line(r"answers gRPC at (\S+)").group(1)
        self.url = served.url

    def run(self, command: list[str]) -> str:
        path = f"{ROOT / 'src'}{os.pathsep}{self.folder}"
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the documents use curl")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_a_document_does_what_it_says(
    document: Path, tmp_path: Path, salver_command: Command
) -> None:
    reader = Reader(tmp_path, salver_command)
    for kind, file, content in BLOCK.findall(document.read_text()):
        reader.do(kind, file, content)


def test_the_readme_shows_the_example_that_it_names() -> None:
    shown = next(c for _, file, c in BLOCK.findall(DOCUMENTS[0].read_text()) if file == "hello.py")
    example = (ROOT / "examples" / "hello.py").read_text()
    assert shown.split("\n\n\n", 1)[1] == example.split("\n\n\n", 1)[1]


def test_every_example_is_in_the_list_of_them() -> None:
    listed = (ROOT / "docs" / "examples.md").read_text()
    examples = [*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*/[a-z]*.py")]
    named = [path.name if path.parent.name == "examples" else path.parent.name for path in examples]
    assert [name for name in named if name not in listed] == []


def test_the_way_around_the_source_leads_past_every_package() -> None:
    said = (ROOT / "CONTRIBUTING.md").read_text()
    packages = {path.parent.name for path in (ROOT / "src" / "salver").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}/`" not in said} == set()


def test_the_one_check_calls_the_readme_s_test_command() -> None:
    blocks = [content for kind, _, content in BLOCK.findall(DOCUMENTS[0].read_text())
              if kind == "sh" and "pytest" in content]  # fmt: skip
    assert blocks == ["pip install -e '.[dev]' && python -m pytest -n 2\n"]
    assert blocks[0].strip() in (ROOT / "CONTRIBUTING.md").read_text()
    found = re.search(r'^sh -c "\$\((.*)\)"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert found is not None
    said = subprocess.run(
        ["sh", "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == blocks[0]


@pytest.mark.parametrize(
    ("printed", "shown", "right"),
    [("", "hello", False), ("hello", "hello", True), ("hello", "hullo", False)],
)
def test_what_a_block_shows_is_compared_with_what_its_command_has_printed(
    tmp_path: Path, salver_command: Command, printed: str, shown: str, right: bool
) -> None:
    reader = Reader(tmp_path, salver_command)
    reader.do("sh", "", f'python -c \'print("{printed}", end="")\'\n')
    with nullcontext() if right else pytest.raises(AssertionError):
        reader.do("text", "", f"{shown}\n")
    reader.do("text", "", "which is behind no command")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.name))
def test_every_file_and_folder_that_a_guide_names_is_there(guide: Path) -> None:
    named = set(NAMED.findall(guide.read_text()))
    assert len(named) > 10
    gone = [name for name in sorted(named) if not any((at / name).exists() for at in ROOTS)]
    assert gone == []
