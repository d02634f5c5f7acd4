"""Weights for a known architecture: checked when packed, data when served."""

from __future__ import annotations

import pytest
import torch

from shared.errors import Corrupt, LoadFailed
from tests.worker.runtimes.formats import onet
from worker.packaging.architecture import pack_architecture
from worker.runtimes.architectures.bert_encoder import BertConfig, BertEncoder
from worker.runtimes.base import Trust, load

SMALL = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


def bert_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    encoder = BertEncoder(BertConfig(**SMALL))
    return {name: torch.randn(t.shape) * 0.2 for name, t in encoder.state_dict().items()}


def test_sizes_are_written_down_with_the_defaults(tmp_path):
    """A later change of a default must not change a published model."""
    packed = pack_architecture("bert_encoder", SMALL, bert_state(), tmp_path)
    assert packed.platform == "pytorch_architecture"
    assert packed.parameters["architecture"] == "bert_encoder"
    assert packed.parameters["arch.hidden_size"] == 8
    assert packed.parameters["arch.type_vocab_size"] == 2
    assert [spec.name for spec in packed.inputs] == ["input_ids", "attention_mask"]
    assert list(packed.outputs[0].shape) == [-1, 8]


def test_tensors_the_architecture_does_not_need_are_left_out(publish, device, tmp_path):
    """Published state dicts hold a pooler and position numbers that nobody reads."""
    state = bert_state()
    extra = {"pooler.dense.bias": torch.ones(8), "embeddings.position_ids": torch.arange(12)[None]}
    local = publish(pack_architecture("bert_encoder", SMALL, {**state, **extra}, tmp_path / "p"))
    assert load(local.manifest, local.files, device, Trust())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoder.layer.0.output.dense.bias": None}, "Missing.*layer.0.output.dense.bias"),
        ({"stranger": torch.ones(1)}, "Unexpected.*stranger"),
        ({"encoder.layer.0.output.dense.bias": torch.ones(9)}, "size mismatch"),
    ],
)
def test_weights_that_do_not_fit_are_refused_when_packed(change, reason, tmp_path):
    """A missing, strange or wrongly shaped tensor is named before anything is uploaded."""
    state = {k: v for k, v in {**bert_state(), **change}.items() if v is not None}
    with pytest.raises(Corrupt, match=reason):
        pack_architecture("bert_encoder", SMALL, state, tmp_path)


def test_an_unknown_architecture_is_refused_with_those_there_are(tmp_path):
    """Names come from an allow-list."""
    with pytest.raises(LoadFailed, match=r"'os\.system' is unknown.*bert_encoder"):
        pack_architecture("os.system", {}, {}, tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": "8"},
        {"hidden_size": -1},
        {"hidden_sise": 8},
        {"layer_norm_eps": True},
    ],
)
def test_sizes_that_make_no_sense_are_refused(config, tmp_path):
    """A manifest cannot have a million layers built, nor pass what is no size."""
    with pytest.raises(Corrupt, match="architecture bert_encoder"):
        pack_architecture("bert_encoder", {**SMALL, **config}, bert_state(), tmp_path)


def test_heads_must_divide_the_width(tmp_path):
    """What the sizes mean together is checked, too."""
    with pytest.raises(LoadFailed, match="does not divide"):
        pack_architecture(
            "bert_encoder", {**SMALL, "num_attention_heads": 3}, bert_state(), tmp_path
        )


def test_a_manifest_with_wrong_sizes_does_not_load(publish, device, tmp_path):
    """Sizes in the manifest that do not fit the weights fail the load with the tensor's name."""
    packed = pack_architecture("bert_encoder", SMALL, bert_state(), tmp_path / "p")
    packed.parameters["arch.intermediate_size"] = 17
    local = publish(packed)
    with pytest.raises(Corrupt, match="intermediate"):
        load(local.manifest, local.files, device, Trust())


def test_models_of_one_architecture_share_weights_but_no_module(publish, device, tmp_path):
    """Two copies read the same memory, and each has its own module."""
    local = publish(pack_architecture("mtcnn_onet", {}, onet().state_dict(), tmp_path / "p"))
    first, second = (load(local.manifest, local.files, device, Trust()) for _ in "ab")
    modules = [next(c.cell_contents for c in m._forward.__closure__ or ()) for m in (first, second)]
    pointers = [next(module.parameters()).data_ptr() for module in modules]
    assert modules[0] is not modules[1]
    assert pointers[0] == pointers[1]
