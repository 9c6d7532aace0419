"""Gradient × input against differences, and texts with words taken out."""

import numpy as np
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation.word_attributions import alone, each_left_out, gradient_times_input, without
from pyterrier_xetrieval.token_vectors import TokenEncoder
from pyterrier_xetrieval.words import spans, units

TEXT = "Return a new sorted list, with unsortably speed."


def test_gradient_times_input_is_what_larger_embeddings_of_a_word_change():
    model = Xetrieval.default()
    encoder, direction = model.encoder(), model.sae.w_enc[461].detach().numpy()
    reader = TokenEncoder(encoder)
    found = gradient_times_input(reader, TEXT, direction)
    tokens = reader.tokens([TEXT])[0]
    places = np.flatnonzero(tokens.kinds == 0)
    _, groups = units(TEXT, tokens.spans[places])

    def read(word: int, factor: float) -> float:
        def scaled(module, given, made):
            made = made.clone()
            made[0, places[groups == word]] *= factor
            return made

        hook = encoder.model[0].auto_model.get_input_embeddings().register_forward_hook(scaled)
        try:
            return float(encoder.encode_docs([TEXT])[0] @ direction)
        finally:
            hook.remove()

    assert len(found) == len(reader.words([TEXT])[0].spans) == 10 and np.bincount(groups).max() > 1
    slopes = [(read(word, 1.01) - read(word, 0.99)) / 0.02 for word in range(10)]
    assert found == pytest.approx(slopes, abs=2e-4) and np.abs(found).max() > 0.01
    assert not encoder.model[0].auto_model.get_input_embeddings()._forward_hooks  # no hook is left behind


def test_words_out_and_words_alone():
    words = spans(TEXT, "word")
    assert without(TEXT, words[[0, 4]]) == " a new sorted , with unsortably speed."
    assert alone(TEXT, words[[3, 4]]) == "sorted list"
    assert each_left_out("a b", spans("a b", "word")) == [" b", "a "]
