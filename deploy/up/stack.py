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
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from deploy.cli.output import show_json
from deploy.client import Client
from deploy.local.ports import LOOPBACK
from deploy.samples.catalogue import DEFAULT_SET
from deploy.samples.store import REQUEST, BuiltSample
from deploy.up import report
from deploy.up.demo import Row, ask_all
from deploy.up.environment import process_environment, stack_environment, write_env_file
from deploy.up.ports import PortTaken, reserved_ports
from deploy.up.procfile import BadProcfile
from deploy.up.ready import NotReady, wait_ready
from deploy.up.runfolder import STATE, RunFolder, TooManyRuns, run_folder
from deploy.up.samples import make_samples, progress_bar, publish_samples
from deploy.up.serve import STOP_SIGNALS, processes, serve
from deploy.up.services import start_services
from deploy.up.settings import UpSettings
from shared.errors import WarmrouteError

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 120.0
EXPECTED = (BadProcfile, NotReady, PortTaken, TooManyRuns, WarmrouteError)


class CannotStart(Exception):
    """The stack did not come up; the message says why."""


def run_stack(settings: UpSettings, *, as_json: bool = False) -> int:
    """Run the whole stack; 0 if every sample answered rightly, or it was stopped before."""
    console = open_console(as_json)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    with ExitStack() as stack:
        try:
            return 0 if _run(settings, stack, console, as_json) else 1
        except EXPECTED as error:
            raise CannotStart(str(error)) from error
        finally:
            # From here on everything is being stopped already.
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)


def _run(settings: UpSettings, stack: ExitStack, console: Console, as_json: bool) -> bool:
    folder = stack.enter_context(run_folder(STATE))
    ports = stack.enter_context(reserved_ports(settings.web, settings.port))
    services = stack.enter_context(start_services(settings, folder, console))
    env = stack_environment(settings, folder, services, os.environ)
    write_env_file(folder.env_file, env)
    built = make_samples(folder, console)
    publish_samples(services.repository, built, console)
    url = f"http://{LOOPBACK}:{ports[0]}"
    client = stack.enter_context(Client(url, retries=0))
    processes_env = process_environment(env, os.environ)
    specs = processes(ROOT / "Procfile", ports, settings.workers, processes_env)

    async def introduce(failed: Callable[[], str | None]) -> bool:
        with console.status(f"waiting for {len(specs)} processes"):
            await wait_ready(client, settings.workers, failed, READY_WITHIN_S)
        shown = [one for one in built if one.sample in DEFAULT_SET]
        rows = await asyncio.to_thread(_ask, client, shown, console)
        _show(rows, console, as_json)
        if not settings.once:
            report.show(console, farewell(url, env["REDIS_URL"], folder, shown))
        return all(row.right for row in rows)

    return asyncio.run(serve(specs, console, introduce, once=settings.once))


def open_console(as_json: bool) -> Console:
    """The terminal; standard output is left to the JSON, if that is asked for."""
    console = Console(stderr=as_json, highlight=False)
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(stderr=as_json, highlight=False, width=120)


def _ask(client: Client, samples: Sequence[BuiltSample], console: Console) -> list[Row]:
    with progress_bar(console, "asking") as step:
        return ask_all(client, samples, step)


def _show(rows: list[Row], console: Console, as_json: bool) -> None:
    if as_json:
        show_json([row.document() for row in rows])
    else:
        console.print(report.table(rows))


def farewell(url: str, redis_url: str, folder: RunFolder, samples: Sequence[BuiltSample]) -> Text:
    """The last screen, with requests to the sample whose answer is the shortest to read."""
    shortest = min(samples, key=lambda one: sum(a.size for a in one.known().answer.values()))
    body = report.write_request(folder.requests, shortest.name, shortest.sample_request())
    requests = report.requests_to_try(
        url, redis_url, shortest.name, body, shortest.folder / REQUEST, folder.env_file
    )
    return report.farewell(url, requests, folder.env_file)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
