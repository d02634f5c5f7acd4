"""Makes the sample models and publishes them, with progress to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from deploy.samples.catalogue import build_all, publish_all
from deploy.samples.store import BuiltSample
from deploy.up.runfolder import RunFolder
from shared.repository import Repository

Step = Callable[[str, int, int], None]


def make_samples(folder: RunFolder, console: Console) -> list[BuiltSample]:
    """All samples on this disk: fetched and made where they are not there yet."""
    with progress_bar(console, "samples") as step:
        return build_all(folder.samples, folder.wheels, step)


def publish_samples(repository: Repository, built: list[BuiltSample], console: Console) -> None:
    """All samples in the repository; what is there already is not sent again."""
    with progress_bar(console, "publish") as step:
        published = publish_all(repository, built, step)
    sent = sum(one.bytes_sent for one in published)
    console.print(f"{len(published)} models in {repository.url}, {sent / 1e6:,.1f} MB sent")


@contextmanager
def progress_bar(console: Console, label: str) -> Iterator[Step]:
    """A bar that a `(what, done, total)` callback moves; on a pipe, one line per new `what`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    shown = ""
    with bar:
        task = bar.add_task(label, total=None)

        def step(what: str, done: int, total: int) -> None:
            nonlocal shown
            if what and what != shown and not console.is_terminal:
                console.print(f"{label}: {what}")
            shown = what or shown
            description = f"{label}: {shown}" if shown else label
            bar.update(task, description=description, completed=done, total=max(total, 1))

        yield step
