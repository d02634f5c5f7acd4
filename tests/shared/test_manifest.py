"""Manifests: what a version may say of itself, and what is refused as corrupt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared import manifest as manifests
from shared.errors import Corrupt
from shared.manifest import Batching, Manifest, TensorSpec, WarmupTensor
from shared.platforms import PLATFORMS
from tests.helpers.factories import file_entry, manifest, spec


def parse(raw: bytes) -> Manifest:
    return manifests.parse(raw, name="mnist", version=1)


def broken(**changes: Any) -> bytes:
    """The bytes of a manifest of which some fields are something else."""
    document = msgspec.json.decode(manifest().encode())
    return msgspec.json.encode({**document, **changes})


def test_a_manifest_is_read_back() -> None:
    """Every field, the optional ones too."""
    made = manifest(
        batching=Batching(8, 1000, 2.5), parameters={"a": 1, "b": True, "c": "x", "d": 0.5},
        warmup=[{"x": WarmupTensor([1, 2], [0.5, 1.0])}], licence="MIT",
    )  # fmt: skip
    assert parse(made.encode()) == made


def test_an_optional_input_is_marked_and_only_there() -> None:
    """Manifests without one keep their bytes, and so their digests."""
    spec = TensorSpec("scale", "FP32", [-1, 1], optional=True)
    made = manifest(inputs=[*manifest().inputs, spec])
    assert parse(made.encode()) == made
    assert made.encode().count(b'"optional"') == 1
    assert b"optional" not in manifest().encode()


def test_an_output_is_never_optional() -> None:
    """A caller who asked for it would wait for nothing."""
    spec = TensorSpec("y", "FP32", [-1, 2], optional=True)
    with pytest.raises(Corrupt, match="output 'y'"):
        parse(manifest(outputs=[spec]).encode())


@pytest.mark.parametrize(
    "name",
    ["m.onnx.data", "model.onnx_data", "onnx__MatMul_123", "onnx::MatMul_123", "_w.bin", "a b.bin",
     "layers/0/attn/q:0", "encoder.layer.0.weight", "x" * 200],
)  # fmt: skip
def test_names_that_exporters_write_are_names_of_files(name: str) -> None:
    """ONNX weights lie in files that are called like their tensors."""
    made = manifest(files=[file_entry(name)])
    assert parse(made.encode()).files[0].name == name


def test_its_bytes_do_not_depend_on_the_order_of_its_parts() -> None:
    """So the digest stands for the content."""
    one = manifest(parameters={"a": 1, "b": 2})
    two = manifest(parameters={"b": 2, "a": 1})
    assert one.encode() == two.encode()
    assert manifests.ref_of(one, one.encode()) == manifests.ref_of(two, two.encode())


def test_other_bytes_are_another_reference() -> None:
    """What ran is what was accepted."""
    one, two = manifest(), manifest(licence="MIT")
    assert manifests.ref_of(one, one.encode()) != manifests.ref_of(two, two.encode())


def test_bytes_of_shared_blobs_count_once() -> None:
    """Two names for the same bytes are one download."""
    made = manifest(
        files=[file_entry("a", "a", 10), file_entry("b", "a", 10), file_entry("c", "b", 5)]
    )
    assert made.total_bytes == 15


def test_a_file_is_found_by_its_name() -> None:
    """One that is not there makes the manifest corrupt."""
    made = manifest()
    assert made.file("weights/0.safetensors") == made.files[0]
    with pytest.raises(Corrupt, match=r"no file named 'model\.onnx'"):
        made.file("model.onnx")


FILE = {"name": "a", "sha256": "a" * 64, "size": 1}
X = {"name": "x", "datatype": "FP32", "shape": [-1]}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "newer format": ({"format": 2}, "format"),
    "unknown platform": ({"platform": "pickle"}, "platform"),
    "bad name": ({"name": "../x"}, "name"),
    "another model": ({"name": "other"}, "other"),
    "another version": ({"version": 2}, "version 2"),
    "version zero": ({"version": 0}, "version"),
    "no inputs": ({"inputs": []}, "inputs"),
    "no outputs": ({"outputs": []}, "outputs"),
    "no files": ({"files": []}, "files"),
    "an input twice": ({"inputs": [X, X]}, "inputs: a name"),
    "an output twice": ({"outputs": [X, X]}, "outputs: a name"),
    "a file twice": ({"files": [FILE, FILE]}, "files: a name"),
    "unknown datatype": ({"inputs": [X | {"datatype": "FP8"}]}, "datatype"),
    "dimension -2": ({"inputs": [X | {"shape": [-2]}]}, "shape"),
    "17 dimensions": ({"inputs": [X | {"shape": [1] * 17}]}, "shape"),
    "nameless input": ({"inputs": [X | {"name": ""}]}, "name"),
    "negative size": ({"files": [FILE | {"size": -1}]}, "size"),
    "absurd size": ({"files": [FILE | {"size": 2**41}]}, "size"),
    "bad digest": ({"files": [FILE | {"sha256": "A" * 64}]}, "sha256"),
    "short digest": ({"files": [FILE | {"sha256": "a" * 63}]}, "sha256"),
    "batch of zero": ({"batching": {"max_size": 0}}, "max_size"),
    "negative wait": ({"batching": {"max_wait_ms": -1}}, "max_wait_ms"),
    "warm-up below zero": ({"warmup": [{"x": {"shape": [-1]}}]}, "shape"),
    "missing name": ({"name": None}, "name"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_corrupt_and_named(case: str) -> None:
    """The message says which manifest and which field."""
    changes, named = FAULTS[case]
    with pytest.raises(Corrupt, match=r"manifest of mnist version 1.*") as caught:
        parse(broken(**changes))
    assert named in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../b", "a//b", "a\\b", "/".join("abcdefghi"), "", ".a", "a/.b",
     "a\n", "a\x00", "a/", ".", "..", "a*", "ä", "a" * 201, "~/x", "C:/x"],
)  # fmt: skip
def test_a_file_name_cannot_lead_out_of_the_version(name: str) -> None:
    """Such a manifest is refused before anything is fetched."""
    with pytest.raises(Corrupt, match="file"):
        parse(broken(files=[FILE | {"name": name}]))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b"{}", manifest().encode()[:-20], b"[" * 100_000, b"\x00" * 10,
     b'{"name": "mnist", "name": ', "{}".encode("utf-16")],
    ids=["empty", "cut", "null", "list", "no fields", "half", "deep", "zeros", "cut 2", "utf-16"],
)  # fmt: skip
def test_what_is_no_manifest_is_corrupt(raw: bytes) -> None:
    """Half-written ones among them."""
    with pytest.raises(Corrupt):
        parse(raw)


def test_a_manifest_that_is_not_utf8_is_corrupt() -> None:
    """One bad byte in a text of it."""
    with pytest.raises(Corrupt):
        parse(manifest(licence="MIT").encode().replace(b"MIT", b"M\xff"))


def test_a_manifest_over_the_limit_is_not_read() -> None:
    """Its size is looked at first."""
    with pytest.raises(Corrupt, match="over the limit"):
        parse(b" " * (manifests.MAX_MANIFEST_BYTES + 1))


def test_a_platform_says_whether_it_can_run_code() -> None:
    """Only an allow-listed architecture with safetensors is data."""
    data = {name for name, row in PLATFORMS.items() if row.trust == "data"}
    assert data == {"pytorch_architecture"}


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("shape", [[], [4, 2]], ids=str)
def test_a_batched_model_has_the_batch_as_first_dimension(side: str, shape: list[int]) -> None:
    """With a limit over 1 each tensor must begin with a variable dimension: it is the batch."""
    made = manifest(**{side: [spec("x", "FP32", shape)]}, batching=Batching(max_size=4))
    with pytest.raises(Corrupt, match=r"'x'.*batch"):
        parse(made.encode())
    unbatched = manifest(**{side: [spec("x", "FP32", shape)]}, batching=Batching(max_size=1))
    assert parse(unbatched.encode()) == unbatched


def test_a_version_has_at_most_nine_digits() -> None:
    """As references and paths can name no larger one."""
    made = manifest(version=10**9)
    with pytest.raises(Corrupt, match="version"):
        manifests.parse(made.encode(), name="mnist", version=10**9)


def test_a_warm_up_of_absurd_size_is_refused() -> None:
    """It would be allocated as a whole."""
    made = manifest(warmup=[{"x": WarmupTensor([2**33, 2**33])}])
    with pytest.raises(Corrupt, match="warmup"):
        parse(made.encode())
