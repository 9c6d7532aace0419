"""Rows of a reading, with the numbers that this version of the package gives them."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.evaluation import read_embedded
from recipes import row_facts
from recipes.reading_rows import ModelForm
from tests.helpers.reading import write_collections


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_collections(tmp_path_factory.mktemp("data"), Xetrieval.default().encoder())


def test_a_run_gets_the_numbers_of_this_version(data, tmp_path):
    model, vectors = Xetrieval.default(), data / "vectors"
    pairs = pd.DataFrame({"qid": ["q1", "q0", "q1"], "docno": ["d1", "d0", "d1"]})
    own = row_facts.pairs_of(read_embedded(data, "animals", vectors=vectors), pairs)
    assert [(pair.qid, pair.docno, pair.query) for pair in own] == [
        ("q1", "d1", "how fast does a cheetah run"), ("q0", "d0", "what do rabbits eat"),
    ]  # fmt: skip
    explained = ModelForm(model.with_views(())).explain(own)
    shared = [row.feature for found in explained for row in found.rows]  # all others' labels would be encoded for nothing
    few = model.labels.table[model.labels.table["feature"].isin(shared)]
    FeatureLabels(few, model.sae.dict_size).write(tmp_path / "labels.tsv")
    facts = {"collection": "animals", "confidence": 0.5, "contribution": 7.0, "decoy": False, "verdicts": [1, 2]}
    written = [
        {**facts, "qid": pair.qid, "docno": pair.docno, "form": form, "feature": row.feature}
        for pair, found in zip(own, explained) for row in found.rows[:2] for form in ("ours", "theirs")
    ]  # fmt: skip
    absent = next(j for j in range(model.sae.dict_size) if not explained[0].has(j))
    written += [written[0] | {"feature": absent}, written[0] | {"decoy": True}]
    (tmp_path / "run.json").write_text(json.dumps({"key": {"seed": 0}, "facts": {}, "scores": [{"n": 1}], "rows": written}))
    options = ["--data", data, "--vectors", vectors, "--labels", tmp_path / "labels.tsv", tmp_path / "run.json"]
    found = CliRunner().invoke(row_facts.main, [str(a) for a in ["--form", "ours", *options]], catch_exceptions=False)
    assert found.exit_code == 0 and "5 rows of 'ours'" in found.output
    again = json.loads((tmp_path / "run.json").read_text())
    assert again["key"] == {"seed": 0} and again["scores"] == [{"n": 1}] and len(again["rows"]) == len(written)
    known = {(pair.qid, row.feature): row for pair, found in zip(own, explained) for row in found.rows}
    for was, now in zip(written, again["rows"]):
        assert now | {"contribution": 0} == now | was | {"contribution": 0}  # verdicts, confidence and ids stay
        if was["form"] == "theirs" or was["decoy"] or was["feature"] == absent:
            assert now == was
            continue
        row = known[was["qid"], was["feature"]]
        for number in ("contribution", "query_activation", "document_activation", "document_support", "detection"):
            assert now[number] == pytest.approx(getattr(row, number), rel=1e-4)
        near = row.query_similarity, row.document_similarity  # of vectors of eight bits, as the model keeps them
        assert (now["query_similarity"], now["document_similarity"]) == pytest.approx(near, abs=0.004)
    found = CliRunner().invoke(row_facts.main, [str(a) for a in ["--form", "nobody", *options]])
    assert found.exit_code == 2 and "expects a form among ['ours', 'theirs'], found 'nobody'" in found.output


def test_a_model_with_another_table_has_its_labels_and_their_vectors(tmp_path):
    model = Xetrieval.default()
    few = model.labels.table.head(3).assign(label=["beer / wine", "lists", "dogs"])
    FeatureLabels(few, model.sae.dict_size).write(tmp_path / "labels.tsv")
    labels = row_facts.with_labels(model, tmp_path / "labels.tsv").labels
    assert len(labels) == 3 and labels.vectors.texts == ["beer", "wine", "lists", "dogs"]
    assert labels.confidence == model.labels.confidence
    np.testing.assert_allclose(labels.vectors["wine"], model.encoder().encode_docs(["wine"])[0], atol=1e-5)
