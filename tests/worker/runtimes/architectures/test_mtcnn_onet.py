"""O-Net has the shapes, names and order of its published weights."""

from __future__ import annotations

import torch

from worker.runtimes.architectures.mtcnn_onet import ONet, ONetConfig


def test_names_and_shapes_are_those_of_the_published_weights():
    """facenet-pytorch's onet.pt holds exactly these 21 tensors."""
    state = ONet(ONetConfig()).state_dict()
    assert len(state) == 21
    assert state["conv1.weight"].shape == (32, 3, 3, 3)
    assert state["conv4.weight"].shape == (128, 64, 2, 2)
    assert state["dense5.weight"].shape == (256, 1152)
    assert {name for name in state if name.startswith("prelu")} == {
        f"prelu{n}.weight" for n in range(1, 6)
    }


def test_outputs_are_boxes_landmarks_and_probabilities():
    """Three outputs per crop; scores are probabilities of no face and face."""
    net = ONet(ONetConfig()).eval()
    with torch.inference_mode():
        boxes, landmarks, scores = net(torch.randn(2, 3, 48, 48))
    assert (boxes.shape, landmarks.shape, scores.shape) == ((2, 4), (2, 10), (2, 2))
    torch.testing.assert_close(scores.sum(1), torch.ones(2))


def test_features_are_read_width_first():
    """The dense layer was trained on features in the order width, height, channel."""
    net = ONet(ONetConfig()).eval().requires_grad_(False)
    features = torch.randn(1, 128, 3, 3)
    net.prelu4 = torch.nn.Identity()
    net.conv4 = torch.nn.Identity()
    net.conv1 = net.prelu1 = net.pool1 = net.conv2 = net.prelu2 = net.pool2 = torch.nn.Identity()
    net.conv3 = net.prelu3 = net.pool3 = torch.nn.Identity()
    seen: list[torch.Tensor] = []
    net.dense5.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(features)
    expected = [features[0, c, h, w] for w in range(3) for h in range(3) for c in range(128)]
    torch.testing.assert_close(seen[0][0], torch.stack(expected))
