"""A GPU as a device. Skipped where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tests.worker.runtimes.formats import FORMATS, pack_program, publish
from worker.device.inventory import Gpu
from worker.runtimes.base import Trust, load
from worker.supervisor.gpu_claim import environment

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def device():
    """One, as in a worker: what a process takes before its first model is seen only once."""
    from worker.device.cuda import CudaDevice

    return CudaDevice()


def test_fp32_is_whole_by_default_and_rounded_on_request(device):
    """A product whose factors need more than TF32's ten bits, by a convolution and by a matrix."""
    from worker.device.cuda import set_tf32

    left = torch.full((256, 256), 1 + 2**-15)
    weight = left.reshape(256, 256, 1, 1)
    exact = left.double() @ left.double()
    errors = {}
    for allowed in (False, True):
        set_tf32(allowed)
        on = left.to(device.torch_device)
        image = on.reshape(1, 256, 256, 1)
        by_matrix = (on @ on).cpu().double()
        by_filter = torch.conv2d(image, weight.to(device.torch_device)).cpu().double()
        errors[allowed] = max(
            float((got.reshape(256, 256) - exact).abs().max()) for got in (by_matrix, by_filter)
        )
    set_tf32(False)
    assert errors[False] < 1e-3 < errors[True]


def test_a_weight_arrives_whole_through_small_chunks(device):
    """Larger than both staging buffers, of odd size, and of every kind of element."""
    from worker.device.staging import Staging

    staging = Staging(device.torch_device, chunk_bytes=1024)
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        source = torch.randint(0, 2, (37, 101)).to(dtype)
        target = staging.copy(source)
        assert target.device == device.torch_device
        assert torch.equal(target.cpu(), source)
    assert staging.copy(torch.ones(0, 3)).shape == (0, 3)
    assert staging.copy(torch.tensor(2.0)).item() == 2.0


def test_inputs_and_outputs_make_the_round_trip(device):
    """Upload, compute on the device's stream, download."""
    with device.computing():
        doubled = device.upload(torch.arange(6.0)) * 2
        (host,) = device.download([doubled.view(2, 3).t()])
    assert torch.equal(host, (torch.arange(6.0) * 2).view(2, 3).t())


def test_memory_is_counted(device):
    """NVML counts everything, the allocator what is ours."""
    before = device.allocated()
    held = device.place(torch.ones(8 << 20))
    assert device.allocated() - before >= 32 << 20
    assert device.reserved() >= device.allocated()
    assert device.memory_total() >= device.memory_used() >= device.allocated()
    assert 0 < device.overhead() < device.memory_total() // 4
    del held
    device.trim()
    assert device.allocated() == before


def test_what_other_processes_use_is_seen(device):
    """As it comes and as it goes; what this process uses is no other's."""
    before = device.others()
    held = device.place(torch.ones(64 << 20))
    assert abs(device.others() - before) < 64 << 20
    assert held.numel()
    code = (
        f"import torch; x = torch.ones(128 << 20, device={device.name!r});"
        "torch.cuda.synchronize(); print('there', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "there\n"
    assert device.others() - before >= 512 << 20
    other.communicate("\n", timeout=30)


def test_what_a_call_takes_while_it_runs_is_seen(device):
    """Though it is free again before the call returns."""
    from worker.device.allocated_peak import AllocatedPeak

    peak = AllocatedPeak(device.torch_device)
    before = peak.start()
    with device.computing():
        made = torch.ones(128 << 20, dtype=torch.uint8, device=device.torch_device)
        device.download([made[:1]])
        del made
    assert 128 << 20 <= peak.taken(before, kept=0) < 256 << 20


def test_memory_beside_torch_is_no_other_process_s(device, monkeypatch):
    """Where the driver does not list this process."""
    monkeypatch.setattr(device._nvml, "used_by", lambda pid: None)
    device.take_beside(-(1 << 30))
    before = device.others()
    device.take_beside(1 << 30)
    assert before - device.others() > 900 << 20


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


def test_a_device_is_known_by_class_and_uuid(device):
    """NVML and torch call it by one name."""
    from worker.device.inventory import list_gpus

    assert " " not in device.device_class
    assert device.uuid in [gpu.uuid for gpu in list_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))]


def test_host_copies_are_pinned_and_of_their_exact_size(device, tmp_path):
    """Views of them count as pinned too, so that their copies go straight to the GPU."""
    content = torch.randint(0, 256, ((3 << 20) + 7,), dtype=torch.uint8)
    copy = device.host(content)
    assert copy.is_pinned() and copy[8:1032].view(torch.float32).is_pinned()
    assert copy.untyped_storage().nbytes() == content.numel()
    assert torch.equal(copy, content)
    del copy
    again = device.host(content)  # the address may well be the same: it must be free again
    assert again.is_pinned()


def test_weights_make_the_round_trip_between_the_tiers(device, tmp_path):
    """Kept, dropped from disk, promoted, demoted, promoted again: the same bytes each time."""
    path = tmp_path / "blob"
    path.write_bytes(os.urandom(5 << 20))
    want = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    device.hosted.keep("a", path)
    path.unlink()
    for _ in range(3):
        content = device.hosted.get("a")
        parts = {str(n): content[n << 20 : (n + 1) << 20] for n in range(5)}
        placed = device.place_all(parts)
        assert all(tensor.device == device.torch_device for tensor in placed.values())
        assert torch.equal(torch.cat([t.cpu() for t in placed.values()]), want)
        del placed


def test_a_promotion_runs_beside_the_device_s_work(device):
    """The copy stream waits for no kernel of the compute stream."""
    source = device.host(torch.ones(64 << 20, dtype=torch.uint8))
    with device.computing():
        a = torch.ones(4096, 4096, device=device.torch_device)
        for _ in range(200):
            a = a @ a * 0
        busy = torch.cuda.Event()
        busy.record()
    placed = device.place(source)
    still_busy = not busy.query()
    device.synchronise()
    assert still_busy, "the copy waited for what was computed"
    assert int(placed.cpu().sum()) == 64 << 20


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


def test_a_full_device_is_told_apart(device):
    """The allocator's error becomes ours, for weights and for runs."""
    from worker.device.base import DeviceOutOfMemory
    from worker.runtimes import failures

    with pytest.raises(DeviceOutOfMemory), failures.of_model():
        torch.empty(1 << 60, dtype=torch.uint8, device=device.torch_device)
    content = torch.empty(device.memory_total() // 50, dtype=torch.uint8)
    torch.cuda.set_per_process_memory_fraction(0.01, device.torch_device)
    try:
        with pytest.raises(DeviceOutOfMemory):
            device.place(content)
    finally:
        content = torch.empty(device.memory_total() // 50, dtype=torch.uint8)
    torch.cuda.set_per_process_memory_fraction(1.0, device.torch_device)


def test_a_copy_over_the_end_of_a_registration_arrives_whole(device, monkeypatch):
    """Large memory is registered in pieces, and the driver copies from one of them at a time."""
    from worker.device import pinned

    monkeypatch.setattr(pinned.pieces, "__defaults__", (1 << 20,))
    content = torch.randint(0, 256, ((5 << 20) + 40,), dtype=torch.uint8)
    copy = device.host(content)
    parts = {"whole": copy, "part": copy[(1 << 19) : (3 << 20)], "wide": copy[8 : (4 << 20) + 8]}
    parts["wide"] = parts["wide"].view(torch.float64)
    for name, placed in device.place_all(parts).items():
        assert torch.equal(placed.cpu().view(torch.uint8), parts[name].view(torch.uint8)), name


def test_freed_weights_serve_the_next_load(device):
    """Whoever loads: all weights come from one pool of the allocator."""
    with device.loading():
        held = torch.ones(64 << 20, dtype=torch.uint8, device=device.torch_device)
    reserved = device.reserved()
    del held
    placed = device.place(torch.ones(64 << 20, dtype=torch.uint8))
    assert device.reserved() == reserved
    assert placed.numel()


def test_the_cache_is_returned_when_the_gpu_is_short_of_memory(device, monkeypatch):
    """And not before."""
    held = device.place(torch.ones(256 << 20, dtype=torch.uint8))
    del held
    assert device.relieve() == 0
    monkeypatch.setattr(type(device), "memory_used", lambda self: self.memory_total())
    assert device.relieve() >= 256 << 20


def test_a_wait_for_the_device_takes_no_core(device):
    """The thread sleeps until the event."""
    with device.computing():
        a = torch.ones(8192, 8192, device=device.torch_device)
        for _ in range(60):
            a = a @ a * 0
    before, started = time.thread_time(), time.monotonic()
    device.synchronise()
    waited, worked = time.monotonic() - started, time.thread_time() - before
    assert waited < 0.05 or worked < waited / 2


def test_a_process_that_is_shown_one_gpu_has_it_as_number_0(device):
    """As the parent of a worker shows it, by its UUID; its allocator's segments grow."""
    code = (
        "import torch; from worker.device.cuda import CudaDevice;"
        "d = CudaDevice(); x = d.place(torch.ones(1 << 20));"
        "print(torch.cuda.device_count(), d.uuid, torch.cuda.memory_snapshot()[0]['is_expandable'])"
    )
    env = {**os.environ, **environment(Gpu(0, device.uuid, ""), "", {})}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", device.uuid, "True"]
