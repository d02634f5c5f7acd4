"""Parse an Open Inference Protocol inference request, JSON and binary tensors, against its model.

Nothing that fails here is queued: every error is a 4xx that names the field. Source: Open
Inference Protocol v2 (REST) and Triton's binary tensor extension.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from router.v2 import bytes_only, strict, tensors
from router.v2.json_form import (
    JsonInput,
    JsonRequest,
    check_offered,
    flag_of,
    priority_of,
    timeout_of,
)
from shared import datatypes, ranges
from shared.envelope import USUAL, Envelope, Tensor
from shared.errors import InvalidInput
from shared.manifest import Manifest, TensorSpec


class InferRequest(Struct):
    """A checked request: the envelope for the worker, and the form of the answer."""

    envelope: Envelope
    timeout_us: int | None
    binary: dict[str, bool]
    binary_default: bool


_decoder = msgspec.json.Decoder(JsonRequest)
_LENGTH = re.compile(r"0|[1-9][0-9]{0,11}")
NOTHING = msgspec.Raw(b"null")


def parse(body: bytes, header_length: str | None, manifest: Manifest) -> InferRequest:
    """`header_length` is the value of Inference-Header-Content-Length, None if absent; 0 means a
    body without JSON."""
    json_part, binary_part = split(body, header_length)
    if header_length is not None and not json_part:
        return _bytes_only(body, manifest)
    document = _decode(json_part)
    strict.check(json_part, document)
    parameters = document.parameters or {}
    check_offered(parameters)
    return InferRequest(
        envelope=Envelope(
            inputs=_read_inputs(document, binary_part, manifest),
            outputs=_check_outputs([o.name for o in document.outputs or ()], manifest),
            id=document.id,
            priority=priority_of(parameters) if parameters else USUAL,
        ),
        timeout_us=timeout_of(parameters),
        binary=_read_forms(document),
        binary_default=flag_of(parameters, "binary_data_output"),
    )


def check(request: InferRequest, manifest: Manifest) -> None:
    """InvalidInput unless tensors that a door parsed itself are what the manifest declares."""
    specs = {spec.name: spec for spec in manifest.inputs}
    found: dict[str, Tensor] = {}
    for tensor in request.envelope.inputs:
        field = f"inputs[{tensor.name[:80]!r}]"
        spec = _spec(tensor.name, specs, found, manifest, field)
        check_spec(tensor.datatype, tensor.shape, spec, field)
        count = tensors.element_count(tensor.shape, field)
        tensors.check_binary(memoryview(tensor.data), tensor.datatype, count, field)
        ranges.check(tensor, spec, field)
        found[tensor.name] = tensor
    _check_complete(found, 0, 0, manifest)
    _check_outputs(request.envelope.outputs, manifest)


def _spec(
    name: str,
    specs: dict[str, TensorSpec],
    found: dict[str, Tensor],
    manifest: Manifest,
    field: str,
) -> TensorSpec:
    spec = specs.get(name)
    if spec is None:
        raise InvalidInput(f"{field}: {manifest.name} has no such input, it has {list(specs)}")
    if name in found:
        raise InvalidInput(f"{field}: given twice")
    return spec


def _bytes_only(body: bytes, manifest: Manifest) -> InferRequest:
    """All outputs, in binary: such a body cannot ask for anything else."""
    tensor = bytes_only.read(body, manifest)
    ranges.check(tensor, manifest.inputs[0], f"inputs[{tensor.name!r}]")
    check_batch([(tensor.name, tensor.shape)], manifest)
    return InferRequest(Envelope([tensor]), None, {}, binary_default=True)


def check_json_form(request: InferRequest, manifest: Manifest, way: str) -> None:
    """InvalidInput, with the `way` to get it, if an output without a JSON form is requested as
    JSON.

    For doors that answer in the requested form; a poll may choose its form later.
    """
    requested = request.envelope.outputs
    for spec in manifest.outputs:
        if spec.datatype not in datatypes.NO_JSON or (requested and spec.name not in requested):
            continue
        if not request.binary.get(spec.name, request.binary_default):
            raise InvalidInput(f"outputs[{spec.name!r}]: {spec.datatype} has no JSON form, {way}")


def split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body, and its binary tensors; InvalidInput if the header does not fit it."""
    if header_length is None:
        return body, memoryview(b"")
    if not _LENGTH.fullmatch(header_length):
        raise InvalidInput("Inference-Header-Content-Length: want a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length: {length}, but the body has {len(body)} bytes"
        )
    return body[:length], memoryview(body)[length:]


def _decode(raw: bytes) -> JsonRequest:
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise InvalidInput("body: JSON is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"body: {strict.explain(raw, error)}") from None


def _read_inputs(document: JsonRequest, binary: memoryview, manifest: Manifest) -> list[Tensor]:
    specs = {spec.name: spec for spec in manifest.inputs}
    found: dict[str, Tensor] = {}
    at = 0
    for given in document.inputs:
        field = f"inputs[{given.name[:80]!r}]"
        spec = _spec(given.name, specs, found, manifest, field)
        if given.data == NOTHING:  # some clients write every member
            given.data = msgspec.UNSET
        check_spec(given.datatype, given.shape, spec, field)
        if given.parameters:
            check_offered(given.parameters, f"{field}.")
        size = _binary_size(given, field)
        if at + size > len(binary):
            raise InvalidInput(
                f"{field}.parameters.binary_data_size: runs past the end of the body"
            )
        found[given.name] = _read_tensor(given, binary[at : at + size], field)
        ranges.check(found[given.name], spec, field)
        at += size
    _check_complete(found, at, len(binary), manifest)
    return [found[spec.name] for spec in manifest.inputs if spec.name in found]


def _check_complete(found: dict[str, Tensor], read: int, held: int, manifest: Manifest) -> None:
    missing = [s.name for s in manifest.inputs if s.name not in found and not s.optional]
    if missing:
        raise InvalidInput(f"inputs: {missing} missing")
    if read != held:
        raise InvalidInput(f"body: {held - read} bytes after the last binary tensor")
    check_batch([(t.name, t.shape) for t in found.values()], manifest)


def check_spec(datatype: str, shape: list[int], spec: TensorSpec, field: str) -> None:
    """InvalidInput unless datatype and shape are what the manifest declares (-1 takes any)."""
    if datatype != spec.datatype:
        raise InvalidInput(f"{field}.datatype: {datatype[:20]!r}, want {spec.datatype}")
    tensors.element_count(shape, field)
    fits = len(shape) == len(spec.shape) and all(
        want in (-1, have) for have, want in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise InvalidInput(f"{field}.shape: {shape}, want {spec.shape}")


def check_batch(shapes: list[tuple[str, list[int]]], manifest: Manifest) -> None:
    """With batching the first dimension of each input is the batch: equal, within the limit."""
    limit = manifest.batching.max_size
    if limit == 1:
        return
    batch = shapes[0][1][0] if shapes[0][1] else 0
    for name, shape in shapes:
        if not shape or shape[0] != batch:
            raise InvalidInput(f"inputs[{name!r}].shape: {shape}, want a batch as in the others")
    if batch > limit:
        raise InvalidInput(f"inputs: batch of {batch}, {manifest.name} takes at most {limit}")


def _binary_size(given: JsonInput, field: str) -> int:
    size = (given.parameters or {}).get("binary_data_size")
    if size is None:
        return 0
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidInput(f"{field}.parameters.binary_data_size: want a number of bytes")
    if given.data is not msgspec.UNSET:
        raise InvalidInput(f"{field}: has both data and binary_data_size")
    return size


def _read_tensor(given: JsonInput, binary: memoryview, field: str) -> Tensor:
    data = binary
    if given.data is not msgspec.UNSET:
        raw = tensors.from_json(bytes(given.data), given.datatype, given.shape, field)
        data = memoryview(raw)
    elif "binary_data_size" in (given.parameters or {}):
        tensors.check_binary(binary, given.datatype, _count(given, field), field)
    else:
        raise InvalidInput(f"{field}: has neither data nor parameters.binary_data_size")
    return Tensor(given.name, given.datatype, given.shape, data)


def _count(given: JsonInput, field: str) -> int:
    return tensors.element_count(given.shape, field)


def _check_outputs(names: list[str], manifest: Manifest) -> list[str]:
    offered = {spec.name for spec in manifest.outputs}
    for name in names:
        if name not in offered:
            raise InvalidInput(f"outputs[{name[:80]!r}]: {manifest.name} has {sorted(offered)}")
    if len(set(names)) != len(names):
        raise InvalidInput("outputs: a name is given twice")
    return names


def _read_forms(document: JsonRequest) -> dict[str, bool]:
    """Outputs whose form is given: whether it is binary."""
    forms = {}
    for output in document.outputs or ():
        if output.parameters:
            field = f"outputs[{output.name[:80]!r}]."
            check_offered(output.parameters, field)
            if "binary_data" in output.parameters:
                forms[output.name] = flag_of(output.parameters, "binary_data", field)
    return forms
