"""`warmroute push`: options that become the residency policy of the manifest."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest

from deploy.cli.errors import WrongUse
from deploy.cli.main import make_parser
from deploy.cli.policy import add_options, read_policy
from shared.policy import Affinity, Policy


def policy(*arguments: str) -> Policy:
    """The policy of a command line."""
    parser = ArgumentParser()
    add_options(parser)
    return read_policy(parser.parse_args(arguments))


def test_without_options_the_policy_is_the_usual_one() -> None:
    """So that what was pushed before is the same version."""
    assert policy() == Policy()


def test_each_option_is_a_field() -> None:
    """All of them together."""
    line = (
        "--preload --pin --min-copies 2 --max-copies 4 --priority 1 --idle-ttl 60 "
        "--min-residency 5.5 --fraction 0.25 --affinity team-a --require-affinity "
        "--max-models-per-worker 3"
    )
    assert policy(*line.split()) == Policy(
        preload=True, pin=True, min_copies=2, max_copies=4, priority=1, idle_ttl_s=60.0,
        min_residency_s=5.5, fraction=0.25, affinity=Affinity("team-a", "require", 3),
    )  # fmt: skip
    assert policy("--affinity", "team-a") == Policy(affinity=Affinity("team-a"))


def test_push_takes_them() -> None:
    """Beside its own."""
    options = make_parser().parse_args(["push", "m", "--file", "m.onnx", "--min-copies", "1"])
    assert read_policy(options) == Policy(min_copies=1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--priority 10", "--priority: 10, want int <= 9"),
        ("--min-copies -1", "--min-copies: -1, want int >= 0"),
        ("--fraction 2", "--fraction: 2.0, want float <= 1"),
        ("--idle-ttl nan", "--idle-ttl: nan, want"),
        ("--min-copies 3 --max-copies 2", "max_copies: 2 is below the 3"),
        ("--affinity a/b", "--affinity: a/b, want"),
        ("--affinity a --max-models-per-worker -1", "--max-models-per-worker: -1, want int"),
        ("--require-affinity", "want --affinity KEY"),
        ("--max-models-per-worker 2", "want --affinity KEY"),
    ],
)
def test_what_is_out_of_bounds_is_named(line: str, told: str) -> None:
    """Before anything is sent."""
    with pytest.raises(WrongUse, match=told):
        policy(*line.split())
