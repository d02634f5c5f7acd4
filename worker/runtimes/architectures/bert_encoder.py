"""`bert_encoder`: a BERT text encoder with mean pooling and L2 normalisation.

Covers the MiniLM family of sentence encoders (all-MiniLM-L6-v2 is 6 layers of 384). Parameter
names are those of Hugging Face's `BertModel`, so such a state dict is taken as it is.
"""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import InvalidInput
from shared.manifest import TensorSpec

# Bounds against a manifest that would have a skeleton of a million layers built.
Few = Annotated[int, Meta(ge=1, le=256)]
Width = Annotated[int, Meta(ge=1, le=1 << 16)]
Rows = Annotated[int, Meta(ge=1, le=1 << 22)]


class BertConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the encoder; the defaults are all-MiniLM-L6-v2's."""

    vocab_size: Rows = 30522
    hidden_size: Width = 384
    num_hidden_layers: Few = 6
    num_attention_heads: Few = 12
    intermediate_size: Width = 1536
    max_position_embeddings: Rows = 512
    type_vocab_size: Width = 2
    layer_norm_eps: float = 1e-12


def inputs(config: BertConfig) -> list[TensorSpec]:
    """Token ids, and 1 for each that is not padding."""
    return [
        TensorSpec("input_ids", "INT64", [-1, -1], minimum=0, maximum=config.vocab_size - 1),
        TensorSpec("attention_mask", "INT64", [-1, -1]),
    ]


def outputs(config: BertConfig) -> list[TensorSpec]:
    """One unit vector per text."""
    return [TensorSpec("embedding", "FP32", [-1, config.hidden_size])]


def _table(rows: int, width: int) -> nn.Embedding:
    # Not filled: normal_() on a tensor without memory imports half of torch (0.8 s, 70 MB).
    empty = torch.empty(rows, width)
    table: nn.Embedding = nn.Embedding.from_pretrained(empty)  # type: ignore[no-untyped-call]
    return table


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = _table(config.vocab_size, width)
        self.position_embeddings = _table(config.max_position_embeddings, width)
        self.token_type_embeddings = _table(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight
        length = input_ids.shape[1]
        # A number only when it runs eagerly; tracers and exporters pass a symbol.
        if isinstance(length, int) and length > positions.shape[0]:
            raise InvalidInput(f"{length} tokens, the model takes at most {positions.shape[0]}")
        # One sentence per input: every token is of type 0.
        fixed = positions[:length] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(input_ids) + fixed)  # type: ignore[no-any-return]


class _SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).flatten(2)


class _AddAndNorm(nn.Module):
    def __init__(self, given: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(given, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(hidden) + residual)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _AddAndNorm(config.hidden_size, config)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        return self.output(self.self(hidden, bias), hidden)  # type: ignore[no-any-return]


class _Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.dense(hidden))


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = _AddAndNorm(config.intermediate_size, config)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        attended = self.attention(hidden, bias)
        return self.output(self.intermediate(attended), attended)  # type: ignore[no-any-return]


class _Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class BertEncoder(nn.Module):
    """int64 `input_ids` and `attention_mask` [B, T] to unit vectors, fp32 [B, hidden_size]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"hidden_size {config.hidden_size} does not divide into "
                f"{config.num_attention_heads} heads"
            )
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embeddings(input_ids)
        mask = attention_mask.to(hidden.dtype)
        # The lowest finite number, not -inf: a row of nothing but padding must not become NaN.
        bias = (1.0 - mask)[:, None, None, :] * torch.finfo(hidden.dtype).min
        for layer in self.encoder.layer:
            hidden = layer(hidden, bias)
        weights = mask.unsqueeze(-1)
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return F.normalize(pooled, dim=1)
