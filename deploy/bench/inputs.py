"""The inputs that are sent, the same for ours and the reference."""

from __future__ import annotations

import zlib

import numpy as np

from warmroute.framing import Array

TOKENS = 16  # a short sentence
FIRST, LAST = 101, 102  # what BERT's tokenizer puts around every sentence
WORDS = (1000, 20_000)  # whole words of its vocabulary


def sentence(name: str, tokens: int = TOKENS) -> dict[str, Array]:
    """One sentence of so many tokens as MiniLM takes it, another for each `name`."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    ids = random.integers(*WORDS, tokens, np.int64)
    ids[0], ids[-1] = FIRST, LAST
    return {
        "input_ids": ids.reshape(1, tokens),
        "attention_mask": np.ones((1, tokens), np.int64),
    }


def noise(rows: int, columns: int, seed: int) -> Array:
    """A matrix of float32 noise."""
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)
