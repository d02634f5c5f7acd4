"""`make up` from the first step to the last; each step is a module of its own.

runfolder   a folder that no other run holds
ports       ports that no other run takes
services    embedded Redis and S3, where no others were named
publish     the sample models, made and published
serve       the Procfile's processes, until told to stop
ready, demo, report   what is shown while they run
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console
from rich.text import Text

from deploy.cli.output import show_json
from deploy.local.ports import LOOPBACK
from deploy.samples.catalogue import DEFAULT_SET, build_all, publish_all
from deploy.samples.store import REQUEST, BuiltSample
from deploy.up import report
from deploy.up.demo import Row, ask_all
from deploy.up.environment import process_environment, stack_environment, write_env_file
from deploy.up.interrupts import interruptible
from deploy.up.ports import PortTaken, reserved_ports
from deploy.up.procfile import BadProcfile, ProcessSpec
from deploy.up.progress import checked, progress_bar
from deploy.up.ready import NotReady, wait_ready
from deploy.up.runfolder import CODE, STATE, RunFolder, TooManyRuns, run_folder
from deploy.up.serve import processes, serve
from deploy.up.services import start_services
from deploy.up.settings import UpSettings
from shared.errors import WarmrouteError
from warmroute import Client
from warmroute.urls import VARIABLE

READY_WITHIN_S = 120.0
EXPECTED = (BadProcfile, NotReady, PortTaken, TooManyRuns, WarmrouteError)


class CannotStart(Exception):
    """The stack did not come up; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """All that has to be there before the first process of the Procfile starts."""

    folder: RunFolder
    samples: list[BuiltSample]
    url: str
    env: Mapping[str, str] = field(repr=False)
    specs: list[ProcessSpec] = field(repr=False)


def run_stack(settings: UpSettings, *, as_json: bool = False) -> int:
    """Run the whole stack; 0 if every sample answered rightly, or it was stopped before."""
    console = open_console(as_json)
    with ExitStack() as stack:
        try:
            with interruptible() as check:
                prepared = prepare(settings, stack, console, check)
                client = stack.enter_context(Client(prepared.url, retries=0))
                shown = partial(introduce, settings, prepared, client, console, as_json)
                check()
                right = asyncio.run(serve(prepared.specs, console, shown, once=settings.once))
        except EXPECTED as error:
            raise CannotStart(str(error)) from error
    return 0 if right else 1


def prepare(
    settings: UpSettings, stack: ExitStack, console: Console, check: Callable[[], None]
) -> Prepared:
    """Servers, samples and settings. `stack` stops what was started; `check` raises if the user
    asked to stop."""
    folder = stack.enter_context(run_folder(STATE))
    ports = stack.enter_context(reserved_ports(settings.web, settings.port))
    services = stack.enter_context(start_services(settings, folder, console))
    check()
    env = stack_environment(settings, folder, services, os.environ)
    url = f"http://{LOOPBACK}:{ports[0]}"
    write_env_file(folder.env_file, {**env, VARIABLE: url})
    with progress_bar(console, "samples") as step:
        built = build_all(folder.samples, folder.wheels, checked(step, check))
    with progress_bar(console, "publish") as step:
        published = publish_all(services.repository, built, checked(step, check))
    sent = sum(one.bytes_sent for one in published)
    console.print(f"{len(published)} models published, {sent / 1e6:,.1f} MB sent")
    own = process_environment(env, os.environ)
    specs = processes(CODE / "Procfile", ports, settings.workers, own)
    return Prepared(folder, built, url, env, specs)


async def introduce(
    settings: UpSettings,
    prepared: Prepared,
    client: Client,
    console: Console,
    as_json: bool,
    failed: Callable[[], str | None],
) -> bool:
    """Wait until all is up, ask the samples, and show what they said; whether all were right."""
    with console.status(f"waiting for {len(prepared.specs)} processes"):
        await wait_ready(client, settings.workers, failed, READY_WITHIN_S)
    shown = [one for one in prepared.samples if one.sample in DEFAULT_SET]
    rows = await asyncio.to_thread(_ask, client, shown, console)
    if as_json:
        show_json([row.document() for row in rows])
    else:
        console.print(report.table(rows))
        console.print(report.capacity(prepared.samples, settings.workers, prepared.env))
    if not settings.once:
        report.show(console, farewell(prepared, shown))
    return all(row.right for row in rows)


def open_console(as_json: bool) -> Console:
    """The terminal; standard output is left to the JSON, if that is asked for."""
    console = Console(stderr=as_json, highlight=False)
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(stderr=as_json, highlight=False, width=120)


def _ask(client: Client, samples: Sequence[BuiltSample], console: Console) -> list[Row]:
    with progress_bar(console, "asking") as step:
        return ask_all(client, samples, step)


def farewell(prepared: Prepared, samples: Sequence[BuiltSample]) -> Text:
    """The last screen, with requests to the sample whose answer is the shortest to read."""
    one = min(samples, key=lambda one: sum(a.size for a in one.known().answer.values()))
    folder, redis_url = prepared.folder, prepared.env["REDIS_URL"]
    body = report.write_request(folder.requests, one.name, one.sample_request())
    requests = report.requests_to_try(
        prepared.url, redis_url, one.name, body, one.folder / REQUEST, folder.env_file
    )
    return report.farewell(prepared.url, requests, folder.env_file)
