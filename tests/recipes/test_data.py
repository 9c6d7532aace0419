"""The training texts of the bundled model."""

import numpy as np
import pytest

from recipes.data import embed_texts, questions_of, sentences_of


def test_questions_and_sentences_are_found_in_texts():
    assert questions_of(["Q: What is it? A: A toy.\nQ: Who made it? A: Nobody knows."]) == ["What is it?", "Who made it?"]
    text = "Thing 0 works by magic and a spring. It is old. " * 2
    assert sentences_of(text) == ["Thing 0 works by magic and a spring."] * 2


def test_embedded_texts_come_from_the_cache_the_second_time(tmp_path):
    class Encoder:
        calls = 0

        def encode(self, texts, **options):
            self.calls += 1
            return np.array([[len(t), 1.0] for t in texts])

    encoder = Encoder()
    first = embed_texts(["a", "bbb"], cache=tmp_path, encoder=encoder)
    second = embed_texts(["a", "bbb"], cache=tmp_path, encoder=encoder)
    assert encoder.calls == 1 and np.array_equal(first, second)
    assert np.linalg.norm(first, axis=1) == pytest.approx([1, 1])
