"""`grpc_options` of a configuration file, as the door obeys them."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
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
  request_timeout_s: 1.5
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
        assert EchoStub(channel).Say(Word(text="a"), timeout=60).text == "a!"
        with pytest.raises(grpc.RpcError) as late:
            EchoStub(channel).Say(Word(text="for ever"), timeout=60)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "request_timeout_s" in late.value.details()
        with pytest.raises(grpc.RpcError) as unserved:  # its service is not among the functions
            CounterStub(channel).Count(Word(text="a"), timeout=60)
        assert unserved.value.code() is grpc.StatusCode.UNIMPLEMENTED
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest()]), timeout=60
        )
        assert asked.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.stop() == 0


SECURE = """
http_options:
  port: 0
  ssl_certfile: chain.pem
  ssl_keyfile: locked.pem
  ssl_keyfile_password: open sesame
  ssl_ca_certs: ca.pem
grpc_options:
  port: 0
  grpc_servicer_functions: [echo_pb2_grpc.add_EchoServicer_to_server]
  ssl_certfile: chain.pem
  ssl_keyfile: key.pem
  ssl_ca_certs: ca.pem
applications:
- import_path: spoken:app
"""
SPOKEN = """
import salver
from echo_pb2 import Word

@salver.deployment
class Spoken:
    async def __call__(self, request):
        return request.url.scheme

    async def Say(self, word):
        return Word(text=word.text + "!")

app = Spoken.bind()
"""


def test_both_doors_speak_tls_where_the_file_says_so(
    salver_command: Command, tmp_path: Path
) -> None:
    authority = trustme.CA()
    for file in Path(GENERATED).glob("echo_pb2*.py"):
        shutil.copy(file, tmp_path)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    plain = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    secret = BestAvailableEncryption(b"open sesame")
    locked = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
    (tmp_path / "locked.pem").write_bytes(locked)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "spoken.py").write_text(SPOKEN)
    (tmp_path / "config.yaml").write_text(SECURE)
    served = salver_command("run", "config.yaml", cwd=tmp_path)
    address = served.line(r"answers gRPC at (\S+)").group(1)
    url = served.url
    assert url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url, timeout=60)
    with pytest.raises(httpx.TransportError):
        httpx.get(url, verify=context, timeout=60)
    mine = authority.issue_cert("me@example.org")
    mine.configure_cert(context)
    assert httpx.get(url, verify=context, timeout=60).text == "https"
    proof = mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
    roots = authority.cert_pem.bytes()
    own = [("grpc.use_local_subchannel_pool", 1)]
    certified = grpc.ssl_channel_credentials(roots, *proof)
    with grpc.secure_channel(address, certified, options=own) as channel:
        assert EchoStub(channel).Say(Word(text="a"), timeout=60).text == "a!"
    nobody = grpc.ssl_channel_credentials(roots)
    with grpc.secure_channel(address, nobody, options=own) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            EchoStub(channel).Say(Word(text="a"), timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert served.stop() == 0
