"""What every platform must do: one suite over all of them, with a real model in each format."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from shared.errors import BlobMissing, InvalidInput, LoadFailed, ModelFailed, Untrusted
from shared.platforms import PLATFORMS
from tests.worker.runtimes.formats import FORMATS
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)


def test_every_platform_of_the_manifest_is_covered_here():
    """A platform that manifests may name and nobody tests does not exist."""
    assert set(FORMATS) == set(PLATFORMS)


def test_answers_equal_plain_torch_for_several_batch_sizes(model_format, publish, device, tmp_path):
    """A loaded model computes what the same weights compute in plain torch."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    for batch in (1, 2, 5):
        inputs = model_format.inputs(batch)
        outputs = model.run(inputs)
        assert list(outputs) == [spec.name for spec in local.manifest.outputs]
        for got, want in zip(outputs.values(), model_format.expected(inputs), strict=True):
            assert got.flags.c_contiguous
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_inputs_are_left_as_they_were(model_format, publish, device, tmp_path):
    """A caller may send the same arrays again, read-only ones too."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    inputs = model_format.inputs(2)
    for array in inputs.values():
        array.flags.writeable = False
    first, second = model.run(inputs), model.run(inputs)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_an_answer_does_not_change_when_the_model_runs_again(
    model_format, publish, device, tmp_path
):
    """Outputs may wait for their batch to be sent while the next batch already runs."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    answer = model.run(model_format.inputs(2))
    kept = {name: array.copy() for name, array in answer.items()}
    model.run(model_format.inputs(3))
    for name, array in kept.items():
        np.testing.assert_array_equal(answer[name], array)


def test_two_models_of_one_architecture_keep_their_own_weights(
    model_format, publish, device, tmp_path
):
    """What is shared between variants never mixes them up."""
    models = []
    for seed in (0, 1):
        local = publish(model_format.pack(tmp_path / f"packed{seed}", seed), name=f"m{seed}")
        models.append(load(local.manifest, local.files, device, TRUSTED))
    inputs = model_format.inputs(2)
    for seed in (1, 0):
        for got, want in zip(
            models[seed].run(inputs).values(), model_format.expected(inputs, seed), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_second_copy_outlives_the_first(model_format, publish, device, tmp_path):
    """Unloading one copy leaves another of the same model alone."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    first = load(local.manifest, local.files, device, TRUSTED)
    second = load(local.manifest, local.files, device, TRUSTED)
    inputs = model_format.inputs(2)
    want = first.run(inputs)
    first.unload()
    del first
    gc.collect()
    for name, got in second.run(inputs).items():
        np.testing.assert_array_equal(got, want[name])


def test_unload_frees_the_model(model_format, publish, device, tmp_path):
    """After unload nothing of this copy is reachable, though its owner still holds the husk."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    model.run(model_format.inputs(1))
    held = getattr(model, "_forward", None) or model._session
    gone = weakref.ref(held)
    del held
    model.unload()
    gc.collect()
    assert gone() is None
    with pytest.raises(ModelFailed, match="this is a bug"):
        model.run(model_format.inputs(1))
    assert not [key for key in device.shared.alive() if key.startswith("blob:")]


def test_what_a_model_holds_is_counted(model_format, publish, device, tmp_path):
    """Own and shared bytes together cover the weights, and no blob is counted twice."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    weights = {f.sha256: f.size for f in local.manifest.files if f.name != "program.json"}
    assert model.bytes_resident > 0
    assert model.bytes_resident + sum(model.shared.values()) >= sum(weights.values())
    for sha256, size in model.shared.items():
        assert weights.get(sha256, size) == size


def test_formats_that_can_run_code_are_refused_unread_without_trust(
    model_format, publish, device, tmp_path
):
    """Without the operator's word only data is loaded, and the refusal names the setting."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    if PLATFORMS[local.manifest.platform].trust == "data":
        load(local.manifest, local.files, device, Trust())
        return
    unreadable = dict.fromkeys(local.files, Path("/nonexistent"))
    with pytest.raises(Untrusted, match="WARMROUTE_TRUST_CODE"):
        load(local.manifest, unreadable, device, Trust())


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty"])
def test_a_damaged_file_is_a_clear_refusal(model_format, damage, publish, device, tmp_path):
    """A broken model fails its load with a cause that names no path of this machine."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    path = local.path(model_format.main_file)
    raw = path.read_bytes()
    path.write_bytes(
        {"truncated": raw[: len(raw) // 2], "noise": b"\x93" * 999, "empty": b""}[damage]
    )
    with pytest.raises(LoadFailed) as caught:
        load(local.manifest, local.files, device, TRUSTED)
    assert str(tmp_path) not in caught.value.message
    assert len(caught.value.message) > 10


def test_a_file_that_is_not_in_the_cache_is_named(model_format, publish, device, tmp_path):
    """The loader says which file of the manifest it was not given."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    files = {k: v for k, v in local.files.items() if k != model_format.main_file}
    with pytest.raises(BlobMissing, match=model_format.main_file):
        load(local.manifest, files, device, TRUSTED)


def test_a_failure_of_the_model_carries_its_own_words(model_format, publish, device, tmp_path):
    """What the model says about a wrong shape reaches the caller, and the model lives on."""
    local = publish(model_format.pack(tmp_path / "packed", 0))
    model = load(local.manifest, local.files, device, TRUSTED)
    ((name, array),) = model_format.inputs(2).items()
    with pytest.raises((ModelFailed, InvalidInput)) as caught:
        model.run({name: array[..., :-7]})
    assert len(caught.value.message) <= 600
    assert model.run(model_format.inputs(1))
