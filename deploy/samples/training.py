"""Fine-tunes the MiniLM encoder for a few seconds on a few sentences. Embeddings stay as they are.

One thread and no randomness: the result is the same each time on one kind of machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deploy.samples.nets.bert import SentenceEncoder
from deploy.samples.sample import Tensors

STEPS = 12
RATE = 5e-5
TEMPERATURE = 0.2


def separate(base: dict[str, Tensor], sentences: Tensors, boundary: int) -> dict[str, Tensor]:
    """`base` tuned so that the rows before `boundary` come together, and so do those after it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _tune(base, sentences, boundary)
    finally:
        torch.set_num_threads(threads)


def _tune(base: dict[str, Tensor], sentences: Tensors, boundary: int) -> dict[str, Tensor]:
    model = SentenceEncoder().train()
    model.load_state_dict(base)
    model.embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.encoder.parameters(), lr=RATE)
    rows = [torch.from_numpy(sentences[name]) for name in ("input_ids", "attention_mask")]
    second = torch.arange(len(rows[0])) >= boundary
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = _loss(model(*rows), second)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def _loss(vectors: Tensor, group: Tensor) -> Tensor:
    """Supervised contrastive loss: each row should find its group's others before the rest."""
    itself = torch.eye(len(vectors), dtype=torch.bool)
    cosines = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, -1e9)
    mates = (group[:, None] == group[None, :]) & ~itself
    chosen = torch.where(mates, cosines.log_softmax(1), 0.0)
    return -(chosen.sum(1) / mates.sum(1)).mean()
