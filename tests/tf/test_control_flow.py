"""Loops, branches and look-up tables survive, and what is around them is quantized."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_models import graph_of, ops, run, save_v1, seeded

import eightfold as ef
from eightfold.errors import ModelError, OutputError
from eightfold.graph.ir import Array
from lowering import COARSER

W = seeded(6, 6, scale=0.3)
LENIENT = ef.Recipe(fallback=False)


@pytest.fixture
def control_flow_of_tensorflow_1() -> Iterator[None]:
    tf.compat.v1.disable_control_flow_v2()
    yield
    tf.compat.v1.enable_control_flow_v2()


def flow(x: Any, n: Any) -> Any:
    """A loop whose body reads constants, then a branch with a constant result, then a product to quantize."""
    _, h = tf.while_loop(lambda i, _: i < n, lambda i, h: (i + 1, tf.nn.relu(h @ W + 1.0)), [tf.constant(0), x])
    b = tf.cond(tf.reduce_sum(h) > 30.0, lambda: tf.constant([1.0, 2.0]) + 1.0, lambda: tf.constant([5.0, 6.0]))
    return tf.matmul(tf.cond(b[0] > 3.0, lambda: h @ W, lambda: h * 2.0), W, name="y"), tf.identity(b, name="b")


def reference(x: Array, n: int) -> tuple[Array, list[float]]:
    h = x
    for _ in range(n):
        h = np.maximum(h @ W + 1, 0)
    b = [2.0, 3.0] if h.sum() > 30 else [5.0, 6.0]
    return (h @ W if b[0] > 3 else h * 2) @ W, b


def check(folder: Path, tmp_path: Path) -> None:
    data = [{"x": seeded(4, 6, seed=i), "n": np.int32(i % 4)} for i in range(10)]
    model = ef.export(folder)
    for feeds in data[:4]:
        y, b = reference(feeds["x"], int(feeds["n"]))
        found = run(model, **feeds)
        np.testing.assert_allclose(found["y"], y, atol=1e-5)
        assert found["b"].tolist() == b
    result = ef.quantize(folder, data, recipe=LENIENT)
    assert sum(result.report.counts.values()) == 1  # the last product; loops and branches stay float
    assert ("loop or branch" in str(result.report.refusals)) == ("Enter" in ops(model))
    largest = max(np.abs(reference(feeds["x"], int(feeds["n"]))[0]).max() for feeds in data)
    signature = tf.saved_model.load(str(result.save(tmp_path / "int8"))).signatures["serving_default"]
    for feeds in data[:4]:
        y, b = reference(feeds["x"], int(feeds["n"]))
        found = signature(**{name: tf.constant(value) for name, value in feeds.items()})
        np.testing.assert_allclose(found["y"], y, atol=0.02 * COARSER * largest)
        assert found["b"].numpy().tolist() == b


@pytest.mark.int8
@pytest.mark.usefixtures("control_flow_of_tensorflow_1")
def test_frames_of_tensorflow_1(tmp_path: Path) -> None:
    def build() -> None:
        flow(
            tf.compat.v1.placeholder(tf.float32, (None, 6), name="x"),
            tf.compat.v1.placeholder(tf.int32, (), name="n"),
        )

    folder = save_v1(graph_of(build), tmp_path, {"x": "x:0", "n": "n:0"}, {"y": "y:0", "b": "b:0"})
    assert {"Enter", "Switch", "Merge"} <= set(ops(ef.export(folder)))
    check(folder, tmp_path)


@pytest.mark.int8
def test_functions_of_tensorflow_2(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(
        lambda x, n: dict(zip(("y", "b"), flow(x, n), strict=True)),
        input_signature=[tf.TensorSpec((None, 6), name="x"), tf.TensorSpec((), tf.int32, "n")],
    )
    tf.saved_model.save(module, str(tmp_path / "float"), signatures=module.f)
    assert {"StatelessWhile", "StatelessIf"} <= set(ops(ef.export(tmp_path / "float")))
    check(tmp_path / "float", tmp_path)


class Words(tf.Module):  # type: ignore[misc]
    """A vocabulary, an embedding, a product, and names of classes: strings in, strings out."""

    def __init__(self, vocabulary: Path | None) -> None:
        super().__init__()
        lookup = tf.lookup
        if vocabulary is None:
            pairs = lookup.KeyValueTensorInitializer(tf.constant(["cat", "dog"]), tf.constant([0, 1], tf.int64))
        else:
            line, index = lookup.TextFileIndex.WHOLE_LINE, lookup.TextFileIndex.LINE_NUMBER
            pairs = lookup.TextFileInitializer(str(vocabulary), tf.string, line, tf.int64, index)
        self.ids = lookup.StaticVocabularyTable(pairs, 2)
        names = lookup.KeyValueTensorInitializer(tf.range(3, dtype=tf.int64), tf.constant(["a", "b", "c"]))
        self.names = lookup.StaticHashTable(names, "?")
        self.vectors, self.w = tf.Variable(seeded(6, 8)), tf.Variable(seeded(8, 3))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "word")])  # type: ignore[untyped-decorator]
    def classify(self, word: Any) -> Any:
        i = self.ids.lookup(word)
        scores = tf.gather(self.vectors, i) @ self.w
        return {"id": i, "score": scores, "label": self.names.lookup(tf.argmax(scores, -1))}


@pytest.mark.int8
@pytest.mark.parametrize("kind", ["tensors", "file"])
def test_hash_tables(tmp_path: Path, kind: str) -> None:
    """A vocabulary file is an asset: it comes along, and neither it nor the original is needed afterwards."""
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("cat\ndog\n")
    module = Words(vocabulary if kind == "file" else None)
    words = tf.constant(["cat", "dog", "bird", "cat", "fish"] * 4)
    expected = {name: value.numpy() for name, value in module.classify(words).items()}
    tf.saved_model.save(module, str(tmp_path / "float"), signatures=module.classify)
    result = ef.quantize(tmp_path / "float", words.numpy(), recipe=LENIENT)
    shutil.rmtree(tmp_path / "float")
    vocabulary.unlink()
    result.save(tmp_path / "int8")
    (tmp_path / "int8").rename(tmp_path / "moved")
    found = tf.saved_model.load(str(tmp_path / "moved")).signatures["serving_default"](word=words)
    assert found["id"].numpy().tolist() == expected["id"].tolist()
    assert found["label"].numpy().tolist() == expected["label"].tolist()
    np.testing.assert_allclose(found["score"], expected["score"], atol=0.02 * np.abs(expected["score"]).max())
    assert sum(result.report.counts.values()) == 1
    assert (tmp_path / "moved" / "assets" / "vocabulary.txt").is_file() == (kind == "file")
    if kind == "file":
        with pytest.raises(OutputError, match="reads 'vocabulary.txt', and a frozen graph cannot"):
            result.save(tmp_path / "net.pb", format="frozen")
        assert not (tmp_path / "net.pb").exists()


def test_a_vocabulary_file_that_is_missing(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("cat\n")
    module = Words(vocabulary)
    tf.saved_model.save(module, str(tmp_path / "float"), signatures=module.classify)
    (tmp_path / "float" / "assets" / "vocabulary.txt").unlink()
    with pytest.raises(ModelError, match="vocabulary.txt"):
        ef.export(tmp_path / "float")


def test_table_of_tensorflow_1_with_a_vocabulary_file(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("cat\ndog\n")

    def build() -> None:
        word = tf.compat.v1.placeholder(tf.string, (None,), name="word")
        line, index = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        pairs = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, line, tf.int64, index)
        tf.identity(tf.lookup.StaticHashTable(pairs, -1).lookup(word), name="id")

    folder = save_v1(graph_of(build), tmp_path, {"word": "word:0"}, {"id": "id:0"})
    vocabulary.unlink()
    found = run(ef.export(folder), word=np.array([b"dog", b"eel"], object))
    assert found["id"].tolist() == [1, -1]
