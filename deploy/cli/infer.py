"""`warmroute infer MODEL NAME=VALUE`: one request, from files or from the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli import answers, inputs
from deploy.cli.options import count, seconds
from deploy.cli.output import Subparsers
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "infer",
        parents=[gateway],
        help="run a model on inputs from files or the command line",
        epilog=f"{inputs.EPILOG} {answers.EPILOG}",
    )
    add_question(parser)
    answers.add_save(parser)
    parser.set_defaults(run=run)


def add_question(parser: ArgumentParser) -> None:
    """Declare what is asked, of which model."""
    parser.add_argument("model")
    inputs.add_inputs(parser)
    parser.add_argument("--version", type=count, help="default: the latest")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="ask again under it, and nothing runs twice"
    )


def read_question(options: Namespace, client: Client) -> dict[str, Any]:
    """What the client's `infer` and `submit` take. Asks for the model's inputs first, which say
    how the values are to be read."""
    described = client.model(options.model, version=options.version)
    return {
        "model": options.model,
        "inputs": inputs.read_inputs([*options.inputs, *options.input], described),
        "version": options.version,
        "timeout": options.timeout,
        "idempotency_key": options.idempotency_key,
    }


def run(options: Namespace) -> int:
    """Send the request and print the outputs."""
    answers.check_save(options.save)
    with Client(options.url) as client:
        result = client.infer(**read_question(options, client))
    answers.show_result(options, result)
    return 0
