"""Models on a GPU. Skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worker.runtimes.formats import FORMATS, pack_program, publish
from worker.runtimes.base import Trust, load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def device():
    """One, as in a worker."""
    from worker.device.cuda import CudaDevice

    return CudaDevice()


@pytest.mark.parametrize("platform", FORMATS)
def test_a_model_of_every_format_answers_as_on_a_cpu(device, tmp_path, platform):
    """Batches of several sizes, while the device has other work; nothing is left when it is
    freed."""
    if platform == "onnxruntime_onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("needs onnxruntime-gpu")
    form = FORMATS[platform]
    local = publish(form.pack(tmp_path / "packed", 0), tmp_path / "blobs" / "cache")
    before = device.allocated()
    model = load(local.manifest, local.files, device, Trust(code=True))
    for rows in (2, 48, 3):
        with device.computing():
            busy = device.upload(torch.ones(1024, 1024))
            for _ in range(20):
                busy = busy @ busy * 0
        inputs = form.inputs(rows)
        found = list(model.run(inputs).values())
        for have, want in zip(found, form.expected(inputs), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)
    model.unload()
    del model, busy
    assert device.allocated() <= before + (1 << 20)


def test_a_model_comes_back_from_host_memory(device, tmp_path):
    """With the answers it gave before, and its files gone."""
    local = publish(pack_program(tmp_path / "packed"), tmp_path / "cache")
    model = load(local.manifest, local.files, device, Trust(code=True))
    inputs = FORMATS["pytorch_program"].inputs(2)
    want = model.run(inputs)["y"]
    weights = [entry for entry in local.manifest.files if entry.name.startswith("weights/")]
    for entry in weights:
        device.hosted.keep(entry.sha256, local.files.pop(entry.name))
    model.unload()
    before = device.allocated()
    again = load(local.manifest, local.files, device, Trust(code=True))
    np.testing.assert_array_equal(again.run(inputs)["y"], want)
    again.unload()
    del again
    assert device.allocated() <= before
