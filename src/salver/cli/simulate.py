"""`salver simulate`: how a deployment would scale under some load, without waiting for it."""

from __future__ import annotations

import json
import sys
import time
from asyncio import Runner
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import msgspec

from salver.build import build
from salver.cli.apps import ConfigApps, read_file
from salver.cli.like import like_option
from salver.cli.numbers import Number, Whole
from salver.cli.outcome import table
from salver.cli.run import look_first_in
from salver.cli.target import load
from salver.cli.traffic import (
    LONGEST_S,
    MOST,
    SHAPES,
    TrafficError,
    arrivals,
    form_of,
    read_service,
    read_trace,
    shape,
    volume,
)
from salver.control.policies import Policy, Wish, read_wish, read_wishes, said
from salver.core.autoscale import default_autoscaling_policy
from salver.core.simulation import PolicyFunction, Scenario
from salver.core.simulation import simulate as play
from salver.errors import SalverError, TargetError
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingContext, read_autoscaling
from salver.spec.mistakes import unknown
from salver.spec.options import DeploymentOptions

__all__ = ("simulate",)

FILES: Final = (".yaml", ".yml", ".json", ".toml")
CHART: Final = "salver.cli.chart"

HELP = """Play through how a deployment scales under some load: minutes of traffic in a moment.

The decisions are made by the very code that makes them in `salver run`; requests, replicas and time
are invented. What is printed, and plotted with --plot, is what your users would have waited.

\b
WHICH OPTIONS: those of a deployment, of an autoscaling_config, or both (the latter win):
    salver simulate hello:app                   its deployment that autoscales (--deployment X)
    salver simulate config.yaml                 the same, of a file
    salver simulate max_replicas=20 upscale_delay_s=0
    salver simulate hello:app downscale_delay_s=60
    salver simulate --config '{"max_replicas": 20}'             (or a file with JSON in it)

\b
WHICH LOAD, in requests per second; without one: --step 2,50
    --rate 20              the same all the time
    --step 2,50,60         2 per second, and 50 from second 60 on
    --ramp 0,100           from 0 to 100, little by little
    --spike 5,200,30       5, with one peak of 200 for 30 seconds
    --sine 5,50,120        between 5 and 50, a wave every 120 seconds
    --trace day.csv        CSV or JSONL with `time` and `rate`, or the `time` of each request
    --poisson              with any of them: at random, as people come, not evenly spaced

\b
WHAT REQUESTS AND REPLICAS ARE LIKE
    --service 0.1          each takes 0.1 s; or exp:0.1, uniform:0.05,0.2, lognormal:0.1,0.5
    --startup 5            a new replica needs 5 s until it serves
    --work-at-once 1       a replica works on 1 of its max_ongoing_requests, the others wait in it

\b
Try:
    salver simulate max_replicas=20 --step 5,100 --service 0.1 --plot slow.png
    salver simulate max_replicas=20 upscale_delay_s=2 look_back_period_s=5 --step 5,100 \\
        --service 0.1 --plot quick.png
"""


def _shapes(command: Any) -> Any:
    for name, (_, _, meaning) in reversed(SHAPES.items()):
        option = click.option(f"--{name}", metavar=form_of(name), help=f"Load: {meaning}.")
        command = option(command)
    return command


@click.command(help=HELP)
@click.argument("words", nargs=-1, metavar="[TARGET] [FIELD=VALUE]...")
@click.option("--deployment", help="Which of the target's deployments.")
@click.option("--config", help="autoscaling_config as JSON, or a file of it.")
@_shapes
@click.option("--trace", metavar="FILE", help="Load: as recorded in a CSV or JSONL file.")
@click.option("--poisson", is_flag=True, help="Requests come at random.")
@click.option("--duration", type=Number(1, LONGEST_S), metavar="S",
              help="Seconds to play.  [default: 600, or the trace's]")  # fmt: skip
@click.option("--service", default="0.1", show_default=True, help="How long a request takes.")
@click.option("--startup", default=1.0, show_default=True, type=Number(0), metavar="S",
              help="How long a replica takes to start.")  # fmt: skip
@click.option("--max-ongoing-requests", type=Whole(1), metavar="N",
              help="Of one replica.  [default: the target's, or 5]")  # fmt: skip
@click.option("--max-queued-requests", type=Whole(-1), metavar="N",
              help="Then they are refused.  [default: the target's, or -1, no bound]")  # fmt: skip
@click.option("--work-at-once", type=Whole(1), metavar="N",
              help="Requests that a replica really works on.  [default: all of its]")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of all that is at random.")
@click.option("--rows", default=15, show_default=True, type=Whole(1),
              help="Of the table.")  # fmt: skip
@click.option("-o", "--plot", metavar="FILE.png", help="Draw it (needs salver[plot]).")
@click.option("-d", "--app-dir", default=".", show_default=True,
              type=click.Path(exists=True, file_okay=False),
              help="Where the module is looked for first.")  # fmt: skip
@like_option
def simulate(**given: Any) -> None:
    """Read, play, print, draw; one readable error when something is wrong."""
    try:
        _simulate(**given)
    except (SalverError, TrafficError, ValueError, TypeError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _simulate(**given: Any) -> None:
    chart = _chart() if given["plot"] else None  # before the work, not after it
    chance = Random(given["seed"])  # noqa: S311 - no secret
    target, fields = _words(given["words"])
    look_first_in(given["app_dir"])  # a policy may be named by its path alone
    spec, app = _deployment(target, given["deployment"], given["app_dir"])
    options = spec.options if spec is not None else DeploymentOptions()
    config = _config(options.autoscaling_config, given["config"], fields)
    traffic, duration, named = _traffic(given, chance if given["poisson"] else None)
    limit, bound = given["max_ongoing_requests"], given["max_queued_requests"]
    scenario = Scenario(
        config=config,
        max_ongoing=options.max_ongoing_requests if limit is None else limit,
        max_queued=options.max_queued_requests if bound is None else bound,
        at_once=given["work_at_once"],
        startup_s=given["startup"],
        duration_s=duration,
        epoch=time.time(),
    )
    if spec is not None:
        scenario = msgspec.structs.replace(scenario, deployment=spec.id)
    service = read_service(given["service"], chance)
    with _policy(config, app) as policy:
        outcome = play(scenario, traffic, service, policy)
    if spec is not None and options.autoscaling_config is None:
        click.echo(f"{spec.id.name} has no autoscaling_config; this is how it would scale.")
    click.echo(table(scenario, outcome, given["rows"]))
    if chart is not None:
        name = spec.id.name if spec is not None else "A deployment"
        file = Path(given["plot"])
        try:
            chart.draw(scenario, outcome, f"{name} under {named}", file)
        except OSError as error:
            raise SalverError(f"{file} cannot be written: {error.strerror}.") from None
        click.echo(f"Drawn: {file}")


def _chart() -> Any:
    try:
        return import_module(CHART)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise SalverError(
            "--plot draws with matplotlib, which is not installed. "
            "Install it with: pip install 'salver[plot]'"
        ) from None


def _words(words: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The target, if there is one, and `field=value`."""
    target, fields = "", {}
    for word in words:
        name, equals, text = word.partition("=")
        if equals:
            if name not in AutoscalingConfig.__struct_fields__:
                known = AutoscalingConfig.__struct_fields__
                raise TargetError(unknown(name, known, "a field of autoscaling_config"))
            fields[name] = _value(text)
        elif target:
            raise TargetError(f"There are two targets, {target!r} and {word!r}: give one.")
        else:
            target = word
    return target, fields


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _deployment(
    target: str, name: str | None, app_dir: str
) -> tuple[DeploymentSpec | None, AppSpec | None]:
    if not target:
        if name is not None:
            raise TargetError(f"--deployment {name} is of no target: give one, such as hello:app.")
        return None, None
    if target.endswith(FILES):
        apps = ConfigApps(target, app_dir).build(*read_file(target))
    else:
        apps = [build(load(target, {}, app_dir), "default", None)]
    every = [(spec, app) for app in apps for spec in app.deployments]
    scaling = [pair for pair in every if pair[0].options.autoscaling_config is not None]
    chosen = [pair for pair in every if pair[0].id.name == name] if name else scaling
    if name and not chosen:
        raise TargetError(unknown(name, {s.id.name for s, _ in every}, f"a deployment of {target}"))
    if not chosen:
        return every[-1]
    if len(chosen) > 1:
        names = ", ".join(spec.id.name for spec, _ in chosen)
        raise TargetError(f"{target} has several deployments that autoscale: {names}. "
                          "Say which with --deployment.")  # fmt: skip
    return chosen[0]


def _config(
    own: AutoscalingConfig | None, text: str | None, fields: dict[str, Any]
) -> AutoscalingConfig:
    given: dict[str, Any] = {} if own is None else msgspec.structs.asdict(own)
    if text is not None:
        given |= _json(text)
    given |= fields
    if not given:
        return read_autoscaling(None, auto=True)
    if own is None and "max_replicas" not in given:
        given["max_replicas"] = read_autoscaling(None, auto=True).max_replicas
    return read_autoscaling(given)


def _json(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text()
        except OSError as error:
            raise TargetError(f"--config {text} cannot be read: {error.strerror}.") from None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise TargetError(f"--config is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise TargetError(
            f'--config is {found!r}: expected an object such as {{"max_replicas": 5}}.'
        )
    return found


def _traffic(given: dict[str, Any], chance: Random | None) -> tuple[Iterable[float], float, str]:
    """When requests come, for how long, and what that is called."""
    asked = {name: given[name] for name in (*SHAPES, "trace") if given[name] is not None}
    if len(asked) > 1:
        raise TrafficError(f"Several loads are given (--{', --'.join(asked)}): give one.")
    kind, text = next(iter(asked.items()), ("step", "2,50"))
    drawn = ", at random" if chance else ""
    if kind == "trace":
        found, duration = read_trace(text, chance)
        return found, given["duration"] or max(duration, 1.0), f"the trace {text}"
    duration = given["duration"] or 600.0
    rate = shape(kind, text, duration)
    if (number := volume(rate, duration)) > MOST:
        raise TrafficError(
            f"--{kind} {text} is {number:.3g} requests in {duration:g} s: expected up to {MOST:,}."
        )
    return arrivals(rate, duration, chance), duration, f"--{kind} {text}{drawn}"


@contextmanager
def _policy(config: AutoscalingConfig, app: AppSpec | None) -> Iterator[PolicyFunction]:
    """The rule that decides; a user's own is asked as the controller asks it."""
    whole = app.autoscaling_policy if app is not None else None
    for_all = whole is not None and not whole.is_default
    spec = whole if whole is not None and for_all else config.policy
    if spec.is_default:
        yield default_autoscaling_policy
        return
    policy = Policy(spec, app.sys_path if app is not None else ())
    with Runner() as runner:

        def wish(ctx: AutoscalingContext) -> Wish:
            try:
                if not for_all:
                    return read_wish(runner.run(policy.ask(ctx)))
                told = {ctx.deployment_id: ctx}
                wishes = read_wishes(runner.run(policy.ask(told)), told)
            except Exception as error:
                raise SalverError(
                    f"The policy failed with {ctx.target_num_replicas} replicas and "
                    f"{ctx.total_num_requests:.3g} requests: {said(error)}"
                ) from error
            return wishes.get(ctx.deployment_id, (float(ctx.target_num_replicas), {}))

        try:
            yield wish
        finally:
            policy.close()
