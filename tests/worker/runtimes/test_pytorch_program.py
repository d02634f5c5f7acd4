"""Programs are read once and shared; variants come and go while others run."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from shared.errors import Corrupt, LoadFailed
from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import (
    FORMATS,
    WIDTH,
    Local,
    Publish,
    pack_program,
    pack_pt2,
)
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)
PROGRAM = FORMATS["pytorch_program"]


def variants(publish: Publish, tmp_path: Path, count: int) -> list[Local]:
    return [publish(pack_program(tmp_path / f"v{n}", n), name=f"v{n}") for n in range(count)]


def programs(device) -> list[str]:
    return [key for key in device.shared.alive() if key.startswith("program:")]


def test_variants_share_one_program(publish, device, tmp_path):
    """Three fine-tunes, one graph; each holds its own weights."""
    models = [load(v.manifest, v.files, device, TRUSTED) for v in variants(publish, tmp_path, 3)]
    assert len(programs(device)) == 1
    shared = set.intersection(*(set(model.shared) for model in models))
    assert shared == {programs(device)[0].removeprefix("program:")}


def test_a_program_outlives_its_last_model(publish, device, tmp_path):
    """An architecture that comes back finds its graph; its weights were let go."""
    (variant,) = variants(publish, tmp_path, 1)
    model = load(variant.manifest, variant.files, device, TRUSTED)
    model.unload()
    del model
    gc.collect()
    assert len(programs(device)) == 1
    assert not [key for key in device.shared.alive() if key.startswith("blob:")]


def test_a_pt2_shares_the_program_of_its_fine_tunes(publish, device, tmp_path):
    """The same graph pushed as an archive and as a program is one graph in memory."""
    for pack in (pack_program, pack_pt2):
        local = publish(pack(tmp_path / pack.__name__), name=pack.__name__)
        load(local.manifest, local.files, device, TRUSTED)
    assert len(programs(device)) == 1


def test_loading_variants_never_disturbs_a_running_one(publish, device, tmp_path):
    """One thread runs a model while another loads and unloads its siblings."""
    first, *others = variants(publish, tmp_path, 4)
    model = load(first.manifest, first.files, device, TRUSTED)
    inputs = PROGRAM.inputs(2)
    want = model.run(inputs)["y"]
    done = threading.Event()
    failures: list[BaseException] = []

    def keep_loading() -> None:
        try:
            for _ in range(15):
                for other in others:
                    load(other.manifest, other.files, device, TRUSTED).unload()
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=keep_loading)
    thread.start()
    runs = 0
    while not done.is_set() or runs < 20:
        np.testing.assert_array_equal(model.run(inputs)["y"], want)
        runs += 1
    thread.join()
    assert failures == []


def test_a_program_that_is_not_the_named_one_is_refused(program: Local, device):
    """Trust in a program is trust in its hash, so the hash is checked where it is used."""
    path = program.path("program.json")
    path.write_bytes(path.read_bytes() + b" ")
    trust = Trust(programs=frozenset({program.manifest.file("program.json").sha256}))
    with pytest.raises(Corrupt, match="not the one that the manifest names"):
        load(program.manifest, program.files, device, trust)


def test_a_trusted_program_loads_from_an_untrusted_repository(program: Local, device):
    """An operator may allow one graph for all, whatever weights come with it."""
    trust = Trust(programs=frozenset({program.manifest.file("program.json").sha256}))
    model = load(program.manifest, program.files, device, trust)
    assert model.run(PROGRAM.inputs(1))["y"].shape == (1, 3)


def swap(local: Local, **changes: object) -> Local:
    import msgspec

    return Local(msgspec.structs.replace(local.manifest, **changes), local.files)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([TensorSpec("x", "FP64", [-1, WIDTH])], "'x' is FP64.*takes FP32"),
        ([TensorSpec("x", "FP32", [WIDTH])], "takes FP32"),
        ([TensorSpec(n, "FP32", [-1, WIDTH]) for n in "xy"], "2 inputs, the program takes 1"),
        ([TensorSpec("x", "BYTES", [-1, WIDTH])], "'x' is BYTES"),
    ],
)
def test_a_manifest_that_misdescribes_its_program_is_refused(inputs, reason, program, device):
    """Found at load, not at the first request."""
    wrong = swap(program, inputs=inputs)
    with pytest.raises(Corrupt, match=reason):
        load(wrong.manifest, wrong.files, device, TRUSTED)


def test_weights_that_are_missing_or_misshapen_are_refused(
    program: Local, publish, device, tmp_path
):
    """The tensor is named."""
    without = [f for f in program.manifest.files if f.name != "weights/small.safetensors"]
    missing = swap(program, files=without)
    with pytest.raises(Corrupt, match="is missing"):
        load(missing.manifest, missing.files, device, TRUSTED)
    from safetensors.torch import load_file, save_file

    path = program.path("weights/small.safetensors")
    tensors = load_file(path)
    tensors["head.bias"] = tensors["head.bias"][:2]
    save_file(tensors, path)
    with pytest.raises(LoadFailed, match=r"'head.bias' is torch.float32 \[2\]"):
        load(program.manifest, program.files, device, TRUSTED)
