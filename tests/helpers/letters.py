"""A collection and an encoder of letters."""

import numpy as np
import pandas as pd

from pyterrier_xetrieval.datasets import Collection


class Letters(Collection):
    """Documents of letters; q1 wants d0 (and d9, which is not there), q2 only what is excluded, q3 nothing."""

    name = "letters"

    def __init__(self, texts=("aab", "bbb", "cab", "ccc")):
        self.texts = texts

    def get_corpus_iter(self, *, verbose=False):
        yield from ({"docno": f"d{i}", "text": text, "more": i} for i, text in enumerate(self.texts))

    def get_topics(self, variant=None):
        return pd.DataFrame({"qid": ["q3", "q1", "q2", "q4"], "query": ["c", "ab", "b", "bb"]})

    def get_qrels(self, variant=None):
        rows = [
            ("q1", "d9", 1),
            ("q1", "d0", 2),
            ("q1", "d3", 0),
            ("q2", "d1", 1),
            ("q3", "d0", 0),
            ("q4", "d1", 1),
            ("q4", "d2", 1),
        ]
        return pd.DataFrame(rows, columns=["qid", "docno", "label"])

    def get_excluded(self):
        return pd.DataFrame([("q2", "d1"), ("q1", "d2"), ("q1", "d1"), ("q1", "no")], columns=["qid", "docno"], dtype=str)


class LetterCounts:
    """An encoder by counting the letters a, b and c."""

    text_field, model_name = "text", "letters"

    def __init__(self):
        self.encoded = []

    def vector(self, text):
        self.encoded.append(text)
        return np.array([text.count(c) for c in "abc"], np.float32)

    def encode_docs(self, texts):
        return np.stack([self.vector(text) for text in texts])

    encode_queries = encode_docs
