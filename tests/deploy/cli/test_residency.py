"""`warmroute residency` and `warmroute workers`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deploy.cli.main import main
from deploy.cli.residency import as_table, unhealthy

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

pytestmark = pytest.mark.usefixtures("gateway")


def test_residency_is_a_table_of_models_by_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell tells the tier in which a worker holds a model; loads in flight stand below."""
    assert main(["residency"]) == 0
    head, _, row, *loads = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["model", "w1", "w2"]
    assert row.split() == ["double", "1", "device", "host"]
    assert loads[-1].split()[:5] == ["other", "1", "loading", "w2", "3"]
    assert loads[-1].endswith("loading on worker w2 for 3 s")


def test_one_model_is_shown_with_all_that_rules_it(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its copies, then a line for each thing there is to say."""
    assert main(["residency", "double", "--version", "1"]) == 0
    out = capsys.readouterr().out
    assert stub.seen[-1][1] == "/v2/models/double/versions/1/residency"
    copies = [line.split() for line in out.strip().splitlines()[2:4]]
    assert copies[0][:8] == ["w1", "device", "1.0", "MiB", "2.0", "MiB,", "4", "more"]
    assert copies[0][8:] == ["2026-01-02T03:04:05Z", "2", "s", "ago", "7"]
    assert copies[1] == ["w2", "disk"]
    facts = dict(line.strip().split(": ", 1) for line in out.splitlines() if ": " in line)
    assert facts == {
        "policy": "min_copies 1, pin yes, affinity none",
        "set by the API": "pin",
        "waits": "loading on worker w3 for 1 s: bert is pinned",
        "parked requests": "4",
        "learned": "1.0 MiB of its own and 2.0 MiB that others can share on cpu, 31 ms from disk",
        "last failure": "no such operator (for 5 s)",
        "quarantine": "open, 5 crashes (on w1 3, w2 2); still served by w3",
        "failed on": "w1 (no room)",
        "sessions": "s1",
        "served unbatched": "output 'y' sorts",
        "not warmed up": "too small",
        "cannot load it": "H100",
    }


def test_one_model_as_json_is_the_document_of_the_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is left out."""
    assert main(["residency", "double", "--version", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quarantine"]["cause"] == "signal 11"


def test_an_unknown_model_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1."""
    assert main(["residency", "none"]) == 1
    assert "404" in capsys.readouterr().err


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
    """Used and budget, models held and how many at most, queue length, how busy; the host's
    memory too."""
    assert main(["workers"]) == 0
    first, second = capsys.readouterr().out.strip().splitlines()[-2:]
    assert first.split() == [
        "w1", "cpu", "ready", "3.0", "MiB", "200.0", "MiB", "1/8", "2", "25", "%", "1.5", "ms",
        "1.0", "MiB", "50.0", "MiB",
    ]  # fmt: skip
    assert second.split()[:8] == ["w2", "cpu", "draining", "0", "B", "0", "B", "0"]


@pytest.mark.parametrize("subcommand", ["workers", "residency"])
def test_json_is_the_document_of_the_server(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both print what GET /v2/residency says; of the loads, only `residency`."""
    assert main([subcommand, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    workers = document["workers"]
    assert ("loads" in document) == (subcommand == "residency")
    assert [worker["id"] for worker in workers] == ["w1", "w2"]


def test_a_worker_that_is_not_healthy_is_shown_with_its_reason() -> None:
    """And each model whose calls fail there; a worker of an older release reports neither."""
    ill = {"id": "w2", "health": "sick", "health_reason": "its disk is full"}
    partly = {"id": "w3", "health": "healthy", "health_reason": "", "failing": ["bert:2:abc"]}
    assert unhealthy([{"id": "w1"}, ill, partly]) == [
        "w2 is sick: its disk is full",
        "w3: calls of bert 2 fail one after another",
    ]
