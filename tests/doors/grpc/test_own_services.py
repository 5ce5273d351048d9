"""What the door answers by itself: health, reflection, and what Ray Serve's users ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from salver.doors.grpc.health import Health
from salver.serve.generated import serve_pb2
from salver.serve.generated.serve_pb2_grpc import RayServeAPIServiceStub
from salver.spec.grpc import gRPCOptions
from tests.doors.grpc.conftest import SERVICES
from tests.real.rig import Running

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LIMIT_S = 60


async def check(channel: grpc.aio.Channel, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(request, wait_for_ready=True, timeout=LIMIT_S)
    return int(answer.status)


async def test_the_door_and_each_service_serve(channel: grpc.aio.Channel) -> None:
    assert [await check(channel, name) for name in ("", "echo.Echo", "echo.Counter")] == [
        SERVING
    ] * 3


@pytest.mark.skipif(not hasattr(health_pb2, "HealthListResponse"), reason="this grpc has no List")
async def test_the_health_of_everything_at_once(channel: grpc.aio.Channel) -> None:
    found = await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
    assert found.statuses[""].status == SERVING
    assert found.statuses["echo.Echo"].status == SERVING


def test_what_later_versions_of_the_health_service_add_does_no_harm() -> None:
    assert issubclass(Health, health_pb2_grpc.HealthServicer)


async def test_the_health_of_an_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(channel, "echo.Nothing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_shows_services_and_messages(address: str) -> None:
    """A client without generated code finds out all that it needs."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == [
            "echo.Counter", "echo.Echo", "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection", "inference.GRPCInferenceService",
            "inference.model_repository.ModelRepositoryService", "ray.serve.RayServeAPIService",
        ]  # fmt: skip
        pool = DescriptorPool(database)
        echo = pool.FindServiceByName("echo.Echo")
        assert {method.name for method in echo.methods} >= {"Say", "Chat"}
        assert pool.FindMessageTypeByName("echo.Word").fields_by_name["times"].number == 3
        listing = pool.FindServiceByName("ray.serve.RayServeAPIService")
        assert [method.name for method in listing.methods] == ["ListApplications", "Healthz"]
        with pytest.raises(KeyError):
            pool.FindMessageTypeByName("echo.Nothing")


async def ask(channel: grpc.aio.Channel, method: str) -> Any:
    call = getattr(RayServeAPIServiceStub(channel), method)
    request = getattr(serve_pb2, f"{method}Request")()
    return await call(request, wait_for_ready=True, timeout=LIMIT_S)


async def test_apps_are_listed_and_the_door_is_well(channel: grpc.aio.Channel) -> None:
    answer = await ask(channel, "ListApplications")
    assert list(answer.application_names) == ["speaker", "threaded"]
    assert (await ask(channel, "Healthz")).message == "success"


@pytest.fixture
def fresh() -> Iterator[Running]:
    """An instance without apps, and without reflection."""
    options = gRPCOptions(port=0, grpc_servicer_functions=SERVICES, enable_reflection=False)
    with Running.start(grpc=options) as running:
        yield running


async def test_health_is_watched_from_the_first_app_to_the_end(fresh: Running, apps: Any) -> None:
    async with grpc.aio.insecure_channel(fresh.instance.grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [
            stub.Watch(health_pb2.HealthCheckRequest(service=of), wait_for_ready=True)
            for of in ("", "echo.Echo")
        ]
        for watch in watches:
            assert (await watch.read()).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, "Healthz")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await fresh.deploy(apps.Speaker.bind(), "one", None)
        for watch in watches:
            assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(asyncio.to_thread(fresh.instance.stop))
        for watch in watches:
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
        await stopping


async def test_reflection_may_be_switched_off(fresh: Running) -> None:
    async with grpc.aio.insecure_channel(fresh.instance.grpc_address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest()]))
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_keeps_asking_about_services_does_not_hold_up_the_end(
    apps: Any,
) -> None:
    with Running.start(grpc=gRPCOptions(port=0, grpc_servicer_functions=SERVICES)) as running:
        async with grpc.aio.insecure_channel(running.instance.grpc_address) as channel:
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert (await call.read()).HasField("list_services_response")
            await asyncio.to_thread(running.instance.stop)
            assert await call.read() is grpc.aio.EOF
