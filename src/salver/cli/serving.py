"""What `salver run` does once the keeper is on its way: build, deploy, watch, reload, stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import click

from salver.api import session
from salver.cli.sources import Source, Work
from salver.control.client import ControlClient, ask
from salver.errors import SalverError, WireError
from salver.launch import Instance
from salver.spec.app import AppSpec
from salver.spec.status import ApplicationStatus, Event, in_one_line

__all__ = ("serve",)

T = TypeVar("T")
_OLD_SERVES: Final = "The old code keeps serving."
_NOTHING_SERVES: Final = "Nothing serves yet. The next change is tried again."
_GOOD: Final = ("RUNNING", "HEALTHY")
_BAD: Final = ("DEPLOY_FAILED", "DIED", "FAILED", "UNHEALTHY")
_COLOURS: Final = {**dict.fromkeys(_GOOD, "green"), **dict.fromkeys(_BAD, "red")}


def serve(instance: Instance, source: Source, *, reload: bool) -> int:
    """Serve until told to stop; the exit code."""
    instance.wait_bound()  # before any code of the user's: a busy port is told at once
    session.join(instance.address, instance)  # what that code runs as it is imported runs here
    work = source.load()
    return asyncio.run(_Serving(instance, source, reload=reload).run(work))


class _Serving:
    """One `salver run`, from the first deploy to the last process's end."""

    def __init__(self, instance: Instance, source: Source, *, reload: bool) -> None:
        self._instance = instance
        self._source = source
        self._reload = reload
        self._stop = asyncio.Event()
        self._forced = False
        self._served = False  # ever
        self._one_at_a_time = asyncio.Lock()
        self._waits: dict[str, asyncio.Task[bool]] = {}  # for each app that is being brought up

    async def run(self, work: Work) -> int:
        self._catch_signals()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[SalverError] = loop.create_future()
        keeper = self._instance.keeper.fileno()  # which has none any more once it has ended
        loop.add_reader(keeper, self._keeper_spoke, ended)
        serving: asyncio.Future[Any] = asyncio.create_task(self._serve(work))
        stopping: asyncio.Future[Any] = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([serving, stopping, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(keeper)
            stopping.cancel()
        if ended.done():
            serving.cancel()
            raise ended.result()
        if serving.done() and not self._stop.is_set():
            return await self._leave(serving)
        serving.cancel()
        with suppress(asyncio.CancelledError, SalverError):
            await serving
        return await self._shut_down()

    async def _leave(self, serving: asyncio.Future[int]) -> int:
        """It ended by itself: the app could not be brought up."""
        try:
            return serving.result()
        except SalverError:  # because the instance has ended, perhaps
            self._instance.check()
            raise
        finally:
            await asyncio.to_thread(self._instance.stop)

    async def _shut_down(self) -> int:
        try:
            _say("Stopping. Requests under way may finish; Ctrl-C again ends them.")
        finally:
            await asyncio.to_thread(self._instance.stop)
        if self._forced:
            return 130
        _say("Stopped.")
        return 0

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._forced = True
            self._instance.kill()
        self._stop.set()

    def _keeper_spoke(self, ended: asyncio.Future[SalverError]) -> None:
        """It reports restarts in its log; only its end concerns us."""
        trouble = self._instance.keeper.trouble()
        if trouble is not None and not ended.done():
            ended.set_result(trouble)

    # ---- the apps

    async def _serve(self, work: Work) -> int:
        """Deploy and stay; 1 when no app could be brought up and nothing may change that."""
        tasks = [asyncio.create_task(self._show_events())]
        if self._reload:  # watches from the beginning: no change may be missed
            tasks.append(asyncio.create_task(self._reload_for_ever()))
        try:
            await self._do(work)
            if not self._served and not self._reload:
                return 1
            await asyncio.gather(*tasks)
            return 0
        finally:
            for task in tasks:
                task.cancel()

    async def _do(self, work: Work) -> bool:
        """Carry it out; whether all of it worked that no later work has taken over meanwhile."""
        async with self._one_at_a_time:
            if not await self._wanted(work):
                return False
            for name in (*(app.name for app in work.deploy), *work.delete):
                if name in self._waits:
                    self._waits.pop(name).cancel()
            waits = [asyncio.create_task(self._wait(app)) for app in work.deploy]
            self._waits.update(zip((app.name for app in work.deploy), waits, strict=True))
        try:
            if waits:
                await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
            ran = [wait.result() for wait in waits if wait.done() and not wait.cancelled()]
            return all(ran)  # of all: what one of them raised is not passed over
        finally:
            for wait in waits:
                wait.cancel()

    async def _wanted(self, work: Work) -> bool:
        """Tell the controller; False: it has refused all of it, and the next change tries again."""
        try:
            await self._ask(lambda control: control.deploy(*work.deploy, without=work.delete))
        except SalverError as error:
            self._instance.check()
            click.echo(f"Error: {error}", err=True)
            for name in (*(app.name for app in work.deploy), *work.delete):
                self._source.failed(name)
            return False
        return True

    async def _wait(self, app: AppSpec) -> bool:
        seen = await self._ask(lambda control: control.wait(app.name))
        if seen.status is ApplicationStatus.RUNNING:
            self._served = True
            self._say_ready(app)
            return True
        self._source.failed(app.name)
        click.echo(f"Error: app {app.name} could not be brought up. {seen.message}", err=True)
        return False

    async def _ask(self, action: Callable[[ControlClient], Awaitable[T]]) -> T:
        try:
            return await ask(self._instance.address, self._instance.secret(), action)
        except OSError as error:  # nobody listens any more
            raise SalverError(f"The instance cannot be reached: {error.strerror}.") from error

    async def _reload_for_ever(self) -> None:
        async with asyncio.TaskGroup() as works:
            async for changed in self._source.changes():
                _say(f"Changed: {', '.join(changed)}. Running the new code.")
                try:
                    work = await self._source.again()
                except SalverError as error:
                    self._say_failed(error)
                except KeyboardInterrupt:
                    self._signalled()
                    return
                else:
                    for remark in work.remarks:
                        _say(remark)
                    if not work.deploy and not work.delete:
                        _say("No app has changed.")
                    # The next change does not wait for it: it may mend what hinders this one.
                    works.create_task(self._follow(work))

    async def _follow(self, work: Work) -> None:
        try:
            if not await self._do(work):
                self._say_failed()
        except SalverError as error:
            self._say_failed(error)

    def _say_failed(self, error: SalverError | None = None) -> None:
        if error is not None:
            click.echo(f"Error: {error}", err=True)
        click.echo(_OLD_SERVES if self._served else _NOTHING_SERVES, err=True)

    async def _show_events(self) -> None:
        """Until the instance ends; a restarted controller is asked again, for what is new."""
        latest = 0.0
        states: dict[str, str] = {}  # of apps and doors: a new controller tells them anew
        while True:
            try:
                control = await ControlClient.dial(self._instance.address, self._instance.secret())
            except OSError:  # the keeper is gone: whoever watches it sees to the rest
                await asyncio.Event().wait()
            except WireError:  # that controller died as it greeted us
                continue
            try:
                async for event in control.events():
                    if event.at > latest:
                        latest = event.at
                        if not event.state == states.get(event.subject) == "RUNNING":
                            _show(event)
                        if "#" not in event.subject:
                            states[event.subject] = event.state
            except WireError:  # and that one before it had begun to tell
                continue
            finally:
                control.close()

    def _say_ready(self, app: AppSpec) -> None:
        if self._instance.grpc_address:
            _say(f"App {app.name} answers gRPC at {self._instance.grpc_address}")
        if app.route_prefix is None or not self._instance.public_url:
            _say(f"App {app.name} runs. It has no route: call it by its handle.")
            return
        url = self._instance.public_url + app.route_prefix
        ingress = app.ingress
        _say(f"App {app.name} is ready: {url}")
        if ingress.page:
            _say(f"    open {url.rstrip('/')}{ingress.page}")
        elif ingress.answers_http or ingress.endpoints:
            _say(f"    curl {url}")
        else:
            _say(f"    {ingress.id.name} has no __call__, and so no answer to HTTP.")


def _show(event: Event) -> None:
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    state = click.style(event.state, fg=_COLOURS.get(event.state))
    _say(f"{at} {event.subject} {state} {in_one_line(event.message)}".rstrip())


def _say(text: str) -> None:
    click.echo(text)
