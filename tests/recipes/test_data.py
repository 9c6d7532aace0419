"""The training texts of the bundled model."""

import numpy as np
import pytest

from recipes.data import embed_texts, questions_of, sentences_of, short_texts


def test_short_texts_are_query_like_and_repeat():
    documents = [
        {"title": f"How does thing {i} work?", "text": f"Thing {i} works by magic and a spring. It is old. " * 2}
        for i in range(5)
    ]
    teacher = {"qa": ["Q: What is it? A: A toy.\nQ: Who made it? A: Nobody knows."], "summary": ["Nothing asked."]}
    assert questions_of(teacher["qa"]) == ["What is it?", "Who made it?"]
    assert sentences_of(documents[0]["text"]) == ["Thing 0 works by magic and a spring."] * 2
    options = dict(max_titles=3, max_questions=9, max_sentences=2)
    texts = short_texts(documents, teacher, **options)
    assert texts == short_texts(documents, teacher, **options)
    assert len(texts) == len(set(texts)) == 3 + 2 + 2


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
