"""BERT sentence encoder (all-MiniLM-L6-v2): 6 layers, mean pooling, unit length.

State dict names are those of the published `model.safetensors`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 30522
POSITIONS = 512
WIDTH = 384
INNER = 1536
HEADS = 12
LAYERS = 6
EPSILON = 1e-12


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        first_type = self.token_type_embeddings.weight[0]
        words = self.word_embeddings(input_ids) + first_type
        hidden: Tensor = self.LayerNorm(words + self.position_embeddings(positions))
        return hidden


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            projection(hidden).view(*hidden.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :]
        )
        return attended.transpose(1, 2).flatten(-2)


class Output(nn.Module):
    """Projection back to the width, residual, layer norm."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        hidden: Tensor = self.LayerNorm(self.dense(inner) + residual)
        return hidden


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(), "output": Output(WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = Output(INNER)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = self.attention["output"](self.attention["self"](hidden, mask), hidden)
        inner = functional.gelu(self.intermediate["dense"](hidden))
        after: Tensor = self.output(inner, hidden)
        return after


class SentenceEncoder(nn.Module):
    """`input_ids`, `attention_mask` int64 [B, T] -> float32 [B, 384] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embeddings(input_ids)
        for layer in self.encoder["layer"].children():
            hidden = layer(hidden, attention_mask.bool())
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return functional.normalize(mean, dim=-1)
