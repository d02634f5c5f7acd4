"""A pickle planted anywhere in a model never runs: not when it is packed, not when it is loaded."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.errors import Corrupt, LoadFailed, WarmrouteError
from tests.worker.runtimes.formats import FORMATS, Local, Publish, pack_pt2
from worker.device.cpu import CpuDevice
from worker.packaging.program import pack_pt2 as pack_program_of_pt2
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)


class Planted:
    """Creates the file `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "pickle-ran"


def torch_pickle(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": Planted(mark)}, buffer)
    return buffer.getvalue()


def rewrite(path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> None:
    """Rewrite each member of a torch zip, and add `extra` members to its folder."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    root = next(iter(members)).partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, raw in members.items():
            new.writestr(name, change(name.partition("/")[2], raw))
        for name, raw in extra.items():
            new.writestr(f"{root}/{name}", raw)


def pickled_table(name: str, key: str, path_name: str) -> Callable[[str, bytes], bytes]:
    """A change that makes entry `key` of a table of tensors point to a pickle."""

    def change(member: str, raw: bytes) -> bytes:
        if not member.endswith(f"model_{name}_config.json") and not member.endswith(
            f"_{name}_config.json"
        ):
            return raw
        table = json.loads(raw)
        entry = next(iter(table["config"].values()), {"is_param": False, "tensor_meta": None})
        table["config"][key] = {**entry, "path_name": path_name, "use_pickle": True}
        return json.dumps(table).encode()

    return change


def test_the_planted_pickle_would_run(mark):
    """The recipe works: plain unpickling runs it, and torch.export's own loader does, too."""
    pickle.loads(pickle.dumps(Planted(mark)))
    assert mark.exists()


def test_torchs_own_loader_runs_a_pickle_in_the_example_inputs(mark, tmp_path):
    """Why that loader is not used: it falls back to unrestricted unpickling."""
    path = pack_pt2(tmp_path / "m").files["model.pt2"]
    poison = torch_pickle(mark)
    rewrite(path, lambda name, raw: poison if name.startswith("data/sample_inputs/") else raw, {})
    with contextlib.suppress(Exception):  # it may stumble over what came out, too late
        torch.export.load(path)
    assert mark.exists()


def _publish_poisoned(
    publish: Publish, tmp_path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]
) -> Local:
    packed = pack_pt2(tmp_path / "m")
    rewrite(packed.files["model.pt2"], change, extra)
    return publish(packed)


def test_a_pickle_in_the_example_inputs_of_a_pt2_is_never_opened(publish, device, mark, tmp_path):
    """The model loads and answers, the pickle lies there unread."""
    poison = torch_pickle(mark)
    local = _publish_poisoned(
        publish, tmp_path, lambda n, raw: poison if n.startswith("data/sample_inputs/") else raw, {}
    )
    model = load(local.manifest, local.files, device, TRUSTED)
    assert model.run(FORMATS["pytorch_pt2"].inputs(1))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("table", "folder", "path_name"),
    [
        ("weights", "data/weights/", "weight_99"),
        ("constants", "data/constants/", "tensor_99"),
        ("constants", "data/constants/", "custom_obj_0"),
        ("constants", "data/constants/", "opaque_obj_0"),
    ],
)
def test_pickled_tensors_and_objects_in_a_pt2_are_refused(
    table, folder, path_name, publish, device, mark, tmp_path
):
    """An archive whose table points to a pickle is refused, at load and at push, unopened."""
    extra = {folder + path_name: torch_pickle(mark)}
    local = _publish_poisoned(publish, tmp_path, pickled_table(table, "evil", path_name), extra)
    with pytest.raises(Corrupt, match="pickled object"):
        load(local.manifest, local.files, device, TRUSTED)
    with pytest.raises(Corrupt, match="pickled object"):
        pack_program_of_pt2(local.path("model.pt2"), tmp_path / "out")
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_the_older_pickled_form_of_a_pt2_is_refused(kind, publish, device, mark, tmp_path):
    """torch still unpickles `data/weights/<model>.pt` of older archives; here it is refused."""
    packed = pack_pt2(tmp_path / "m")
    with zipfile.ZipFile(packed.files["model.pt2"]) as archive:
        (model,) = (n for n in archive.namelist() if "/models/" in n)
    name = Path(model).stem
    rewrite(
        packed.files["model.pt2"],
        lambda n, raw: raw,
        {f"data/{kind}/{name}.pt": torch_pickle(mark)},
    )
    local = publish(packed)
    with pytest.raises(Corrupt, match="pickle"):
        load(local.manifest, local.files, device, TRUSTED)
    assert not mark.exists()


def test_a_pickle_in_a_torchscript_archive_does_not_run(publish, device, mark, tmp_path):
    """torch's C++ unpickler knows a fixed set of types and refuses the rest."""
    packed = FORMATS["pytorch_torchscript"].pack(tmp_path / "m", 0)
    poison = pickle.dumps(Planted(mark), protocol=2)
    rewrite(packed.files["model.pt"], lambda n, raw: poison if n == "data.pkl" else raw, {})
    local = publish(packed)
    with pytest.raises(LoadFailed):
        load(local.manifest, local.files, device, TRUSTED)
    assert not mark.exists()


def test_a_pickle_in_place_of_safetensors_does_not_run(program: Local, device, mark):
    """Weights that are a pickle, as .pt files are, do not parse as safetensors."""
    name = next(file for file in program.files if file.startswith("weights/"))
    for poison in (torch_pickle(mark), pickle.dumps(Planted(mark))):
        program.path(name).write_bytes(poison)
        with pytest.raises(Corrupt):
            load(program.manifest, program.files, device, TRUSTED)
    assert not mark.exists()


def test_a_pickle_inside_the_header_of_safetensors_does_not_run(program: Local, device, mark):
    """Metadata of a safetensors file is never interpreted."""
    name = next(file for file in program.files if file.startswith("weights/"))
    header = json.dumps({"__metadata__": {"x": torch_pickle(mark).hex()}}).encode()
    program.path(name).write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(Corrupt):
        load(program.manifest, program.files, device, TRUSTED)
    assert not mark.exists()


@pytest.mark.parametrize("platform", sorted(FORMATS))
def test_a_whole_model_file_that_is_a_pickle_is_refused(platform, publish, device, mark, tmp_path):
    """Whatever the platform, a model file that is nothing but a pickle fails to load."""
    packed = FORMATS[platform].pack(tmp_path / "m", 0)
    local = publish(packed)
    path = local.path(FORMATS[platform].main_file)
    for poison in (torch_pickle(mark), pickle.dumps(Planted(mark))):
        path.write_bytes(poison)
        with pytest.raises(WarmrouteError):
            load(local.manifest, local.files, CpuDevice(), TRUSTED)
    assert not mark.exists()


def test_what_push_publishes_holds_no_pickle(tmp_path, mark):
    """A program is JSON and safetensors: the example inputs of the archive are not in it."""
    path = pack_pt2(tmp_path / "m").files["model.pt2"]
    poison = torch_pickle(mark)
    rewrite(path, lambda n, raw: poison if n.startswith("data/sample_inputs/") else raw, {})
    packed = pack_program_of_pt2(path, tmp_path / "out")
    for name, file in packed.files.items():
        raw = file.read_bytes()
        assert poison not in raw
        if name == "program.json":
            json.loads(raw)
        else:
            assert not zipfile.is_zipfile(file)
            size = int.from_bytes(raw[:8], "little")
            json.loads(raw[8 : 8 + size])
    assert not mark.exists()
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path({mark!r}).touch()",
        "Symbol('s0') + __import__('pathlib').Path({mark!r}).touch()",
    ],
)
def test_expressions_in_a_program_are_never_evaluated(text, publish, device, mark, tmp_path):
    """Sizes and guards are strings in torch's format, which its own loader hands to eval."""
    local = publish(FORMATS["pytorch_program"].pack(tmp_path / "m", 0))
    program = json.loads(local.path("program.json").read_bytes())
    expression = text.format(mark=str(mark))
    program["guards_code"] = [expression]
    with pytest.raises(Corrupt, match="not understood"):
        _load_changed(local, program, publish, tmp_path)
    program["guards_code"] = []
    values = program["graph_module"]["graph"]["tensor_values"]
    values["x"]["sizes"][0] = {"as_expr": {"expr_str": expression}}
    _load_changed(local, program, publish, tmp_path)
    assert not mark.exists()


def _load_changed(local: Local, program: object, publish: Publish, tmp_path: Path) -> None:
    from worker.packaging.result import Packed

    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(program))
    manifest = local.manifest
    packed = Packed(
        manifest.platform,
        {**local.files, "program.json": changed},
        manifest.inputs,
        manifest.outputs,
    )
    again = publish(packed)
    load(again.manifest, again.files, CpuDevice(), TRUSTED)
