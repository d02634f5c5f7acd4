"""Progress bars on a terminal; on a pipe, a line per step."""

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

Step = Callable[[str, int, int], None]


@contextmanager
def progress_bar(console: Console, label: str) -> Iterator[Step]:
    """A bar that the given callback moves: what is being done, steps done, steps in all."""
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


def checked(step: Step, check: Callable[[], None]) -> Step:
    """`step`, which also calls `check`: long work is stopped where it tells of its progress."""

    def both(what: str, done: int, total: int) -> None:
        check()
        step(what, done, total)

    return both
