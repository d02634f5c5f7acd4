"""ONNX from other exporters and by hand: scikit-learn, LightGBM, text, defaults, int8, opsets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from tests.exports.export import Arrays, Case, Export, Original

Random = np.random.Generator
WIDTH = 8
BATCHES = ("--max-batch", "8")


def by_session(path: Path, names: Sequence[str] | None = None) -> Original:
    """onnxruntime's own answer, text as bytes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = list(names or (node.name for node in session.get_outputs()))

    def answer(inputs: Arrays) -> Arrays:
        fed = {name: _texts(array) for name, array in inputs.items()}
        return {n: _raw(a) for n, a in zip(wanted, session.run(wanted, fed), strict=True)}

    return answer


def _texts(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    return np.array([text.decode() for text in array.ravel()], object).reshape(array.shape)


def _raw(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    flat = np.empty(array.size, object)
    flat[:] = [str(text).encode() for text in array.ravel()]
    return flat.reshape(array.shape)


def _rows(random: Random, count: int, width: int = 4) -> list[Arrays]:
    return [{"X": random.standard_normal((1, width), np.float32)} for _ in range(count)]


def _learned() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    features = random.standard_normal((120, 4)).astype(np.float32)
    return features, (features @ [1, -2, 0.5, 0] > 0).astype(np.int64)


def _sklearn(kind: str, **options: Any) -> tuple[Any, onnx.ModelProto]:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    makers = {
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": lambda: RandomForestClassifier(8, random_state=1),
        "linear": LinearRegression,
    }
    features, labels = _learned()
    learned = makers[kind]().fit(features, labels)
    return learned, to_onnx(learned, features[:1], options=options or None)


def classifier(kind: str) -> Case:
    """Without ZipMap, as its users are told to export."""

    def make(folder: Path) -> Export:
        learned, model = _sklearn(kind, zipmap=False)
        onnx.save(model, folder / "model.onnx")

        def answer(inputs: Arrays) -> Arrays:
            chances = learned.predict_proba(inputs["X"]).astype(np.float32)
            return {"label": learned.predict(inputs["X"]), "probabilities": chances}

        rows = _rows(np.random.default_rng(2), 32)
        push: list[str | Path] = ["--file", folder / "model.onnx", "--max-batch", "8"]
        return Export(push, answer, [{"X": _learned()[0][:7]}], rows, tolerance=1e-4)

    return Case(f"sklearn-{kind}", make)


def chosen_output() -> Case:
    """ZipMap's output cannot be served; the label beside it can, where it is chosen."""

    def make(folder: Path) -> Export:
        learned, model = _sklearn("logistic")
        onnx.save(model, folder / "model.onnx")
        push: list[str | Path] = ["--file", folder / "model.onnx", "--output", "output_label"]
        return Export(
            push,
            lambda inputs: {"output_label": learned.predict(inputs["X"])},
            [{"X": _learned()[0][:7]}, {"X": _learned()[0][50:51]}],
        )

    return Case("sklearn-with-zipmap", make)


def regressor() -> Case:
    def make(folder: Path) -> Export:
        learned, model = _sklearn("linear")
        onnx.save(model, folder / "model.onnx")

        def answer(inputs: Arrays) -> Arrays:
            return {"variable": learned.predict(inputs["X"]).astype(np.float32).reshape(-1, 1)}

        push: list[str | Path] = ["--file", folder / "model.onnx", "--max-batch", "8"]
        rows = _rows(np.random.default_rng(2), 32)
        return Export(push, answer, [{"X": _learned()[0][:3]}], rows, tolerance=1e-4)

    return Case("sklearn-linear", make)


def boosted() -> Case:
    def make(folder: Path) -> Export:
        import lightgbm
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        features, labels = _learned()
        learned = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=4, verbose=-1)
        learned.fit(features, labels)
        kind = [("X", FloatTensorType([None, 4]))]
        onnx.save(convert_lightgbm(learned, initial_types=kind, target_opset=15), folder / "m.onnx")

        def answer(inputs: Arrays) -> Arrays:
            found = learned.booster_.predict(inputs["X"])
            return {"variable": found.astype(np.float32).reshape(-1, 1)}

        rows = _rows(np.random.default_rng(2), 32)
        push: list[str | Path] = ["--file", folder / "m.onnx", "--max-batch", "8"]
        return Export(push, answer, [{"X": features[:6]}], rows, tolerance=1e-4)

    return Case("lightgbm", make)


def by_hand(name: str, model: onnx.ModelProto, questions: list[Arrays], *options: str) -> Case:
    """A graph of one idea; onnxruntime is its original."""

    def make(folder: Path) -> Export:
        onnx.save(model, folder / "model.onnx")
        push: list[str | Path] = ["--file", folder / "model.onnx", *options]
        return Export(push, by_session(folder / "model.onnx"), questions)

    return Case(name, make)


def quantised() -> Case:
    def make(folder: Path) -> Export:
        onnx.save(_dense(13), folder / "float.onnx")
        quantize_dynamic(folder / "float.onnx", folder / "m.onnx", weight_type=QuantType.QInt8)
        random = np.random.default_rng(4)
        asked = [{"x": random.standard_normal((n, WIDTH), np.float32)} for n in (1, 2, 5)]
        return Export(["--file", folder / "m.onnx"], by_session(folder / "m.onnx"), asked)

    return Case("onnx-int8", make)


def _dense(opset: int) -> onnx.ModelProto:
    random = np.random.default_rng(6)
    weights = numpy_helper.from_array(random.standard_normal((WIDTH, 3), np.float32), "w")
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", WIDTH])], [("y", TensorProto.FLOAT, ["n", 3])],
        [weights], opset,
    )  # fmt: skip


def _model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    initial: Sequence[Any] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        list(initial),
    )  # fmt: skip
    ir = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def _asked(*shape: int, name: str = "x") -> Arrays:
    return {name: np.random.default_rng(9).standard_normal(shape, np.float32)}


def _default() -> onnx.ModelProto:
    """`scale` has a value of its own, which a request may replace."""
    return _model(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        [("x", TensorProto.FLOAT, ["n"]), ("scale", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32([3]), "scale")],
    )


def _words() -> onnx.ModelProto:
    """Text in and out. (Most operators for text want a locale that a bare machine has not.)"""
    return _model(
        [helper.make_node("StringConcat", ["text", "mark"], ["louder"])],
        [("text", TensorProto.STRING, ["n"])], [("louder", TensorProto.STRING, ["n"])],
        [helper.make_tensor("mark", TensorProto.STRING, [1], [b"!"])], 20,
    )  # fmt: skip


def _text(*words: str) -> Arrays:
    array = np.empty(len(words), object)
    array[:] = [word.encode() for word in words]
    return {"text": array}


SCALE = np.float32([-2])
CASES = [
    classifier("logistic"),
    classifier("forest"),
    chosen_output(),
    regressor(),
    boosted(),
    quantised(),
    *(
        by_hand(f"onnx-opset-{n}", _dense(n), [_asked(2, WIDTH), _asked(1, WIDTH)], *BATCHES)
        for n in (9, 13, 21)
    ),
    by_hand("onnx-default", _default(), [_asked(4), {**_asked(4), "scale": SCALE}]),
    by_hand("onnx-text", _words(), [_text("a", "Bee"), _text("ünï")]),
]  # fmt: skip
