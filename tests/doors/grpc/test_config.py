"""`grpc_options` of a configuration file, as the door obeys them."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import pytest
from echo_pb2 import Word
from echo_pb2_grpc import CounterStub, EchoStub
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.conftest import Command
from tests.doors.grpc.conftest import GENERATED

APP = """
import asyncio
import salver
from echo_pb2 import Number, Word

@salver.deployment
class Slow:
    async def Say(self, word):
        if word.text == "for ever":
            await asyncio.Event().wait()
        return Word(text=word.text + "!")

    async def Count(self, word):
        return Number(value=len(word.text))

app = Slow.bind()
"""
CONFIG = """
http_options: {port: 0}
grpc_options:
  port: 0
  grpc_servicer_functions:
  - echo_pb2_grpc.add_EchoServicer_to_server
  request_timeout_s: 0.2
  enable_reflection: false
applications:
- import_path: slow:app
"""


def test_the_file_s_options_reach_the_door(salver_command: Command, tmp_path: Path) -> None:
    for file in Path(GENERATED).glob("echo_pb2*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "slow.py").write_text(APP)
    (tmp_path / "config.yaml").write_text(CONFIG)
    served = salver_command("run", "config.yaml", cwd=tmp_path)
    address = served.line(r"answers gRPC at (\S+)").group(1)
    assert not address.endswith((":0", ":9000"))
    with grpc.insecure_channel(address) as channel:
        assert EchoStub(channel).Say(Word(text="a"), timeout=20).text == "a!"
        with pytest.raises(grpc.RpcError) as late:
            EchoStub(channel).Say(Word(text="for ever"), timeout=20)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "request_timeout_s" in late.value.details()
        with pytest.raises(grpc.RpcError) as unserved:  # its service is not among the functions
            CounterStub(channel).Count(Word(text="a"), timeout=20)
        assert unserved.value.code() is grpc.StatusCode.UNIMPLEMENTED
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest()]), timeout=20
        )
        assert asked.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.stop() == 0
