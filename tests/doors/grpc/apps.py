"""What the tests of this folder deploy."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
from echo_pb2 import Number, Word

import salver
from salver.errors import gRPCStatusError
from salver.serve.config import RequestRouterConfig
from salver.serve.experimental.consistent_hash_router import ConsistentHashRouter
from salver.serve.grpc_util import gRPCInputStream
from salver.serve.request_router import PendingRequest, RequestRouter, RunningReplica
from tests.by_rank import ByRank, Ranked
from tests.real.apps import Journal


@salver.deployment
class Stops:
    """Takes the client's words until it has enough."""

    async def Gather(self, words: gRPCInputStream[Word]) -> Word:
        taken = []
        assert not words.is_cancelled()
        async for word in words:
            taken.append(word.text)
            if word.text == "enough":
                words.cancel()
        return Word(text=" ".join(taken), times=int(words.is_cancelled()))


@salver.deployment(max_ongoing_requests=100)
class Speaker:
    """All four kinds, as coroutines."""

    async def Say(self, word: Word) -> Word:
        return Word(text=word.text + "!", data=word.data)

    async def Act(self, word: Word, grpc_context: Any) -> Any:
        """Does as it is told."""
        return await getattr(self, word.text)(word, grpc_context)

    async def Repeat(self, word: Word) -> AsyncIterator[Word]:
        for number in range(word.times):
            yield Word(text=word.text, data=word.data, times=number)

    async def Gather(self, words: gRPCInputStream[Word]) -> Word:
        gathered = [word async for word in words]
        return Word(
            text=" ".join(word.text for word in gathered),
            data=b"".join(word.data for word in gathered),
            times=len(gathered) if words.is_exhausted() else -1,
        )

    async def Chat(self, words: gRPCInputStream[Word]) -> AsyncIterator[Word]:
        async for word in words:
            yield Word(text=word.text.upper())

    async def Count(self, word: Word) -> Number:
        return Number(value=len(word.text))

    # ---- what `Act` does

    async def tell(self, _word: Word, context: Any) -> Word:
        said = dict(context.invocation_metadata())
        facts = (
            context.application, context.multiplexed_model_id, context.request_id,
            context.session_id, context.traceparent, said.get("mine"), said.get("mine-bin"),
            context.peer().partition(":")[0], salver.get_multiplexed_model_id(),
        )  # fmt: skip
        return Word(text=repr(facts))

    async def trail(self, _word: Word, context: Any) -> Word:
        context.set_trailing_metadata([("a", "1"), ("b-bin", b"\0"), ("request_id", "forged")])
        return Word(text="ok")

    async def trail_what(self, word: Word, context: Any) -> Word:
        context.set_trailing_metadata([ast.literal_eval(word.data.decode())])
        return Word(text="ok")

    async def compress(self, word: Word, context: Any) -> Word:
        context.set_compression(grpc.Compression.Gzip)
        return Word(data=bytes(word.times))

    async def code_and_return(self, _word: Word, context: Any) -> Word:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("all gone")
        context.set_trailing_metadata([("where", "here")])
        return Word()

    async def code_and_raise(self, _word: Word, context: Any) -> Word:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        raise KeyError("twice")

    async def status_error(self, _word: Word, _context: Any) -> Word:
        raise gRPCStatusError(None, grpc.StatusCode.OUT_OF_RANGE, "too far")

    async def crash(self, word: Word, _context: Any) -> Word:
        raise ValueError(word.data.decode() or "no good")

    async def wrong(self, _word: Word, _context: Any) -> str:
        return "a str"

    async def exit(self, _word: Word, _context: Any) -> Word:
        raise SystemExit(3)

    async def kill(self, _word: Word, _context: Any) -> Word:
        os.kill(os.getpid(), signal.SIGKILL)
        return Word()


@salver.deployment(max_ongoing_requests=4)
class Threaded:
    """The same as `def`, in threads."""

    def Say(self, word: Word) -> Word:
        assert threading.current_thread() is not threading.main_thread()
        return Word(text=word.text + "?")

    def Act(self, word: Word) -> Word:
        raise RuntimeError(word.text)

    def Repeat(self, word: Word) -> Iterator[Word]:
        for number in range(word.times):
            yield Word(text=word.text, times=number)

    def Gather(self, words: gRPCInputStream[Word]) -> Word:
        return Word(times=len(list(words)))


@salver.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Slow:
    """Says when it begins, and how it ends; then stays until it is cancelled or told to go on."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)
        self.free = asyncio.Event()

    async def Say(self, word: Word) -> Word:
        self.note("begun", word.text)
        await self._stay(word.text)
        return word

    async def Repeat(self, word: Word) -> AsyncIterator[Word]:
        self.note("begun", word.text)
        yield word
        await self._stay(word.text)

    async def Gather(self, words: gRPCInputStream[Word]) -> Word:
        self.note("begun", "gather")
        try:
            async for word in words:
                self.note("got", word.text)
        except asyncio.CancelledError:
            self.note("cancelled", words.is_cancelled())
            raise
        self.note("ended", "gather")
        return Word()

    async def Chat(self, words: gRPCInputStream[Word]) -> AsyncIterator[Word]:
        yield Word(text="hello")
        await self._stay("chat")

    async def _stay(self, name: str) -> None:
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.note("cancelled", name)
            raise


@salver.deployment
class Counting:
    """Says at its end how many calls it has begun."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.begun = 0

    async def Say(self, word: Word) -> Word:
        self.begun += 1
        return Word(text=word.text + "!")

    def __del__(self) -> None:
        self.path.write_text(str(self.begun))


@salver.deployment
class Listener:
    """Answers each word, and notes how the conversation ends for it."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    async def Chat(self, words: gRPCInputStream[Word], grpc_context: Any) -> AsyncIterator[Word]:
        grpc_context.set_compression(grpc.Compression.Gzip)
        try:
            async for word in words:
                yield word
        except asyncio.CancelledError:
            self.note("cut", words.is_exhausted())
            raise
        self.note("whole", words.is_exhausted())
        yield Word(text="bye")


@salver.deployment
class Asking:
    """Asks another deployment for its answer."""

    def __init__(self, slow: Any) -> None:
        self.slow = slow

    async def Say(self, word: Word) -> Word:
        answer: Word = await self.slow.Say.remote(word)
        return answer


@salver.deployment
class Gated:
    """Answers, and once more when somebody has written to its gate."""

    def __init__(self, gate: str) -> None:
        self.gate = Path(gate)

    async def Repeat(self, word: Word) -> AsyncIterator[Word]:
        yield word
        yield Word(text=await asyncio.to_thread(self.gate.read_text))


@salver.deployment(max_ongoing_requests=8)
class Flood:
    """Counts what it could send, and takes what it is told to take."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    async def Repeat(self, word: Word) -> AsyncIterator[Word]:
        try:
            for number in range(word.times):
                self.note("sent", number)
                yield Word(data=bytes(1 << 20))
        finally:
            self.note("closed", "repeat")


@salver.deployment(num_replicas=2)
class ByModel:
    """Says which replica holds the model that was asked for."""

    @salver.multiplexed(max_num_models_per_replica=8)
    async def load(self, model: str) -> str:
        return salver.get_replica_context().replica_tag

    async def Say(self, word: Word) -> Word:
        return Word(text=await self.load(salver.get_multiplexed_model_id()))


class Telling(RequestRouter):
    """Prints what it knows of each call."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        if pending_request is not None:
            of = pending_request.metadata
            print(
                "chosen for:", of.call_method, of.request_id, of.multiplexed_model_id,
                of.session_id, of.is_http_request,
            )  # fmt: skip
        return [candidate_replicas]


class ByContent(ByRank):
    """A call goes to the replica whose rank its message names; one of a stream of them to 0."""

    async def wanted(self, request: PendingRequest) -> int:
        assert request.metadata.is_grpc_request
        assert request.kwargs == {}
        return sum(Word.FromString(message).times for message in request.args)


@salver.deployment(
    num_replicas=3, request_router_config=RequestRouterConfig(request_router_class=ByContent)
)
class Chosen(Ranked):
    """Says its rank."""

    async def Say(self, word: Word) -> Word:
        return Word(times=self.rank, text=word.text)

    async def Repeat(self, _word: Word) -> AsyncIterator[Word]:
        yield Word(times=self.rank)

    async def Gather(self, words: gRPCInputStream[Word]) -> Word:
        return Word(times=self.rank, text="".join([word.text async for word in words]))


@salver.deployment(
    num_replicas=2,
    request_router_config=RequestRouterConfig(request_router_class=ConsistentHashRouter),
)
class BySession:
    """Says which replica it is."""

    async def Say(self, word: Word) -> Word:
        return Word(text=salver.get_replica_context().replica_tag)


@salver.deployment(request_router_config=RequestRouterConfig(request_router_class=Telling))
class Routed:
    async def Say(self, word: Word) -> Word:
        return word
