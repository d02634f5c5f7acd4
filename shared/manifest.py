"""The manifest of a model version: its program, its inputs and outputs, and its files.

`<repository>/<model>/<version>/manifest.json` is written last, so a version appears complete or not
at all. The bytes of its files are stored content-addressed under
`<repository>/blobs/sha256/<hash>`, so the same bytes under a hundred names are stored, fetched and
cached once.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from shared import datatypes, policy
from shared.errors import Corrupt, InvalidInput
from shared.names import MAX_VERSION, ModelRef, check_model_name
from shared.platforms import PLATFORMS
from shared.policy import Policy

FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_WARMUP_ELEMENTS = 1 << 26
# What exporters call their files; `:`, spaces and the like come from names of tensors.
_PART = r"[A-Za-z0-9_][A-Za-z0-9 ._:@+=,#~()-]{0,199}"
FILE_NAME = re.compile(rf"(?![A-Za-z]:[/\\]){_PART}(/{_PART}){{0,7}}")
SHA256 = re.compile(r"[0-9a-f]{64}")

Positive = Annotated[int, Meta(ge=1)]
Parameter = str | int | float | bool


class TensorSpec(Struct, frozen=True, omit_defaults=True):
    """A named tensor. -1 in `shape` is a dimension that varies; in a batched model the first
    dimension is the batch. `optional`: an input that a request may leave out. `minimum`, `maximum`:
    the least and the greatest value of an input of integers, None where that is not known. What is
    not given is not written, so manifests without it keep their bytes."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    datatype: str
    shape: Annotated[list[Annotated[int, Meta(ge=-1, le=2**40)]], Meta(max_length=16)]
    optional: bool = False
    minimum: int | None = None
    maximum: int | None = None


class Batching(Struct, frozen=True):
    """Limits of one device call. With `max_size` over 1 the first dimension of every input and
    output is the batch. With 1 the model is never batched, and its dimensions may mean anything."""

    max_size: Positive = 1
    max_bytes: Positive = 64 << 20
    max_wait_ms: Annotated[float, Meta(ge=0, le=1000)] = 0.0


class WarmupTensor(Struct, frozen=True):
    """One warm-up input: flat `data` in row-major order; or `raw`, its bytes in base64 (V2 binary
    tensor layout), which can carry any value of any datatype; zeros without either."""

    shape: list[Annotated[int, Meta(ge=0)]]
    data: list[float | int | bool | str] | None = None
    raw: str | None = None


class FileEntry(Struct, frozen=True):
    """A file of the model: the name under which its runtime finds it, and the blob with its
    bytes."""

    name: str
    sha256: str
    size: Annotated[int, Meta(ge=0, le=2**40)]


class Manifest(Struct, frozen=True, kw_only=True):
    """One version of one model. Immutable: a change is a new version."""

    format: int = FORMAT
    name: str
    version: Annotated[int, Meta(ge=1, le=MAX_VERSION)]
    platform: str
    inputs: Annotated[list[TensorSpec], Meta(min_length=1, max_length=256)]
    outputs: Annotated[list[TensorSpec], Meta(min_length=1, max_length=256)]
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=4096)]
    batching: Batching = Batching()
    warmup: list[dict[str, WarmupTensor]] = []
    parameters: dict[str, Parameter] = {}
    residency: Policy = Policy()
    licence: str = ""

    @property
    def total_bytes(self) -> int:
        """Bytes of all distinct blobs: what a load fetches if nothing is shared."""
        return sum({f.sha256: f.size for f in self.files}.values())

    def encode(self) -> bytes:
        """The canonical bytes: they are stored, and the digest is computed of them."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)

    def file(self, name: str) -> FileEntry:
        """The file entry called `name`; Corrupt if the manifest has none."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise Corrupt(f"manifest of {self.name} version {self.version}: no file named {name!r}")


# Created here, not at the first use: threads that create it at the same time crash msgspec.
DECODER = msgspec.json.Decoder(Manifest)


def digest_of(raw: bytes) -> str:
    """The 12 hex digits that identify a manifest in a model reference."""
    return hashlib.sha256(raw).hexdigest()[:12]


def ref_of(manifest: Manifest, raw: bytes) -> ModelRef:
    """The reference that requests for this version carry."""
    return ModelRef(manifest.name, manifest.version, digest_of(raw))


def parse(raw: bytes, *, name: str, version: int) -> Manifest:
    """Read and check a manifest found under `name`/`version`; Corrupt with the reason if it is
    wrong."""
    where = f"manifest of {name} version {version}"
    if len(raw) > MAX_MANIFEST_BYTES:
        raise Corrupt(f"{where}: {len(raw)} bytes, over the limit of {MAX_MANIFEST_BYTES}")
    try:
        manifest = DECODER.decode(raw)
        check(manifest)
    except (msgspec.MsgspecError, InvalidInput, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{where}: {error}") from error
    if (manifest.name, manifest.version) != (name, version):
        raise Corrupt(
            f"{where}: it is the manifest of {manifest.name!r} version {manifest.version}"
        )
    return manifest


def check(manifest: Manifest) -> None:
    """Check the rules that types cannot express; InvalidInput names the field."""
    check_model_name(manifest.name)
    if manifest.format != FORMAT:
        raise InvalidInput(f"format: {manifest.format}, this release reads format {FORMAT}")
    if manifest.platform not in PLATFORMS:
        raise InvalidInput(f"platform: {manifest.platform!r}, want one of {sorted(PLATFORMS)}")
    _check_unique("inputs", [spec.name for spec in manifest.inputs])
    _check_unique("outputs", [spec.name for spec in manifest.outputs])
    _check_unique("files", [entry.name for entry in manifest.files])
    for spec in manifest.outputs:
        if spec.optional:
            raise InvalidInput(f"output {spec.name!r}: only an input can be optional")
        if (spec.minimum, spec.maximum) != (None, None):
            raise InvalidInput(f"output {spec.name!r}: only an input can have a range")
    for spec in (*manifest.inputs, *manifest.outputs):
        _check_spec(spec, manifest.batching)
    for name, tensor in (pair for tensors in manifest.warmup for pair in tensors.items()):
        if math.prod(tensor.shape) > MAX_WARMUP_ELEMENTS:
            raise InvalidInput(f"warmup {name!r}: over {MAX_WARMUP_ELEMENTS} elements")
    for entry in manifest.files:
        _check_file(entry)
    policy.check(manifest.residency)


def _check_spec(spec: TensorSpec, batching: Batching) -> None:
    if spec.datatype not in datatypes.ALL:
        raise InvalidInput(f"tensor {spec.name!r}: datatype {spec.datatype!r} is unknown")
    if batching.max_size > 1 and spec.shape[:1] != [-1]:
        raise InvalidInput(f"tensor {spec.name!r}: its first dimension must be -1, the batch")
    _check_range(spec)


def _check_range(spec: TensorSpec) -> None:
    given = [limit for limit in (spec.minimum, spec.maximum) if limit is not None]
    if given and spec.datatype not in datatypes.INTEGERS:
        raise InvalidInput(f"input {spec.name!r}: a range is for integers, not {spec.datatype}")
    if len(given) == 2 and given[0] > given[1]:
        raise InvalidInput(f"input {spec.name!r}: minimum {given[0]} is over maximum {given[1]}")


def is_file_name(name: str) -> bool:
    """Whether a file of a version may be called `name`: it stays in its folder on any system."""
    return FILE_NAME.fullmatch(name) is not None and ".." not in name


def _check_file(entry: FileEntry) -> None:
    if not is_file_name(entry.name):
        raise InvalidInput(
            f"file {entry.name[:80]!r}: its name leads outside the version, or "
            "has characters that are not allowed"
        )
    if not SHA256.fullmatch(entry.sha256):
        raise InvalidInput(f"file {entry.name!r}: sha256 is not 64 hex digits")


def _check_unique(field: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidInput(f"{field}: a name appears twice")
