import json

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import FeatureLinks, QueryTuning
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from tests.helpers.builders import make_model, random_sae, result_frame


@pytest.fixture(scope="module")
def model():
    return make_model(random_sae(), aspects=()).with_check("off")


def rows(*links):
    return pd.DataFrame(links, columns=["source", "target", "weight"])


LINKS = rows((pd.NA, 7, -0.5), (3, 9, 2.0))


def test_a_tuning_opens_as_it_was_saved(model, tmp_path):
    corpus = CorpusStatistics.from_vectors([np.random.default_rng(0).normal(size=(30, 16))])
    tuning = QueryTuning.from_parts(LINKS, model.labels, corpus=corpus, strength=0.1)
    saved = tuning.save(tmp_path / "t")
    opened = pt.Artifact.load(str(tmp_path / "t"))
    assert opened == saved == tuning and isinstance(opened, QueryTuning) and hash(opened) == hash(tuning)
    assert opened.corpus == corpus and opened.strength == 0.1 and opened.links.equals(tuning.links)
    assert tuning != QueryTuning.from_parts(LINKS, model.labels) and tuning != 3
    with pytest.raises(FileExistsError, match="already exists"):
        tuning.save(tmp_path / "t")


def test_it_says_its_links_in_words(model):
    tuning = QueryTuning.from_parts(LINKS, model.labels)
    assert str(tuning) == "queries about *word3*: more of *word9* (+2.00)\nevery query: less of *word7* (-0.50)"
    assert str(QueryTuning.from_parts(rows(), model.labels)) == "no links" and repr(tuning) == "QueryTuning(2 links)"


def test_a_table_edited_by_hand_is_what_is_applied(model, tmp_path):
    QueryTuning.from_parts(LINKS, model.labels).save(tmp_path / "t")
    file = tmp_path / "t" / "links.tsv"
    file.write_text(file.read_text().replace("-0.5", "0.25"))
    assert QueryTuning(tmp_path / "t").links["weight"].tolist() == [0.25, 2.0]


def test_rows_are_undone_and_tunings_merged(model):
    tuning = QueryTuning.from_parts(LINKS, model.labels)
    assert tuning.without([0]).links["target"].tolist() == [9]
    both = tuning.merged(QueryTuning.from_parts(rows((pd.NA, 7, 0.2), (4, 7, 1.0)), model.labels))
    found = {(s if pd.notna(s) else None, t): w for s, t, w in both.links[["source", "target", "weight"]].to_numpy()}
    assert found == {(None, 7): pytest.approx(-0.3), (3, 9): 2.0, (4, 7): 1.0}
    assert both.links["target_label"].tolist() == ["word7", "word9", "word7"]
    other = make_model(random_sae(seed=1), aspects=())
    with pytest.raises(ValueError, match="same dictionary"):
        tuning.merged(QueryTuning.from_parts(LINKS, other.labels))
    with pytest.raises(ValueError, match="its model's dictionary"):
        FeatureLinks(other, tuning)


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (pd.DataFrame({"source": [1], "target": [2]}), r"missing \['weight'\]"),
        (rows((1, 48, 1.0)), "expects features 0 … 47, found 1 … 48"),
        (rows((-1, 4, 1.0)), "expects features 0 … 47, found -1 … 4"),
        (rows((1, 4, np.nan)), "finite weights"),
        (rows((1, "four", 1.0)), "feature ids and numbers"),
        (rows((1, 4, "much")), "feature ids and numbers"),
    ],
)
def test_what_is_no_table_of_links_is_refused(model, links, message):
    with pytest.raises(ValueError, match=message):
        QueryTuning.from_parts(links, model.labels)


def test_damaged_folders_are_refused(model, tmp_path):
    corpus = CorpusStatistics.from_vectors([np.eye(16)])
    QueryTuning.from_parts(LINKS, model.labels, corpus=corpus).save(tmp_path / "t")
    (tmp_path / "t" / "corpus.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is damaged"):
        QueryTuning(tmp_path / "t")
    with pytest.raises(FileNotFoundError, match="no QueryTuning at"):
        QueryTuning(tmp_path / "none")
    meta = tmp_path / "t" / "pt_meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": "other"}))
    with pytest.raises(ValueError, match="is a query_tuning.other artifact"):
        QueryTuning(tmp_path / "t")


def test_queries_look_for_what_their_features_are_linked_to(model):
    frame, sae = result_frame(), model.sae
    out = FeatureLinks(model, QueryTuning.from_parts(LINKS, model.labels))(frame)
    import torch

    codes = sae.encode(torch.from_numpy(np.stack(frame["query_vec"])))
    w = sae.w_dec.detach().numpy()
    for row, (query, ids, values) in enumerate(zip(frame["query_vec"], codes.ids.tolist(), codes.values.tolist())):
        shown = dict(zip(ids, values)).get(3, 0.0)
        expected = query - 0.5 * 0.3 * w[7] + 2 * shown * w[9]
        np.testing.assert_allclose(out["query_vec"][row], expected, atol=1e-5)
        told = {own["feature"]: own["activation"] for own in out["query_added"][row]}
        assert told == pytest.approx({7: -0.15, **({9: 2 * shown} if shown else {})}, abs=1e-6)
    assert (np.stack(out["query_vec_0"]) == np.stack(frame["query_vec"])).all()


def test_linked_features_are_listed_and_the_parts_add_up(model):
    frame = result_frame()
    explained = (model.tuned(QueryTuning.from_parts(LINKS, model.labels)) >> model.scorer() >> model.explainer())(frame)
    listed = 0
    for e, plain, score in zip(explained["explanation"], model.explainer()(frame)["explanation"], explained["score"]):
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(score, abs=1e-5)
        assert set(plain.features) <= set(e.features) <= set(plain.features) | {7, 9}
        if 7 in set(e.features) - set(plain.features):
            i = e.features.tolist().index(7)
            assert e.query_activations[i] == pytest.approx(-0.15, abs=1e-6)
            listed += 1
    assert listed  # some of the documents have it


def test_links_after_calibration_keep_the_encoders_vector_and_add_to_what_was_added(model):
    corpus = CorpusStatistics.from_vectors([np.random.default_rng(0).normal(size=(90, 16)) + 2])
    tuning = QueryTuning.from_parts(LINKS, model.labels, corpus=corpus, strength=0.2)
    frame = result_frame()
    once = model.tuned(tuning)(frame)
    assert (np.stack(once["query_vec_0"]) == np.stack(frame["query_vec"])).all()
    twice = FeatureLinks(model, tuning)(once)
    told = [{own["feature"]: own["activation"] for own in cell} for cell in twice["query_added"]]
    assert all(own[7] == pytest.approx(-0.3, abs=1e-6) for own in told)


def test_no_links_change_nothing(model):
    frame = result_frame()
    stage = model.tuned(QueryTuning.from_parts(rows(), model.labels))
    assert stage(frame) is frame and len(stage(frame.iloc[:0])) == 0
