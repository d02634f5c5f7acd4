"""Requests as bytes, and answers as arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deploy.bench.connection import Answer
from deploy.bench.measure import BenchError
from deploy.bench.models import BASE, NAMES, per_round
from deploy.bench.posts import (
    TOKENS,
    binary_post,
    body_of,
    check_close,
    check_echo,
    json_post,
    outputs_of,
    sentence,
)

ROW = np.array([[1.5, -2.0]], np.float32)


def binary_answer(array: np.ndarray) -> Answer:
    tensor = {
        "name": "y",
        "datatype": "FP32",
        "shape": list(array.shape),
        "parameters": {"binary_data_size": array.nbytes},
    }
    header = json.dumps({"outputs": [tensor]}).encode()
    head = b"HTTP/1.1 200 OK\r\ninference-header-content-length: %d\r\n" % len(header)
    return Answer(0, head, header + array.tobytes())


def test_a_json_post_is_a_v2_request_with_numbers() -> None:
    """Of the right length, to the model's path."""
    head, _, body = json_post("m", {"x": ROW}).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body)["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}
    ]


def test_a_binary_post_carries_the_bytes_behind_its_json() -> None:
    """The header says where they begin."""
    post = binary_post("m", {"x": ROW})
    head, body = post.partition(b"\r\n\r\n")[0], body_of(post)
    length = len(body) - ROW.nbytes
    assert b"Inference-Header-Content-Length: %d\r\n" % length in head
    assert body.endswith(ROW.tobytes())
    assert json.loads(body[:length])["parameters"]["binary_data_output"] is True


def test_outputs_are_read_from_json_and_from_binary_answers() -> None:
    """Header names in any case."""
    row = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}
    as_json = Answer(0, b"HTTP/1.1 200 OK\r\n", json.dumps({"outputs": [row]}).encode())
    for answer in (as_json, binary_answer(ROW)):
        assert np.array_equal(outputs_of(answer)["y"], ROW)


@pytest.mark.parametrize(
    "wrong", [{"y": ROW + 1}, {"z": ROW}, {"y": ROW.reshape(2, 1)}], ids=["value", "name", "shape"]
)
def test_an_answer_that_is_not_the_expected_one_stops_the_measurement(
    wrong: dict[str, np.ndarray],
) -> None:
    """A value, a name or a shape that differs."""
    check_close(binary_answer(ROW), {"y": ROW + 1e-7})
    with pytest.raises(BenchError, match="not the reference's"):
        check_close(binary_answer(ROW), wrong)


def test_an_echo_of_another_post_stops_the_measurement() -> None:
    """Answers must not be swapped."""
    posts = [json_post("m", {"x": ROW}), json_post("m", {"x": ROW + 1})]
    check_echo(Answer(1, b"", body_of(posts[1])), posts)
    with pytest.raises(BenchError, match="post 0"):
        check_echo(Answer(0, b"", body_of(posts[1])), posts)


def test_each_variant_is_asked_a_sentence_of_its_own() -> None:
    """The same one in every process, so that the reference answers the same question."""
    first, second = sentence("minilm-01"), sentence("minilm-02")
    assert first["input_ids"].shape == first["attention_mask"].shape == (1, TOKENS)
    assert np.array_equal(first["input_ids"], sentence("minilm-01")["input_ids"])
    assert not np.array_equal(first["input_ids"], second["input_ids"])


def test_no_variant_is_cold_twice() -> None:
    """Each round has its own, as many as there are enough of, at most as many as asked for."""
    names = [f"m{at}" for at in range(7)]
    assert per_round(names, 3, 4) == [["m0", "m1"], ["m2", "m3"], ["m4", "m5"]]
    assert per_round(names, 3, 1) == [["m0"], ["m1"], ["m2"]]


def test_too_few_variants_for_the_rounds_are_an_error() -> None:
    """Instead of rounds that measure nothing."""
    with pytest.raises(BenchError, match="only 2 models"):
        per_round(["a", "b"], 3, 1)


def test_there_are_twenty_variants_and_their_base_is_none_of_them() -> None:
    """The base loads the program; what is measured then is a variant's weights alone."""
    assert len(NAMES) == 20
    assert BASE not in NAMES
