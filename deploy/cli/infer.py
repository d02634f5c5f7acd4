"""`warmroute infer MODEL NAME=VALUE` and `warmroute submit`: one request, waited for or durable."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli import answers, inputs
from deploy.cli.options import count, seconds
from deploy.cli.output import Subparsers, show_json
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare both subcommands."""
    infer = subparsers.add_parser(
        "infer",
        parents=[gateway],
        help="run a model on inputs from files or the command line",
        epilog=f"{inputs.EPILOG} {answers.EPILOG}",
    )
    _add_request(infer)
    answers.add_save(infer)
    infer.set_defaults(run=run_infer)
    submit = subparsers.add_parser(
        "submit",
        parents=[gateway],
        help="submit a durable request, and print its id",
        epilog="`warmroute requests get ID` returns its outcome. --timeout: how long the request "
        f"may wait and run. {inputs.EPILOG}",
    )
    _add_request(submit)
    submit.set_defaults(run=run_submit)


def _add_request(parser: ArgumentParser) -> None:
    """Declare the model and its inputs."""
    parser.add_argument("model")
    inputs.add_inputs(parser)
    parser.add_argument("--version", type=count, help="default: the latest")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="name of the request: sending it again within a day returns the outcome of the first",
    )


def run_infer(options: Namespace) -> int:
    """Send the request and print the outputs."""
    answers.check_save(options.save)
    with Client(options.url) as client:
        result = client.infer(**_request(options, client))
    answers.show_result(options, result)
    return 0


def run_submit(options: Namespace) -> int:
    """Print the id of the request alone, for scripts; the request is durable by then."""
    with Client(options.url) as client:
        pending = client.submit(**_request(options, client))
    if options.json:
        show_json({"id": pending.id, "status": "queued"})
    else:
        print(pending.id)
    return 0


def _request(options: Namespace, client: Client) -> dict[str, Any]:
    """Arguments of the client's `infer` and `submit`. Asks the gateway for the model's inputs,
    which decide how the values are read."""
    described = client.model(options.model, version=options.version)
    return {
        "model": options.model,
        "inputs": inputs.read_inputs([*options.inputs, *options.input], described),
        "version": options.version,
        "timeout": options.timeout,
        "idempotency_key": options.idempotency_key,
    }
