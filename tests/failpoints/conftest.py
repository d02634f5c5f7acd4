"""One field for all runs, and the count that is printed in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.failpoints.asked import Count, Ledger
from tests.failpoints.field import Field
from tests.failpoints.history import History
from tests.system.setup import open_stack

COUNT = Count()


@pytest.fixture(scope="session")
def count() -> Count:
    """Of all runs."""
    return COUNT


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory, count: Count) -> Iterator[Field]:
    """A cell whose worker and second gateway can be killed at any failpoint."""
    with open_stack(
        tmp_path_factory.mktemp("field"), WARMROUTE_CATALOG_TTL_S="0.5", WARMROUTE_LEASE_S="2"
    ) as stack:
        history = History(stack.redis_server.url)
        history.start()
        yield Field(stack, Ledger(stack, history, count))
        history.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done, in figures."""
    if COUNT.points or COUNT.answers:
        terminalreporter.write_line(str(COUNT))
