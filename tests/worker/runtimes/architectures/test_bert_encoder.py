"""The encoder computes BERT: compared with the formulas, written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shared.errors import InvalidInput
from worker.runtimes.architectures.bert_encoder import BertConfig, BertEncoder

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=9,
    layer_norm_eps=1e-12,
)
Arrays = dict[str, np.ndarray]


@pytest.fixture
def encoder() -> BertEncoder:
    generator = torch.Generator().manual_seed(0)
    encoder = BertEncoder(CONFIG).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return encoder


def linear(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + CONFIG.layer_norm_eps)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def bert(w: Arrays, ids: np.ndarray) -> np.ndarray:
    """One sentence [T] without padding to its unit vector, in float64."""
    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][0]
    x = norm(w, e + "LayerNorm", x + w[e + "position_embeddings.weight"][: len(ids)])
    for n in range(CONFIG.num_hidden_layers):
        layer = f"encoder.layer.{n}."
        q, k, v = (
            np.split(linear(w, f"{layer}attention.self.{part}", x), CONFIG.num_attention_heads, -1)
            for part in ("query", "key", "value")
        )
        mixed = []
        for head in range(CONFIG.num_attention_heads):
            scores = np.exp(q[head] @ k[head].T / math.sqrt(q[head].shape[-1]))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ v[head])
        attended = linear(w, f"{layer}attention.output.dense", np.concatenate(mixed, -1))
        x = norm(w, f"{layer}attention.output.LayerNorm", x + attended)
        grown = gelu(linear(w, f"{layer}intermediate.dense", x))
        x = norm(w, f"{layer}output.LayerNorm", x + linear(w, f"{layer}output.dense", grown))
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)


def embed(encoder: BertEncoder, ids: list[list[int]], mask: list[list[int]]) -> np.ndarray:
    with torch.inference_mode():
        return encoder(torch.tensor(ids), torch.tensor(mask)).numpy()


def test_the_encoder_computes_bert(encoder):
    """Against the formulas of the paper, with erf-GELU, mean pooling and L2 norm."""
    weights = {name: t.double().numpy() for name, t in encoder.state_dict().items()}
    ids = [3, 17, 0, 39, 8]
    got = embed(encoder, [ids], [[1] * 5])[0]
    np.testing.assert_allclose(got, bert(weights, np.array(ids)), rtol=1e-4, atol=1e-5)


def test_padding_does_not_change_an_answer(encoder):
    """A text gives the same vector alone and padded beside a longer one."""
    alone = embed(encoder, [[3, 4]], [[1, 1]])[0]
    padded = embed(encoder, [[3, 4, 9, 9], [1, 2, 3, 4]], [[1, 1, 0, 0], [1] * 4])[0]
    np.testing.assert_allclose(padded, alone, rtol=1e-4, atol=1e-6)


def test_a_row_of_padding_is_finite(encoder):
    """A row with nothing in it must not poison its batch with NaN."""
    out = embed(encoder, [[0, 0], [1, 2]], [[0, 0], [1, 1]])
    assert np.isfinite(out).all()
    assert np.linalg.norm(out[1]) == pytest.approx(1, abs=1e-5)


def test_too_many_tokens_are_the_callers_fault(encoder):
    """The limit is named."""
    with pytest.raises(InvalidInput, match="10 tokens, the model takes at most 9"):
        embed(encoder, [[1] * 10], [[1] * 10])
