import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.explained_pairs import explain_pairs
from pyterrier_xetrieval.evaluation.explanation_stability import add_noise, drop_words, stability
from pyterrier_xetrieval.evaluation.pairs import ranked_pairs
from tests.helpers.builders import make_model, random_sae
from tests.helpers.erasure import active, make_collection, random_collection, slow_cosine


class WordVectors:
    """A bag of words, every word a fixed direction."""

    def encode_docs(self, texts):
        sums = [np.sum([np.random.default_rng(sum(map(ord, w))).normal(size=16) for w in text.split()], axis=0) for text in texts]
        return np.stack([s / np.linalg.norm(s) for s in sums])


class TestStability:
    def test_noise_of_an_exact_cosine(self):
        x = random_collection().docs * 3
        for cosine in (1, 0.99, 0.5):
            moved = add_noise(x, cosine, np.random.default_rng(0))
            assert [slow_cosine(a, b) for a, b in zip(x, moved)] == pytest.approx([cosine] * 40, abs=1e-6)
            assert np.linalg.norm(moved, axis=1) == pytest.approx([3] * 40, rel=1e-5)

    def test_dropped_words(self):
        text = " ".join(f"w{i}" for i in range(40))
        fewer = drop_words(text, 0.1, np.random.default_rng(0)).split()
        assert len(fewer) == 36 and fewer == [w for w in text.split() if w in set(fewer)]
        assert drop_words(text, 0.1, np.random.default_rng(1)).split() != fewer
        assert drop_words("a b", 0.01, np.random.default_rng(0)) in ("a", "b")
        assert drop_words("alone", 0.5, np.random.default_rng(0)) == "alone"

    def test_no_change_changes_nothing(self, model):
        table = stability(model, random_collection(), cosines_to_original=[1.0])
        assert table.set_index("measure")["value"].tolist() == pytest.approx([1, 1, 1])

    def test_jaccard_and_correlation_pair_by_pair(self, model):
        rng = np.random.default_rng(0)
        words = [" ".join(rng.choice(["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"], 12)) for _ in range(40)]
        collection = random_collection(texts=lambda rows: [words[i] for i in rows])
        frame = stability(model, collection, encoder=WordVectors(), cosines_to_original=[0.9], num_results=3, per_pair=True)
        assert frame.groupby("change").size().to_dict() == {"noise": 36, "words": 36}
        pairs = ranked_pairs(collection, num_results=3)
        docs = np.unique(pairs.docs)
        rng = np.random.default_rng(0)
        moved = add_noise(collection.docs[docs], 0.9, rng)
        texts = [words[i] for i in docs]
        both = {
            "noise": (collection.docs[docs], moved),
            "words": [WordVectors().encode_docs(t).astype(np.float32) for t in (texts, [drop_words(t, 0.1, rng) for t in texts])],
        }
        compared = 0
        for change, (x, y) in both.items():
            own = frame[frame["change"] == change]
            listed = [explain_pairs(model.with_views(()), collection, pairs, z=z, refit=True) for z in (x, y)]
            for i, row in enumerate(own.itertuples()):
                q, at = collection.queries[pairs.queries[i]], np.searchsorted(docs, pairs.docs[i])
                sets = [active(model.sae, q) & active(model.sae, z[at]) for z in (x, y)]
                union = sorted(set.union(*sets))
                if not union:
                    assert np.isnan(row.jaccard)
                    continue
                assert row.jaccard == pytest.approx(len(sets[0] & sets[1]) / len(union))
                assert row.cosine == pytest.approx(slow_cosine(x[at], y[at]), abs=1e-6)
                parts = []
                for e in listed:
                    span = slice(*e.parts.offsets[i : i + 2])
                    found = dict(zip(e.parts.features[span].tolist(), e.parts.contribution[span].tolist()))
                    parts.append([found.get(j, 0.0) for j in union])
                if len(union) > 2 and sets[0] and sets[1]:
                    assert row.correlation == pytest.approx(np.corrcoef(parts)[0, 1], abs=1e-5)
                    compared += 1
        assert compared > 5

    def test_words_need_texts_and_an_encoder(self, model):
        collection = random_collection(texts=lambda rows: ["a b c"] * len(rows))
        for own, encoder in ((collection, None), (random_collection(), WordVectors())):
            assert set(stability(model, own, encoder=encoder)["change"]) == {"noise"}

    def test_the_floor_is_another_document_of_the_same_query(self, model):
        collection = random_collection()
        frame = stability(model, collection, cosines_to_original=[0.9], other_rank=2, per_pair=True)
        own = frame[frame["change"] == "documents"].set_index("qid")
        order = np.argsort(-(collection.queries @ collection.docs.T), axis=1)
        compared = 0
        for q, (first, second) in enumerate(order[:, :2]):
            row, of_query = own.loc[f"q{q}"], active(model.sae, collection.queries[q])
            sets = [of_query & active(model.sae, collection.docs[d]) for d in (first, second)]
            assert row["docno"] == f"d{first}" and row["amount"] == 2
            assert row["cosine"] == pytest.approx(slow_cosine(collection.docs[first], collection.docs[second]), abs=1e-6)
            if set.union(*sets):
                assert row["jaccard"] == pytest.approx(len(set.intersection(*sets)) / len(set.union(*sets)))
                compared += 1
        assert compared > 5 and len(own) == 12

    def test_a_copy_of_the_best_document_is_no_other_document(self, model):
        docs = random_collection().docs.copy()
        queries = docs[[0, 1]]
        docs[2] = docs[0]  # of the first query's best
        collection = make_collection(docs, queries, [{0: 1}, {1: 1}])
        frame = stability(model, collection, cosines_to_original=[1.0], other_rank=2, per_pair=True)
        own = frame[frame["change"] == "documents"]
        assert own["qid"].tolist() == ["q0", "q1"] and (own["cosine"] < 0.99).all()
        with pytest.raises(ValueError, match="other_rank"):
            stability(model, collection, other_rank=0)

    def test_less_noise_is_closer(self):
        table = stability(make_model(random_sae(k=12)), random_collection(200, 60), cosines_to_original=[0.999, 0.9, 0.5])
        jaccard = table[table["measure"] == "jaccard"]["value"].tolist()
        assert jaccard[0] > jaccard[1] > jaccard[2]

    def test_refused(self, model):
        with pytest.raises(ValueError, match="cosines_to_original"):
            stability(model, random_collection(), cosines_to_original=[1.1])
        with pytest.raises(ValueError, match="word_share"):
            stability(model, random_collection(), word_share=1.0)
