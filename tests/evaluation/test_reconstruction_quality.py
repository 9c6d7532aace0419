"""Fig. 3 and 4: closed forms on the identity dictionary, and one vector at a time on a random one."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.evaluation import reconstruction_quality
from pyterrier_xetrieval.evaluation.dictionaries import compared_dictionaries, untrained, with_sae
from pyterrier_xetrieval.evaluation.reconstruction_quality import reconstruction
from tests.helpers.builders import DIM, identity_sae, make_model, random_sae, unit
from tests.helpers.planted import WORDS, plain_model, planted
from tests.helpers.retrieval import make_collection, slow_ndcg, slow_views


def value(table, measure, **conditions) -> float:
    table = table[table["measure"] == measure]
    for column, wanted in conditions.items():
        table = table[table[column].isna() if wanted is None else table[column] == wanted]
    (found,) = table["value"]
    return found


def test_a_dictionary_that_keeps_everything_changes_nothing():
    collection = make_collection(dim=DIM)
    collection = replace(collection, docs=np.abs(collection.docs), queries=np.abs(collection.queries))
    table = reconstruction(plain_model(identity_sae(k=DIM)), collection, saes={"identity": identity_sae(k=DIM)})
    for view in ("original", "query"):
        for refit in (False, True):
            assert value(table, "mse", view=view, refit=refit) == pytest.approx(0, abs=1e-10)
            assert value(table, "variance_explained", view=view, refit=refit) == pytest.approx(1)
        assert value(table, "l0", view=view) == DIM == value(table, "features_active", view=view)
    assert (table[table["measure"] == "change"]["value"] == 0).all() and (table["measure"] == "change").sum() == 8
    expected = slow_ndcg(collection, collection.docs).mean()
    np.testing.assert_allclose(table[table["measure"] == "nDCG@10"]["value"], expected, atol=1e-6)


def test_what_the_identity_dictionary_drops_is_the_error(monkeypatch):
    monkeypatch.setattr(reconstruction_quality, "BATCH", 3)
    docs = np.array([[3, 2, 1, 0, 0, 0], [1, 4, 2, 0, 0, 0], [0, 0, 0, 0, 0, 5], [-1, 6, 0, 0, 0, 0]], np.float32)
    collection = make_collection(n=4, q=2, dim=DIM)
    collection = replace(collection, docs=docs, judged=[{0: 1}] * 2, excluded=[np.empty(0, np.int64)] * 2)
    table = reconstruction(plain_model(identity_sae(k=2)), collection, saes={"two": identity_sae(k=2)})
    errors = np.array([1, 1, 0, 1])  # what is not among the two largest, or below zero
    assert value(table, "mse", view="original", refit=False) == errors.mean()
    spread = np.square(docs - docs.mean(axis=0)).sum()
    assert value(table, "variance_explained", view="original", refit=False) == pytest.approx(1 - 3 / spread)
    assert value(table, "l0", view="original") == (2 + 2 + 1 + 1) / 4 and value(table, "features_active", view="original") == 4
    mse = table[(table["measure"] == "mse") & (table["view"] == "original")].iloc[0]
    half = 1.96 * errors.std(ddof=1) / 2
    assert (mse["low"], mse["high"], mse["n"]) == (pytest.approx(0.75 - half), pytest.approx(0.75 + half), 4)


def test_every_number_is_that_of_one_vector_at_a_time(monkeypatch):
    monkeypatch.setattr(reconstruction_quality, "BATCH", 7)
    model, collection = make_model(), make_collection()
    saes = {"explainer": model.sae, "other": random_sae(dict_size=30, k=3, seed=5).requires_grad_(False)}
    table = reconstruction(model, collection, saes=saes)
    views = {"original": collection.docs, **slow_views(model, collection.docs), "query": collection.queries}
    assert table["view"].unique().tolist() == [*views, "reasoned"] and table["sae"].unique().tolist() == list(saes)
    plain = slow_ndcg(collection, collection.docs)
    for name, sae in saes.items():
        rebuilt, reasoned = {}, set()
        for view, vectors in views.items():
            codes = [sae.encode(torch.from_numpy(x[None])) for x in vectors]
            own = [c.ids[0][c.values[0] > 0].tolist() for c in codes]
            assert value(table, "l0", sae=name, view=view) == pytest.approx(np.mean([len(s) for s in own]))
            assert value(table, "features_active", sae=name, view=view) == len(set().union(*own))
            reasoned |= set().union(*own) if view in model.aspects else set()
            for refit in (False, True):
                hat = []
                for x, c, s in zip(vectors, codes, own):
                    b, w = sae.b_dec.numpy(), sae.w_dec[s].numpy()
                    fit = np.linalg.lstsq(w.T, x - b, rcond=None)[0] if refit else c.values[0][c.values[0] > 0].numpy()
                    hat.append(b + fit @ w)
                hat = rebuilt[view, refit] = np.array(hat, np.float32)
                errors = np.square(vectors - hat).sum(axis=1)
                known = {"sae": name, "view": view, "refit": refit}
                assert value(table, "mse", **known) == pytest.approx(errors.mean(), rel=1e-3)
                spread = np.square(vectors - vectors.mean(axis=0)).sum()
                assert value(table, "variance_explained", **known) == pytest.approx(1 - errors.sum() / spread, abs=1e-3)
        assert value(table, "features_active", sae=name, view="reasoned") == len(reasoned)
        assert value(table, "nDCG@10", sae=name, reconstructed="none") == pytest.approx(plain.mean(), abs=1e-6)
        for unit_ in (False, True):  # refitted coefficients are near enough for the errors, not for near ties of a ranking
            docs = rebuilt["original", False]
            docs = docs / np.linalg.norm(docs, axis=1, keepdims=True) if unit_ else docs
            for side, queries in (("docs", collection.queries), ("both", rebuilt["query", False])):
                expected = slow_ndcg(replace(collection, queries=queries), docs)
                known = {"sae": name, "refit": False, "reconstructed": side, "unit": unit_}
                assert value(table, "nDCG@10", **known) == pytest.approx(expected.mean(), abs=1e-6)
                assert value(table, "change", **known) == pytest.approx((expected - plain).mean(), abs=1e-6)
    assert reconstruction(model, collection, saes=saes, seed=0).equals(table)
    less = reconstruction(model, collection, saes=saes, refit=False)
    assert not (less["refit"] == True).any() and len(less) < len(table)  # noqa: E712


def test_by_default_the_explainer_stands_beside_a_dictionary_that_has_seen_nothing():
    model = make_model()
    table = reconstruction(model, make_collection())
    assert table["sae"].unique().tolist() == ["explainer", "random"]
    assert value(table, "l0", sae="random", view="original") == model.sae.k
    random = untrained(model.sae, seed=3)
    again, other = untrained(model.sae, seed=3), untrained(model.sae, seed=4)
    assert torch.equal(random.w_dec, again.w_dec) and not torch.equal(random.w_dec, other.w_dec)
    assert (random.dim, random.dict_size, random.k) == (16, 48, 5) and not random.w_enc.requires_grad
    rule = SparseAutoencoder(16, 48, activation="threshold")
    assert untrained(rule, k=7).k == 7
    with pytest.raises(ValueError, match="expects k for the rule 'threshold'"):
        untrained(rule)
    # a rule without k: the random one is as sparse as the explainer is on the documents
    docs = unit(np.random.default_rng(0), 50, 16)
    l0 = (docs @ rule.w_enc.detach().numpy().T > 0).sum(1).mean()
    assert compared_dictionaries(plain_model(rule), None, docs, seed=0)["random"].k == round(l0)
    with pytest.raises(ValueError, match="16 dimensions, found 6 in 'small'"):
        compared_dictionaries(model, {"small": identity_sae()}, docs, seed=0)


def test_a_dictionary_that_is_lent_stays_trainable():
    model, sae = make_model(), random_sae(seed=9)
    lent = with_sae(model, sae)
    assert sae.w_enc.requires_grad and sae.training
    assert torch.equal(lent.sae.w_dec, sae.w_dec) and lent.aspects == model.aspects and with_sae(model, model.sae) is model


def test_a_lent_dictionary_leaves_the_weights_of_the_views():
    model = make_model()
    own = Xetrieval.from_parts(internalizers=model.internalizers, sae=model.sae, encoder=model.meta["encoder"], weights=0.2)
    assert with_sae(own, random_sae(seed=9)).meta["weights"] == own.meta["weights"] == dict.fromkeys(own.aspects, 0.2)


def by_words(prompt: str) -> str:
    """Tells the intruder as a careful reader would: the text without the word that all others hold."""
    texts = dict(re.findall(r"^(\d+)\. (.*)$", prompt, re.M))
    (word,) = [w for w in WORDS if sum(w in t.split() for t in texts.values()) == len(texts) - 1]
    return next(f"Text {n}" for n, t in texts.items() if word not in t.split())


def test_mono_semanticity_is_what_the_judge_tells(tmp_path):
    model, collection = planted()
    saes, options = {"planted": model.sae}, {"min_docs": 10, "refit": False}
    plain = reconstruction(model, collection, saes=saes, **options)
    assert "mono_semanticity" not in set(plain["measure"])
    table = reconstruction(model, collection, saes=saes, llm=by_words, folder=tmp_path, **options)
    assert value(table, "mono_semanticity") == 1 and table[table["measure"] == "mono_semanticity"]["n"].item() == DIM
    assert (tmp_path / "intruder.planted.jsonl").exists()
    wrong = reconstruction(model, collection, saes=saes, llm=lambda prompt: "Text 11", **options)
    assert value(wrong, "mono_semanticity") == 0
    with pytest.raises(ValueError, match="reconstruction expects a collection with texts"):
        reconstruction(model, replace(collection, texts=None), saes=saes, llm=by_words)
