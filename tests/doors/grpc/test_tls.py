"""A door that speaks TLS: who is served, and who is turned away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from echo_pb2 import Word
from echo_pb2_grpc import EchoStub

from salver.errors import SalverError
from salver.launch import Capacity, Instance
from salver.spec.grpc import grpc_options, gRPCOptions
from salver.spec.http import HttpSettings
from tests.doors.grpc.conftest import SERVICES
from tests.real.rig import Running

LIMIT_S = 60


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    """The door's certificate and key, as options."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return {
        "ssl_certfile": str(tmp_path / "cert.pem"),
        "ssl_keyfile": str(tmp_path / "key.pem"),
    }


def options(**given: Any) -> gRPCOptions:
    return gRPCOptions(port=0, grpc_servicer_functions=SERVICES, **given)


async def say(running: Running, credentials: Any) -> grpc.StatusCode:
    """How a call of a client of its own connection goes."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    address = running.instance.grpc_address
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=own)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=own)
    async with channel:
        code: grpc.StatusCode = await EchoStub(channel).Say(Word(), timeout=LIMIT_S).code()
        return code


async def test_who_believes_the_authority_is_served_and_others_are_not(
    authority: trustme.CA, files: dict[str, Any], apps: Any
) -> None:
    trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with Running.start(grpc=options(**files)) as running:
        await running.deploy(apps.Speaker.bind(), "one", None)
        assert await say(running, trusting) is grpc.StatusCode.OK
        strangers = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        assert await say(running, strangers) is grpc.StatusCode.UNAVAILABLE
        assert await say(running, None) is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.secure_channel(running.instance.grpc_address, trusting) as channel:
            data = bytes(3 << 20)
            answer = await EchoStub(channel).Say(Word(data=data), timeout=LIMIT_S)
            assert answer.data == data
            call = EchoStub(channel).Repeat(Word(times=1000), timeout=LIMIT_S)
            assert [word.times async for word in call] == list(range(1000))


async def test_clients_must_be_certified_where_authorities_are_named(
    authority: trustme.CA, files: dict[str, Any], apps: Any, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    given = options(**files, ssl_ca_certs=str(tmp_path / "ca.pem"))
    with Running.start(grpc=given) as running:
        await running.deploy(apps.Speaker.bind(), "one", None)
        roots = authority.cert_pem.bytes()
        nobody = grpc.ssl_channel_credentials(roots)
        assert await say(running, nobody) is grpc.StatusCode.UNAVAILABLE
        mine = authority.issue_cert("me@example.org")
        proof = mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
        certified = grpc.ssl_channel_credentials(roots, *proof)
        assert await say(running, certified) is grpc.StatusCode.OK


def start(**given: Any) -> None:
    Instance.start(HttpSettings(port=0), Capacity(), grpc=options(**given)).wait_bound().kill()


def test_files_that_cannot_be_used_are_named(files: dict[str, Any], tmp_path: Path) -> None:
    for wrong in (str(tmp_path / "none.pem"), files["ssl_certfile"]):
        with pytest.raises(SalverError, match=r"^ssl_certfile='.*' with ssl_keyfile='.*' cannot"):
            start(ssl_certfile=files["ssl_certfile"], ssl_keyfile=wrong)
    with pytest.raises(SalverError, match=r"^ssl_ca_certs='nowhere.pem' cannot be used: No such"):
        start(**files, ssl_ca_certs="nowhere.pem")


def test_half_of_what_tls_needs_is_refused(files: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ssl_certfile is given and ssl_keyfile is not"):
        grpc_options({"ssl_certfile": files["ssl_certfile"]})
    with pytest.raises(ValueError, match="ssl_ca_certs means nothing without"):
        grpc_options({"ssl_ca_certs": "ca.pem"})
