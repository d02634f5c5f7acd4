"""`warmroute residency` and `warmroute workers`."""

from __future__ import annotations

import json

import pytest

from deploy.cli.main import main
from deploy.cli.residency import as_table

pytestmark = pytest.mark.usefixtures("gateway")


def test_residency_is_a_table_of_models_by_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell tells the tier in which a worker holds a model."""
    assert main(["residency"]) == 0
    head, *_, row = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["model", "w1", "w2"]
    assert row.split() == ["double", "1", "device"]


def test_each_worker_has_its_own_column() -> None:
    """Models are sorted; a worker without one has an empty cell."""
    held = {"name": "b", "version": "1", "tier": "device"}
    workers = [
        {"id": "w1", "models": [held, {"name": "a", "version": "2", "tier": "host"}]},
        {"id": "w2", "models": [held]},
    ]
    assert as_table(workers) == (
        ["model", "w1", "w2"],
        [["a 2", "host", ""], ["b 1", "device", "device"]],
    )


def test_workers_are_listed_with_what_they_hold_and_what_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Used and budget in MiB, models held, queue length."""
    assert main(["workers"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-2]
    assert line.split() == ["w1", "cpu", "ready", "3.0", "MiB", "200.0", "MiB", "1", "2"]


@pytest.mark.parametrize("subcommand", ["workers", "residency"])
def test_json_is_the_document_of_the_server(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both print what GET /v2/residency says."""
    assert main([subcommand, "--json"]) == 0
    workers = json.loads(capsys.readouterr().out)["workers"]
    assert [worker["id"] for worker in workers] == ["w1", "w2"]
