"""A plain onnxruntime model, what the ONNX samples are compared to."""

from __future__ import annotations

from deploy.samples.sample import Model, Tensors


def session(content: bytes) -> Model:
    """The model as a function; one thread, as a worker runs it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    opened = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]

    def run(inputs: Tensors) -> Tensors:
        return dict(zip(names, opened.run(names, inputs), strict=True))

    return run
