"""`warmroute push`: publish a model file, or a module and its weights, as a version.

An upload can be interrupted and repeated: what has arrived is not sent twice, and the version
appears only when it is complete. Pushing the same again changes nothing.
"""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import msgspec

from deploy.cli import push_wait, repository, sources
from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.output import Subparsers, mib, say, show
from deploy.cli.policy import add_options, read_policy
from deploy.cli.specs import FORM
from deploy.local.progress import bytes_bar
from shared.errors import Conflict, LoadFailed
from shared.manifest import Batching, Manifest, TensorSpec
from shared.names import MAX_VERSION, check_model_name
from shared.policy import Policy
from shared.repository import PublishResult, Repository, publish
from shared.setting import listed
from worker.runtimes import trust


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "push",
        parents=[gateway],
        help="publish a model",
        epilog=f"A SPEC is {FORM}, with -1 for a variable dimension, or NAME alone if the file has "
        "the rest. Push refuses a SPEC that differs from the file.",
    )
    parser.add_argument("model", metavar="NAME")
    sources.add_options(parser)
    parser.add_argument(
        "--version",
        type=int,
        help="default: the newest version, or the next one if the model changed",
    )
    parser.add_argument(
        "--max-batch", type=int, default=1, metavar="N", help="requests per batch (%(default)s)"
    )
    parser.add_argument("--licence", default="", help="kept in the manifest")
    repository.add_option(parser)
    push_wait.add_options(parser)
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Prepare, try and publish the model, and print what was sent."""
    check_model_name(options.model)
    _check_numbers(options)
    policy = read_policy(options)
    store = repository.opened(options)
    with tempfile.TemporaryDirectory(prefix="warmroute-push-") as scratch:
        manifest, files, notes = _prepare(options, policy, Path(scratch))
        manifest, tried = _try(manifest, files, options)
        notes += tried
        notes += _note_foreign(store, options.model)
        result = _publish(store, manifest, files, options)
    pushed = result.manifest
    document: dict[str, object] = {
        "name": pushed.name,
        "version": pushed.version,
        "platform": pushed.platform,
        "files": len(pushed.files),
        "bytes_sent": result.bytes_sent,
        "bytes_shared": result.bytes_shared,
        "unchanged": result.unchanged,
        "notes": notes,
    }
    if options.wait:
        document["workers"] = push_wait.until_live(options, pushed.name, pushed.version)
    row = [pushed.name, str(pushed.version), pushed.platform, str(len(pushed.files))]
    row += [mib(result.bytes_sent), mib(result.bytes_shared)]
    columns = ["model", "version", "platform", "files", "sent", "already there"]
    show(options, document, columns, [row])
    _advise_trust(pushed, store.url)
    for note in notes:
        say(f"warmroute: {note}", error=True)
    if not options.json:
        news = push_wait.news(options, pushed.name, pushed.version, unchanged=result.unchanged)
        say(news, error=True)  # standard output has the table
    return 0


def _advise_trust(manifest: Manifest, url: str) -> None:
    """Print on stderr which setting the workers need, unless it is set in this environment."""
    prefixes = listed(os.environ.get("WARMROUTE_TRUST_CODE", ""))
    if not trust.Trust.of_repository(url, prefixes, ()).allows(manifest):
        way_out = f"{trust.advice(url)}, or workers refuse it"
        say(f"warmroute: {manifest.platform} can run code: {way_out}", error=True)


def _prepare(
    options: Namespace, policy: Policy, scratch: Path
) -> tuple[Manifest, dict[str, Path], list[str]]:
    """The manifest (as version 1, without files), its files, and notes for the publisher."""
    from deploy.cli.prepare import Source, prepare  # imports numpy, and torch if needed

    source = Source(
        file=options.file,
        format=options.format,
        module=options.module,
        architecture=options.architecture,
        sizes=options.size,
        weights=options.weights,
        example=options.example,
        inputs=options.input,
        outputs=options.output,
    )
    packed = prepare(source, scratch)
    if options.max_batch > 1:
        _check_batchable([*packed.inputs, *packed.outputs])
    manifest = Manifest(
        name=options.model,
        version=1,
        platform=packed.platform,
        inputs=packed.inputs,
        outputs=packed.outputs,
        files=[],
        batching=Batching(max_size=options.max_batch),
        parameters=packed.parameters,
        residency=policy,
        licence=options.licence,
    )
    return manifest, packed.files, list(packed.notes)


def _note_foreign(store: Repository, name: str) -> list[str]:
    """A folder of another server's layout is easily taken for a model that push would read."""
    files = store.foreign_files(name)
    if not files:
        return []
    more = f" and {len(files) - 2} more" if len(files) > 2 else ""
    return [f"{name} in the repository also has {', '.join(files[:2])}{more}, which stay as they "
            "are: no version uses them"]  # fmt: skip


def _check_numbers(options: Namespace) -> None:
    for option, value in (("--max-batch", options.max_batch), ("--version", options.version)):
        if value is not None and not 1 <= value <= MAX_VERSION:
            raise WrongUse(f"{option}: {value}, want 1 to {MAX_VERSION}")
    if options.wait and not options.timeout:
        raise WrongUse("--timeout: 0, want more than 0 seconds")


def _try(
    manifest: Manifest, files: dict[str, Path], options: Namespace
) -> tuple[Manifest, list[str]]:
    """Try the model; the manifest with the example as its warm-up, and notes for the publisher."""
    from deploy.cli.example import MAX_BYTES, example_of, read_example

    arrays = read_example(options.example)
    if arrays is None:
        return _run(manifest, files)
    example = example_of(arrays, manifest.inputs, manifest.batching.max_size > 1)
    given = msgspec.structs.replace(manifest, warmup=example.warmup)
    if not example.shapes_only:
        return _run(given, files)
    large = f"the example is over {MAX_BYTES} bytes, so the manifest keeps"
    try:
        tried, notes = _run(given, files)
        return tried, [f"{large} its shapes only", *notes]
    except LoadFailed:  # zeros of these shapes
        tried, notes = _run(manifest, files)
        return tried, [f"{large} nothing of it", *notes]


def _run(manifest: Manifest, files: dict[str, Path]) -> tuple[Manifest, list[str]]:
    """Run the model; the manifest after this trial, and notes for the publisher. (An ONNX model can
    be pushed without torch.)"""
    try:
        from deploy.cli.trial import try_model
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "torch":
            raise
        note = "the model was not tried, since torch is not installed here: the first load tries it"
        return manifest, [note]
    tried = try_model(manifest, files)
    if tried.mixes:
        manifest = msgspec.structs.replace(manifest, batching=Batching())
    return manifest, tried.notes


def _check_batchable(specs: list[TensorSpec]) -> None:
    for spec in specs:
        if spec.shape[:1] != [-1]:
            way = (
                "leave it out by naming the other inputs with --input, or " if spec.optional else ""
            )
            raise WrongUse(
                f"--max-batch: {spec.name!r} is {spec.shape}, whose first size is fixed, but "
                f"a batch needs one that varies (-1): {way}push without --max-batch"
            )


def _publish(
    store: Repository, manifest: Manifest, files: dict[str, Path], options: Namespace
) -> PublishResult:
    """Publish as the requested version; without one as the newest, or a new one if that differs."""
    newest = max(store.list_versions(manifest.name), default=1)
    version = options.version or newest
    with bytes_bar(f"push {manifest.name}") as progress:
        try:
            numbered = msgspec.structs.replace(manifest, version=version)
            return publish(store, numbered, files, progress)
        except Conflict:
            if options.version is not None:
                raise
            if newest == MAX_VERSION:
                raise CannotDo(f"version {newest} is the highest there can be") from None
            numbered = msgspec.structs.replace(manifest, version=newest + 1)
            return publish(store, numbered, files, progress)
