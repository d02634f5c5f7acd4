"""Progress of long work: a bar on a terminal; on a pipe a line per step, or nothing for bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

Step = Callable[[str, int, int], None]


@contextmanager
def steps_bar(
    console: Console, label: str, check: Callable[[], None] = lambda: None
) -> Iterator[Step]:
    """A bar that the given callback moves: the name of the step, steps done, steps in all.

    The callback also calls `check`, which may raise: long work is stopped between its steps.
    """
    bar = _bar(console, TaskProgressColumn(), TimeElapsedColumn())
    shown = ""
    with bar:
        task = bar.add_task(label, total=None)

        def step(what: str, done: int, total: int) -> None:
            nonlocal shown
            check()
            if what and what != shown and not console.is_terminal:
                console.print(f"{label}: {what}")
            shown = what or shown
            description = f"{label}: {shown}" if shown else label
            bar.update(task, description=description, completed=done, total=max(total, 1))

        yield step


@contextmanager
def bytes_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on standard error, so that standard output stays for the answer: the callback
    gets bytes done and bytes in all."""
    bar = _bar(Console(stderr=True), DownloadColumn(), TransferSpeedColumn())
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar(console: Console, *columns: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
