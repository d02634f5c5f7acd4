"""ONNX weights in further files: found and checked when packed, laid out when loaded."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from shared.errors import InvalidInput, LoadFailed
from shared.manifest import TensorSpec
from tests.helpers import onnx_models
from tests.helpers.onnx_models import adding, pointing_to, save, value
from tests.worker.runtimes.formats import Publish
from worker.device.cpu import CpuDevice
from worker.packaging.onnx import pack_onnx
from worker.packaging.result import Packed
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)
ONES = np.ones(4, np.float32)


def branches(location: str) -> onnx.ModelProto:
    """`y` is `x` plus a constant that lies in the attribute of a node in a branch."""
    constant = helper.make_node("Constant", [], ["w"], value=pointing_to(location))
    bodies = [
        helper.make_graph([constant, helper.make_node("Add", ["x", "w"], [name])], name, [],
                          [value(name, [4])])
        for name in ("then", "else")
    ]  # fmt: skip
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=bodies[0], else_branch=bodies[1])
    ends = [value("x", [4]), value("c", [], onnx.TensorProto.BOOL)]
    return onnx_models.model([chosen], ends, [value("y", [4])])


@pytest.mark.parametrize(
    "location", ["w.bin", "./w.bin", "sub/deeper/w.bin", "onnx::MatMul_1", "_w 1.bin"]
)
@pytest.mark.parametrize("make", [lambda at: adding(pointing_to(at)), branches])
def test_weights_beside_the_model_travel_with_it(
    make: object, location: str, publish: Publish, device: CpuDevice, tmp_path: Path
) -> None:
    """Wherever in the graph they are named; the answer is onnxruntime's own, elsewhere."""
    path = save(make(location), tmp_path / "made" / "m.onnx")  # type: ignore[operator]
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    (path.parent / location).write_bytes((ONES * 5).tobytes())
    given = {"x": ONES, "c": np.array(True)}
    inputs = {s.name: given[s.name] for s in onnxruntime.InferenceSession(path).get_inputs()}
    (expected,) = onnxruntime.InferenceSession(path).run(None, inputs)
    local = publish(pack_onnx(path))
    for file in path.parent.rglob("*"):
        if file.is_file():
            file.unlink()
    model = load(local.manifest, local.files, device, TRUSTED)
    np.testing.assert_array_equal(model.run(inputs)["y"], expected)
    assert model.bytes_resident == local.manifest.total_bytes
    assert list((tmp_path / "laid-out").iterdir()) == []


def many_files(path: Path) -> Path:
    """One file for each tensor, as exporters write models over 2 GiB."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((8, 8), np.float32), f"layers.{n}.weight")
        for n in range(5)
    ]
    names = ["x", *(f"h{n}" for n in range(4)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[n], w.name], [names[n + 1]])
        for n, w in enumerate(weights)
    ]
    made = onnx_models.model(nodes, [value("x", ["n", 8])], [value("y", ["n", 8])], weights)
    onnx.save(made, path, save_as_external_data=True, all_tensors_to_one_file=False,
              size_threshold=0)  # fmt: skip
    return path


def test_a_file_for_each_tensor_is_a_file_of_the_version(
    publish: Publish, device: CpuDevice, tmp_path: Path
) -> None:
    """Under the names that the exporter gave them."""
    path = many_files(tmp_path / "m.onnx")
    local = publish(pack_onnx(path))
    assert sorted(local.files) == [*(f"layers.{n}.weight" for n in range(5)), "model.onnx"]
    x = np.ones((2, 8), np.float32)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    model = load(local.manifest, local.files, device, TRUSTED)
    np.testing.assert_array_equal(model.run({"x": x})["y"], expected)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 16\n"
CASES = {
    "missing": ("nothere.bin", "'nothere.bin' is missing"),
    "above": ("../outside.bin", "'../outside.bin' lies outside"),
    "above and back": ("sub/../w.bin", "lies outside"),
    "absolute": ("/etc/passwd", "'/etc/passwd' has an absolute path"),
    "drive": ("C:\\w.bin", "absolute path"),
    "memory": ("*/_ORT_MEM_ADDR_/*", "the name is not allowed"),
    "nowhere": ("", "its external data has no valid location"),
    "itself": ("m.onnx", "the name of the model itself"),
    "its later name": ("model.onnx", "the name of the model itself"),
    "folder": ("sub", "is not a file"),
    "link out": ("out.bin", "'out.bin' is a link to a place outside"),
    "folder that lies outside": ("elsewhere/outside.bin", "is a link to a place outside"),
    "link to nothing": ("dead.bin", "'dead.bin' is a link to nothing"),
    "short": ("short.bin", "'short.bin' holds 8 bytes of 16"),
    "empty": ("empty.bin", "'empty.bin' is empty"),
    "pointer": ("pointer.bin", "'pointer.bin' is a Git LFS pointer"),
    "page": ("page.bin", "'page.bin' is a web page"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_travel_is_refused_by_name(case: str, tmp_path: Path) -> None:
    """Before anything is published, with the way out."""
    location, told = CASES[case]
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(ONES.tobytes())
    (folder / "out.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "elsewhere").symlink_to(tmp_path)
    (folder / "dead.bin").symlink_to("nothing")
    (folder / "short.bin").write_bytes(ONES.tobytes()[:8])
    (folder / "empty.bin").touch()
    (folder / "pointer.bin").write_bytes(POINTER)
    (folder / "page.bin").write_bytes(b"<!DOCTYPE html><html>404")
    path = save(adding(pointing_to(location)), folder / "m.onnx")
    with pytest.raises(InvalidInput) as caught:
        pack_onnx(path)
    assert told in caught.value.message


def test_offsets_count_and_must_be_numbers(tmp_path: Path) -> None:
    """A tensor may lie anywhere in a shared file, but wholly in it."""
    (tmp_path / "w.bin").write_bytes(ONES.tobytes())
    path = save(adding(pointing_to("w.bin", offset="4")), tmp_path / "m.onnx")
    with pytest.raises(InvalidInput, match="16 bytes of 20"):
        pack_onnx(path)
    for offset in ("x", "-4"):
        save(adding(pointing_to("w.bin", offset=offset)), path)
        with pytest.raises(InvalidInput, match="no valid location"):
            pack_onnx(path)


def test_a_download_cache_of_links_is_followed(tmp_path: Path) -> None:
    """Model and weights are links into one folder, as the Hugging Face hub lays them out."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    snapshot.mkdir()
    save(adding(pointing_to("model.onnx_data")), blobs / "aa")
    (blobs / "bb").write_bytes(ONES.tobytes())
    for name, blob in (("model.onnx", "aa"), ("model.onnx_data", "bb")):
        (snapshot / name).symlink_to(f"../blobs/{blob}")
    assert sorted(pack_onnx(snapshot / "model.onnx").files) == ["model.onnx", "model.onnx_data"]


def test_weights_are_not_read_to_be_packed(tmp_path: Path) -> None:
    """6 GiB of them, none of which exists on the disk, and none in memory."""
    size = 6 << 30
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size)
    weight = pointing_to("w.bin", size)
    weight.dims[:] = [size // (4 * 4096), 4096]
    node = helper.make_node("Gather", ["w", "x"], ["y"])
    kind = onnx.TensorProto.INT64
    made = onnx_models.model([node], [value("x", ["n"], kind)], [value("y", ["n", 4096])], [weight])
    packed = pack_onnx(save(made, tmp_path / "m.onnx"))
    assert [list(spec.shape) for spec in packed.outputs] == [[-1, 4096]]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 < size


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "../{cache}/w.bin", "absolute"])
def test_a_worker_opens_no_file_that_is_not_of_the_version(
    place: str, publish: Publish, device: CpuDevice, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Published round the tool: neither from the working directory, nor the cache, nor the disk."""
    folders = [tmp_path / "here", tmp_path, tmp_path / "cache", tmp_path / "laid-out"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "w.bin").write_bytes(ONES.tobytes())
    monkeypatch.chdir(tmp_path / "here")
    location = str(tmp_path / "w.bin") if place == "absolute" else place.format(cache="../cache")
    path = save(adding(pointing_to(location)), tmp_path / "m.onnx")
    specs = [[TensorSpec(name, "FP32", [4])] for name in "xy"]
    local = publish(Packed("onnxruntime_onnx", {"model.onnx": path}, *specs))
    with pytest.raises(LoadFailed, match="external data") as caught:
        load(local.manifest, local.files, device, TRUSTED)
    assert str(tmp_path) not in caught.value.message


def test_a_blob_that_another_file_system_holds_is_copied(
    publish: Publish, device: CpuDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no hard link can be made the model is served all the same."""
    (tmp_path / "w.bin").write_bytes(ONES.tobytes())
    local = publish(pack_onnx(save(adding(pointing_to("w.bin")), tmp_path / "m.onnx")))

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    model = load(local.manifest, local.files, device, TRUSTED)
    np.testing.assert_array_equal(model.run({"x": ONES})["y"], 2 * ONES)


def test_what_a_killed_load_left_is_removed_by_a_later_one(
    publish: Publish, device: CpuDevice, tmp_path: Path
) -> None:
    """Its links would keep evicted blobs on the disk. That of a load under way stays."""
    old, new = (tmp_path / "laid-out" / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "model.onnx").touch()
    os.utime(old, (0, 0))
    (tmp_path / "w.bin").write_bytes(ONES.tobytes())
    local = publish(pack_onnx(save(adding(pointing_to("w.bin")), tmp_path / "m.onnx")))
    load(local.manifest, local.files, device, TRUSTED).unload()
    assert list((tmp_path / "laid-out").iterdir()) == [new]
