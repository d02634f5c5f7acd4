"""Versions of one model, good ones and such as no worker can load, and callers who never stop."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from shared.manifest import FileEntry, Manifest, TensorSpec
from shared.repository import Repository, publish
from warmroute import Client, ClientError
from worker.packaging.architecture import pack_architecture
from worker.runtimes.architectures.bert_encoder import BertConfig, BertEncoder

TINY: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 12,
}  # fmt: skip
LARGE = TINY | {"vocab_size": 400_000}  # 12 MiB: more than the budget of the stack
HALF = TINY | {"vocab_size": 160_000}  # 5 MiB: the budget holds one
TOKENS = {
    "input_ids": np.array([[1, 2, 3, 4]], np.int64),
    "attention_mask": np.array([[1, 1, 1, 0]], np.int64),
}


@dataclass
class Pushes:
    """Publishes versions of `name`: an encoder whose weights a version's number decides, which is
    data, so that it may be loaded where code may not."""

    folder: Path
    name: str

    sizes: dict[str, Any] = field(default_factory=lambda: TINY)

    def answer(self, version: int) -> np.ndarray[Any, Any]:
        """What a good version must say to TOKENS."""
        with torch.inference_mode():
            said = _encoder(version, self.sizes)(*(torch.from_numpy(t) for t in TOKENS.values()))
        return np.asarray(said.numpy())

    def good(self, repository: Repository, version: int) -> None:
        """A version that works."""
        self._publish(repository, version, self.sizes)

    def corrupt(self, repository: Repository, version: int) -> None:
        """Its file is no model."""
        self._publish(repository, version, TINY, spoil=b"this is no model")

    def wrong_outputs(self, repository: Repository, version: int) -> None:
        """It does not give what its manifest says."""
        outputs = [TensorSpec("embedding", "FP32", [-1, 99])]
        sizes = TINY | {"max_position_embeddings": 12 + version}  # a program of its own
        self._publish(repository, version, sizes, outputs=outputs)

    def untrusted(self, repository: Repository, version: int) -> None:
        """Its format can run code."""
        self._publish(repository, version, TINY, platform="pytorch_torchscript", parameters={})

    def too_large(self, repository: Repository, version: int) -> None:
        """No worker's budget holds it."""
        self._publish(repository, version, LARGE)

    def no_blob(self, repository: Repository, version: int) -> None:
        """Its file never arrived."""
        missing = hashlib.sha256(f"{version}".encode()).hexdigest()
        manifest, files = self._packed(version, TINY)
        entries = [FileEntry(name, missing, 1000) for name in files]
        raw = _changed(manifest, files=entries).encode()
        repository.put_manifest(self.name, version, raw)

    def unreadable(self, repository: Repository, version: int) -> None:
        """Its manifest is none."""
        repository.put_manifest(self.name, version, b'{"format": 1, "name"')

    @property
    def bad(self) -> list[Callable[[Repository, int], None]]:
        """Every kind of a version that no worker can load."""
        return [
            self.corrupt, self.wrong_outputs, self.untrusted, self.too_large, self.no_blob,
            self.unreadable,
        ]  # fmt: skip

    def _publish(
        self, repository: Repository, version: int, sizes: dict[str, Any], spoil: bytes = b"",
        **changes: Any,
    ) -> None:  # fmt: skip
        manifest, files = self._packed(version, sizes)
        for file in files.values() if spoil else ():
            file.write_bytes(spoil * version)
        publish(repository, _changed(manifest, **changes), files)

    def _packed(self, version: int, sizes: dict[str, Any]) -> tuple[Manifest, dict[str, Path]]:
        folder = self.folder / f"{self.name}-{version}"
        folder.mkdir()
        state = _encoder(version, sizes).state_dict()
        packed = pack_architecture("bert_encoder", sizes, state, folder)
        manifest = Manifest(
            name=self.name, version=version, platform=packed.platform, inputs=packed.inputs,
            outputs=packed.outputs, parameters=packed.parameters, files=[],
        )  # fmt: skip
        return manifest, dict(packed.files)


def _changed(manifest: Manifest, **changes: Any) -> Manifest:
    fields = {name: getattr(manifest, name) for name in Manifest.__struct_fields__}
    return Manifest(**{**fields, **changes})


def _encoder(version: int, sizes: dict[str, Any]) -> BertEncoder:
    random = torch.Generator().manual_seed(version)
    encoder = BertEncoder(BertConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3, generator=random)
    return encoder


class Callers:
    """Threads that ask for a model by its name, each time at once again, and try nothing twice.

    `answered` counts versions that answered; `wrong` what failed, or was another's answer."""

    def __init__(self, url: str, pushes: Pushes, threads: int = 4) -> None:
        self.answered: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._client = Client(url, retries=0, timeout=30.0)
        self._pushes = pushes
        self._right: dict[int, np.ndarray[Any, Any]] = {}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def newest(self) -> int:
        """The version that answers now."""
        with suppress(ClientError):
            return self._once()
        return 0

    def _ask(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                self.answered[self._once()] += 1
            except (ClientError, AssertionError) as error:
                self.wrong.append(f"{error}")
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)

    def _once(self) -> int:
        said = self._client.infer(self._pushes.name, TOKENS)
        version = int(said.version or 0)
        if version not in self._right:
            self._right[version] = self._pushes.answer(version)
        right = np.allclose(said["embedding"], self._right[version], rtol=1e-3, atol=1e-4)
        assert right, f"version {version} says {said['embedding']}"
        return version
