"""Runs the Procfile's processes, shows them at work, and stays until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from deploy.up.interrupts import STOP_SIGNALS
from deploy.up.procfile import ProcessSpec, formation, read_procfile
from deploy.up.supervisor import Supervisor

GRACE_S = 15.0  # the workers drain on SIGTERM
COLOURS = {"web": "green", "worker": "blue"}
HOPELESS_RESTARTS = 3
INSTALLED = {"web": "python -m router", "worker": "python -m worker"}  # a package has no Procfile


def processes(
    procfile: Path, ports: Sequence[int], workers: int, env: Mapping[str, str]
) -> list[ProcessSpec]:
    """One `web` per port, and the workers."""
    commands = read_procfile(procfile) if procfile.exists() else INSTALLED
    specs = []
    for number, port in enumerate(ports, start=1):
        (web,) = formation(commands, {"web": 1}, {**env, "PORT": str(port)})
        specs.append(ProcessSpec(f"web.{number}", web.command, web.env))
    return [*specs, *formation(commands, {"worker": workers}, env)]


def sayer(console: Console) -> Callable[[str, str], None]:
    """Prints a line of a process with its name before it."""

    def say(name: str, line: str) -> None:
        colour = COLOURS.get(name.partition(".")[0], "magenta")
        prefix = Text(f"{name:<9}| ", style=colour)
        console.print(prefix + Text.from_ansi(line), soft_wrap=True)

    return say


async def serve(
    specs: Sequence[ProcessSpec],
    console: Console,
    introduce: Callable[[Callable[[], str | None]], Awaitable[bool]],
    *,
    once: bool,
) -> bool:
    """Run `specs`; `introduce` shows what they do and says whether all was right.

    Returns that, after `introduce` (once) or when a signal came; True if it came before. Every
    process has ended by then.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, _first_then, stop, hurry)
    supervisor = Supervisor(sayer(console))
    supervisor.start(specs)
    introduction = asyncio.ensure_future(introduce(lambda: hopeless(supervisor)))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((introduction, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not introduction.done():
            return True
        right = introduction.result()
        if not once:
            await stopped
        return right
    finally:
        introduction.cancel()
        stopped.cancel()
        console.print("stopping ...")
        stop.set()
        await supervisor.stop(GRACE_S, hurry)


def _first_then(first: asyncio.Event, then: asyncio.Event) -> None:
    (then if first.is_set() else first).set()


def hopeless(supervisor: Supervisor) -> str | None:
    """Which process crashes again and again, or None."""
    for process in supervisor.processes:
        if process.restarts >= HOPELESS_RESTARTS:
            return f"{process.spec.name} crashed {process.restarts} times, see its lines above"
    return None
