"""What a corpus alone says: the shared feature, the planted duplicates, the spectrum."""

import numpy as np
import pytest

from pyterrier_xetrieval import diagnose_corpus
from pyterrier_xetrieval.core.calibration import CorpusStatistics, calibration_strength
from tests.helpers.builders import identity_sae, make_model, random_sae, unit
from tests.helpers.planted import plain_model


@pytest.fixture(scope="module")
def corpus():
    """60 documents of one shared coordinate and two of their own; the last two are nearly the first two."""
    rng = np.random.default_rng(1)
    vectors = np.zeros((62, 12), np.float32)
    for vector in vectors:
        vector[0] = rng.uniform(0.8, 1)
        vector[rng.choice(np.arange(1, 12), 2, replace=False)] = rng.uniform(0.5, 1, 2)
    vectors[60:] = vectors[:2] + 0.001
    return vectors


def test_what_all_share_and_what_is_twice(corpus, tmp_path):
    docs = [{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(corpus)]
    index = plain_model(identity_sae(12, k=3)).indexer(tmp_path / "index").index(docs)
    found = diagnose_corpus(index)
    first = found.shared.iloc[0]
    assert first["feature"] == 0 and first["share"] == 1 and first["documents"] == 62
    mean = corpus.mean(axis=0, dtype=np.float64)
    assert first["mean_part"] == pytest.approx(mean[0] ** 2 / (mean @ mean), rel=2e-3)
    pairs = {tuple(sorted(pair)) for pair in zip(found.near_duplicates["docno"], found.near_duplicates["other"])}
    codes = np.where(corpus >= 0.5, corpus, 0) / np.linalg.norm(np.where(corpus >= 0.5, corpus, 0), axis=1, keepdims=True)
    same = {tuple(sorted((f"d{i}", f"d{j}"))) for i, j in np.argwhere(np.triu(codes @ codes.T, 1) > 0.955)}
    assert {("d0", "d60"), ("d1", "d61")} <= pairs and same <= pairs
    assert found.near_duplicates["agreement"].is_monotonic_decreasing
    assert found.facts["mean_length"] == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    spectrum = np.linalg.eigvalsh(np.cov(corpus.T.astype(np.float64), bias=True))[::-1]
    assert found.facts["first_share"] == pytest.approx(spectrum[:10].sum() / spectrum.sum())
    assert found.facts["strength"] == calibration_strength(found.facts["topicality"]) > 0
    assert "feature 0 [0]: in 100 % of the documents" in str(found) and "is advised" in str(found)


def test_the_parts_of_the_mean_vector_add_up_and_views_take_no_part(tmp_path):
    model, z = make_model(random_sae()), unit(np.random.default_rng(3), 50, 16)
    docs = [{"docno": str(i), "doc_vec": v} for i, v in enumerate(z)]
    found = diagnose_corpus(model.indexer(tmp_path / "views").index(docs))
    plain = diagnose_corpus(model.with_views(()).indexer(tmp_path / "plain").index(docs))
    assert found.facts["bias_part"] + found.facts["unexplained_part"] + found.shared["mean_part"].sum() == pytest.approx(1)
    assert dict(zip(found.shared["feature"], found.shared["documents"])) == dict(
        zip(plain.shared["feature"], plain.shared["documents"])
    )
    assert found.facts["effective_rank"] == pytest.approx(CorpusStatistics.from_vectors([z]).effective_rank)


def test_only_an_index_with_codes_will_do():
    with pytest.raises(ValueError, match="a XetrievalIndex, found 3"):
        diagnose_corpus(3)
