"""Models of a few lines, honest ones and such as mix the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]

WEIGHTS = np.random.default_rng(7).standard_normal((5, 5)).astype("<f4")


def softmax(x: Array, axis: int) -> Array:
    raised = np.exp(x - x.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)


def recurrent(x: Array) -> Array:
    """Its first dimension is time."""
    state, states = np.zeros(x.shape[1:], x.dtype), []
    for step in x:
        state = np.tanh(0.5 * state + step)
        states.append(state)
    return np.stack(states)


def quantised(x: Array) -> Array:
    """Activations as 8 bits, on a scale taken of the whole batch."""
    scale = max(float(np.abs(x).max()) / 127, 1e-9)
    return (np.round(x / scale) * scale @ WEIGHTS).astype(x.dtype)


def doubles_dropped(x: Array) -> Array:
    kept = [row for n, row in enumerate(x) if not any((row == other).all() for other in x[:n])]
    return np.stack(kept)


def normalised(x: Array) -> Array:
    """Its rows show only where they are small what all were multiplied with."""
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def past(size: int, mixing: Function) -> Function:
    return lambda x: mixing(x) if len(x) >= size else x


MIXING: dict[str, Function] = {
    "drops rows": lambda x: x[x[:, 0] > 0],
    "drops large rows": lambda x: x[np.abs(x).max(1) < 5],
    "one row of all": lambda x: x.mean(0, keepdims=True),
    "transposed if square": lambda x: x.T if x.shape[0] == x.shape[1] else x,
    "transposed if square, of the same size": lambda x: (
        np.ascontiguousarray(x.T) if x.shape[0] == x.shape[1] else x + 0
    ),
    "sorted": lambda x: np.sort(x, 0),
    "whitened": lambda x: x - x.mean(0, keepdims=True),
    "rotated": lambda x: np.concatenate([x[1:], x[:1]]),
    "reversed": lambda x: x[::-1].copy(),
    "batch norm in training": lambda x: (x - x.mean(0)) / (x.std(0) + 1e-3),
    "softmax over rows": lambda x: softmax(x, 0),
    "running sum": lambda x: np.cumsum(x, 0),
    "running sum from the end": lambda x: np.cumsum(x[::-1], 0)[::-1].copy(),
    "attention across rows": lambda x: softmax(x @ x.T, 1) @ x,
    "time first": recurrent,
    "scaled by the largest": lambda x: x / (np.abs(x).max() + 1e-6),
    "clipped at the batch's mean": lambda x: np.minimum(x, x.mean()),
    "doubles dropped": doubles_dropped,
    "sorted unique": lambda x: np.unique(x, axis=0),
    "best rows": lambda x: x[np.argsort(-x[:, 0])[:2]],
    "times the size": lambda x: x * x.shape[0],
    "times the size, normalised": lambda x: normalised(x * x.shape[0]),
    "plus the size": lambda x: x + np.float32(x.shape[0] / 10),
    "mean kept": lambda x: np.broadcast_to(x.mean(0, keepdims=True), x.shape).copy(),
    "eight bits of a common scale": quantised,
    "a little of the others": lambda x: x + np.float32(1e-4) * x.mean(0),
    "from four rows on": past(4, lambda x: np.sort(x, 0)),
    "only beside large rows": lambda x: x - x.mean(0) if np.abs(x).max() > 20 else x,
    "only beside huge rows": lambda x: x - x.mean(0) if np.abs(x).max() > 1000 else x,
    "on one of two scales": lambda x: x / np.float32(65535 if x.max() > 255 else 255),
    "only beside negative rows": lambda x: x + (x.sum(1) < -1).any().astype("<f4"),
    "padded to the longest": lambda x: x[:, : 1 + int((np.abs(x) > 1).sum(1).max()) % 5] + 0,
    "flattened": lambda x: x.reshape(-1, 1) + 0,
    "the same row for all": lambda x: np.repeat(x[:1], len(x), 0),
    "the last row": lambda x: x + x[-1:],
}

HONEST: dict[str, Function] = {
    "itself": lambda x: x,
    "a layer": lambda x: np.tanh(x @ WEIGHTS),
    "softmax within a row": lambda x: softmax(x, 1),
    "scaled within a row": lambda x: x / (np.abs(x).max(1, keepdims=True) + 1e-6),
    "sum over a row": lambda x: x.sum(1, keepdims=True),
    "NaN for some": lambda x: np.sqrt(np.where(x < -5, np.nan, np.abs(x))),
    "infinite for some": lambda x: np.where(x == 0, np.inf, x).astype(x.dtype),
    "nothing of each row": lambda x: x[:, :0],
    "one number a row": lambda x: x[:, 0],
    "half precision inside": lambda x: (x.astype("<f2") @ WEIGHTS.astype("<f2")).astype("<f4"),
    "rounds otherwise in a batch": lambda x: (x @ WEIGHTS) * np.float32(1 + 1e-5 * (len(x) > 1)),
}
