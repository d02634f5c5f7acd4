"""The models of the simulation: their bytes, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.manifest import Batching, FileEntry, Manifest, TensorSpec

POISON = -4096.0  # a value that ends the process it runs in
BAD = -1.0  # a value that the model refuses
MB = 1_000_000


@dataclass(frozen=True)
class Kind:
    """A model: its number, its bytes, and what is wrong with it."""

    name: str
    number: int
    bytes: int
    wrong: str = ""  # 'load': cannot be loaded; 'runs': every run ends its process
    version: int = 1

    def answer(self, value: float) -> float:
        """What it must say."""
        return 2 * value + self.number

    @property
    def is_sound(self) -> bool:
        """Whether any worker can load and run it."""
        return not self.wrong and self.bytes <= BUDGET

    def manifest(self) -> Manifest:
        """As published. Large models run one request at a time."""
        digest = f"{self.number:064x}"
        return Manifest(
            name=self.name, version=self.version, platform="onnxruntime_onnx",
            inputs=[TensorSpec("x", "FP32", [-1, 2])], outputs=[TensorSpec("y", "FP32", [-1, 2])],
            files=[FileEntry("model.onnx", digest, self.bytes)],
            batching=Batching(max_size=4),
        )  # fmt: skip


KINDS = {
    kind.name: kind
    for kind in (
        Kind("small", 1, 20 * MB),
        Kind("medium", 2, 40 * MB),
        Kind("big", 3, 60 * MB),
        Kind("broken", 4, 20 * MB, "load"),
        Kind("huge", 5, 900 * MB),
        Kind("deadly", 6, 20 * MB, "runs"),
    )
}
BUDGET = 100 * MB


def kind_of(name: str, version: int) -> Kind:
    """A version of a model: the second one of each cannot be loaded."""
    first = KINDS[name]
    if version == 1:
        return first
    return replace(first, number=first.number + 100, wrong="load", version=version)
