"""The table of a diagnosis: at most ten findings, and what calibrating gains beside them."""

import numpy as np
import pytest

from pyterrier_xetrieval import diagnose_corpus
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from recipes.diagnosis import calibrated, found_in, judged, section
from tests.helpers.builders import toy


@pytest.mark.filterwarnings("ignore:.*")  # random vectors are not those of the bundled encoder, as the model says
def test_a_section_has_facts_and_findings(tmp_path):
    collection = toy(dim=384, n=60, queries=8)
    texts = np.array([f"query {i}" for i in range(8)])
    collection = type(collection)(**{**vars(collection), "query_texts": texts})
    own = judged(collection, tmp_path / "index")
    found = found_in(own)
    assert found.facts["ndcg"] == pytest.approx(retrieval_ndcg(collection, collection.docs).mean())
    cheap = calibrated(collection, 0.0, seed=0)
    assert cheap["value"] == 0
    lines = section("toy", found, diagnose_corpus(own.index).facts, cheap).splitlines()
    assert lines[0] == "## toy" and "8 queries" in lines[2] and "instead: 0.0 (0.0 to 0.0)" in lines[2]
    assert len([line for line in lines if line.startswith("| ")]) <= 11
