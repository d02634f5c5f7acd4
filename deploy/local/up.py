"""`make up` from the first step to the last.

A folder and ports that no other run takes; a cluster over them; the sample models, made and
published; a question to each of them; and then the cluster stays up until it is to stop.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from rich.console import Console
from rich.text import Text

from deploy.cli.output import show_json
from deploy.local import demo, farewell
from deploy.local.child import Restart
from deploy.local.cluster import GRACE_S, Cluster
from deploy.local.folders import CODE, SAMPLES, STATE, WHEELS, RunFolder, run_folder
from deploy.local.interrupts import Interrupts, interruptible
from deploy.local.ports import LOOPBACK, PREFERRED, reserved_ports
from deploy.local.progress import steps_bar
from deploy.local.settings import UpSettings, cluster_settings, commands, inherited, write_env_file
from deploy.samples.catalogue import DEFAULT_SET, build_all, publish_all
from deploy.samples.store import REQUEST, BuiltSample
from warmroute import Client
from warmroute.urls import VARIABLE

READY_S = 120.0
COLOURS = {"gateway": "green", "worker": "blue"}


def run_up(settings: UpSettings, *, as_json: bool = False) -> int:
    """Run the whole cluster. Returns 0 if every sample answered rightly or it was stopped before
    that was known, 1 if one did not. WarmrouteError says why it did not start; KeyboardInterrupt
    that it was stopped while it started."""
    console = open_console(as_json)
    with interruptible() as interrupts, ExitStack() as running:
        try:
            up = Up(settings, console, as_json, interrupts)
            up.start(running)
            right = up.serve()
        finally:
            interrupts.begin_to_stop()
    return 0 if right else 1


class Up:
    """One run, between the start of its cluster and its end."""

    def __init__(
        self, settings: UpSettings, console: Console, as_json: bool, interrupts: Interrupts
    ) -> None:
        self._settings = settings
        self._console = console
        self._as_json = as_json
        self._interrupts = interrupts

    def start(self, running: ExitStack) -> None:
        """Servers, samples, gateways and workers; `running` stops what was started."""
        settings, check = self._settings, self._interrupts.check
        self._folder = running.enter_context(run_folder(STATE))
        ports = running.enter_context(reserved_ports(settings.web, settings.port, PREFERRED))
        self._url = f"http://{LOOPBACK}:{ports[0]}"
        self._cluster = open_cluster(settings, self._folder, self._console)
        running.callback(self._cluster.stop, GRACE_S, self._interrupts.hurry)
        self._cluster.open()
        check()
        env_file = self._folder.env_file
        write_env_file(env_file, {**self._cluster.environment, VARIABLE: self._url})
        self._samples = self._publish()
        for port in ports:
            self._cluster.start_gateway(port=port)
        for _ in range(settings.workers):
            self._cluster.start_worker()
        check()

    def serve(self) -> bool:
        """Ask the samples, show their answers, and stay until Ctrl-C (or not, with `once`). Returns
        whether all answers were right; True if it was stopped before that was known."""
        right = True
        try:
            right = self._introduce()
            if not self._settings.once:
                self._interrupts.wait()
        except KeyboardInterrupt:
            pass
        finally:
            self._interrupts.begin_to_stop()
            self._console.print("stopping ...")
        return right

    def _publish(self) -> list[BuiltSample]:
        console, check = self._console, self._interrupts.check
        repository = self._cluster.servers.open_repository()
        repository.check()
        with steps_bar(console, "samples", check) as step:
            built = build_all(SAMPLES, WHEELS, step)
        with steps_bar(console, "publish", check) as step:
            published = publish_all(repository, built, step)
        sent = sum(one.bytes_sent for one in published)
        console.print(f"{len(published)} models published, {sent / 1e6:,.1f} MB sent")
        return built

    def _introduce(self) -> bool:
        """Wait until all is up, ask the samples, and show their answers."""
        console, workers = self._console, self._settings.workers
        with console.status(f"waiting for {workers + self._settings.web} processes"):
            self._cluster.wait_ready(READY_S)
        shown = [one for one in self._samples if one.sample in DEFAULT_SET]
        with Client(self._url, retries=0) as client:
            with steps_bar(console, "asking", self._interrupts.check) as step:
                rows = demo.ask_all(client, shown, step)
        if self._as_json:
            show_json([row.document() for row in rows])
        else:
            console.print(demo.table(rows))
            memory_bytes = int(self._cluster.environment["WARMROUTE_MEMORY_BYTES"])
            console.print(demo.capacity(self._samples, workers, memory_bytes))
        if not self._settings.once:
            farewell.show(console, self._farewell(shown))
        return all(row.right for row in rows)

    def _farewell(self, samples: Sequence[BuiltSample]) -> Text:
        """With requests to the sample whose answer is the shortest to read."""
        one = min(samples, key=lambda one: sum(a.size for a in one.known().answer.values()))
        folder, redis_url = self._folder, self._cluster.servers.redis_url
        body = farewell.write_request(folder.requests, one.name, one.sample_request())
        requests = farewell.requests_to_try(
            self._url, redis_url, one.name, body, one.folder / REQUEST, folder.env_file
        )
        return farewell.farewell(self._url, requests, folder.env_file)


def open_cluster(settings: UpSettings, folder: RunFolder, console: Console) -> Cluster:
    """A cluster as the Procfile and the settings say; nothing of it runs yet."""
    host = socket.gethostname().split(".")[0][:40] or "local"
    return Cluster(
        folder.own,
        redis_url=settings.redis_url or "",
        repository=settings.model_repository,
        settings=cluster_settings(settings, folder, os.environ),
        inherited=inherited(os.environ),
        commands=commands(CODE / "Procfile"),
        show=partial(show_line, console),
        restart=Restart(),
        worker_ids=f"{host}-{secrets.token_hex(2)}-",
        cwd=None,
        cells=settings.cells,
    )


def show_line(console: Console, name: str, line: str) -> None:
    """Print a line of a process with its name before it."""
    short = name[name.rfind("worker") :] if "worker" in name else name
    colour = COLOURS.get(short.partition("-")[0], "magenta")
    prefix = Text(f"{short:<10} | ", style=colour)
    console.print(prefix + Text.from_ansi(line), soft_wrap=True)


def open_console(as_json: bool) -> Console:
    """The terminal; standard output is left to the JSON, if that is asked for."""
    console = Console(stderr=as_json, highlight=False)
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(stderr=as_json, highlight=False, width=120)
