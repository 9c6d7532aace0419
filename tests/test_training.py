"""Training: planted structures that must be found again."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyterrier_xetrieval.sae import SparseAutoencoder
from pyterrier_xetrieval.training import (
    SparseReconstruction,
    dense_reconstruction,
    fraction_of_variance_explained,
    keyword_labels,
    keyword_quality,
    train_internalizers,
    train_sae,
)
from pyterrier_xetrieval.training.data import embed_texts, questions_of, sentences_of, short_texts
from pyterrier_xetrieval.training.internalizers import identity_module, kernel_ridge
from pyterrier_xetrieval.training.labels import stem, terms
from pyterrier_xetrieval.training.measure import ndcg
from pyterrier_xetrieval.training.sae import _aux_loss, _draws, geometric_median


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def planted():
    """2,000 vectors of dimension 24, each made of 3 of 32 directions."""
    rng = np.random.default_rng(0)
    directions = unit(rng.standard_normal((32, 24))).astype(np.float32)
    codes = np.zeros((2000, 32), np.float32)
    for row in codes:
        row[rng.choice(32, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return directions, codes @ directions


def small(vectors, **options):
    options = dict(dict_size=32, k=3, steps=300, batch_size=128, lr=5e-3, dead_after=2000, eval_every=50, seed=3) | options
    return train_sae(vectors, **options)


def selected(sae, x):
    codes = sae.encode(x)
    return codes.ids, codes.values


def test_sae_recovers_a_planted_dictionary_far_better_than_the_random_sae(planted):
    directions, vectors = planted
    sae, history = small(vectors)
    random = SparseAutoencoder(24, 32, 3)
    random.reset_parameters(torch.Generator().manual_seed(0))
    fve, l0 = fraction_of_variance_explained(sae, torch.from_numpy(vectors))
    assert fve > 0.8 and fve > fraction_of_variance_explained(random, torch.from_numpy(vectors))[0] + 0.5
    assert l0 <= 3
    found = (torch.from_numpy(directions) @ sae.w_dec.detach().T).max(1).values
    assert found.median() > 0.9
    assert torch.allclose(sae.w_dec.norm(dim=1), torch.ones(32), atol=1e-5)
    assert [entry["step"] for entry in history][-2:] == [250, 300] and history[-1]["fve"] > history[0]["fve"]


def test_sae_training_repeats_bit_for_bit_from_a_seed(planted):
    options = dict(steps=60, retrieval_weight=0.1, weights=np.linspace(0.2, 2, 2000), dead_after=300)
    first, second = (small(planted[1], **options)[0].state_dict() for _ in range(2))
    other = small(planted[1], **options | {"seed": 4})[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["w_dec"], other["w_dec"])


@pytest.mark.parametrize("dict_size", [40, 70_000])  # 16-bit sort keys and wider ones
def test_sparse_gradients_equal_dense_autograd(dict_size):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(17, 6, dtype=torch.float64, generator=generator)
    sae = SparseAutoencoder(6, dict_size, 5).double()
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        if dict_size == 40:
            sae.b_enc.sub_(4)  # some of the selected slots are not active
        ids, values = selected(sae, x)
    if dict_size == 40:
        assert (values == 0).any() and (values > 0).any()
    weight = torch.randn(17, 6, dtype=torch.float64, generator=generator)
    params = [sae.w_enc, sae.b_enc, sae.w_dec, sae.b_dec]
    results = []
    for function in (SparseReconstruction.apply, dense_reconstruction):
        out = function(x, ids, values, *params)
        results.append([out, *torch.autograd.grad((out.sin() * weight).sum(), params)])
    for sparse, dense in zip(*results, strict=True):
        assert torch.allclose(sparse, dense, rtol=1e-9, atol=1e-9)


def test_sparse_and_dense_formulations_train_alike(planted):
    sparse, _ = small(planted[1], steps=20)
    dense, _ = small(planted[1], steps=20, reconstruction=dense_reconstruction)
    assert torch.allclose(sparse.w_dec, dense.w_dec, atol=1e-4)


def dead_start(directions, *, bias):
    """12 of 32 features that never come among the three largest."""
    init = SparseAutoencoder(24, 32, 3)
    with torch.no_grad():
        init.w_dec.copy_(torch.from_numpy(directions))
        init.w_dec[:12] = F.normalize(torch.randn(12, 24, generator=torch.Generator().manual_seed(0)), dim=1)
        init.w_enc.copy_(init.w_dec)
        init.w_enc[:12] *= 0.1
        init.b_enc[:12] = bias
    return init


@pytest.mark.parametrize(
    ("bias", "cure"),
    [(0.0, {"aux_k": 12}), (-3.0, {"aux_k": 0, "revive_every": 25})],  # below zero on all rows AuxK has no gradient
)
def test_dead_features_come_back(planted, bias, cure):
    directions, vectors = planted
    shares = []
    for options in ({"aux_k": 0}, cure):
        options = {"init": dead_start(directions, bias=bias), "steps": 150, "dead_after": 1000} | options
        shares.append(small(vectors, **options)[1][-1]["dead_share"])
    assert shares[0] > 0.3 and shares[1] < shares[0] / 2


def test_auxk_is_detached_from_living_features_and_follows_its_formula(planted):
    sae, _ = small(planted[1], steps=20)
    batch = torch.from_numpy(planted[1][:50])
    residual = (batch - sae(batch)).detach()
    dead = torch.tensor([1, 5])
    for parameter in sae.parameters():
        parameter.grad = None
    loss = _aux_loss(sae, batch, residual, dead, 24, SparseReconstruction.apply)
    loss.backward()
    living = [j for j in range(32) if j not in (1, 5)]
    assert not sae.w_dec.grad[living].any() and not sae.w_enc.grad[living].any() and sae.w_dec.grad[dead].any()
    with torch.no_grad():
        codes = torch.relu((batch - sae.b_dec) @ sae.w_enc[dead].T + sae.b_enc[dead])
        expected = (residual - codes @ sae.w_dec[dead]).pow(2).sum() / (residual - residual.mean(0)).pow(2).sum()
    assert torch.allclose(loss, expected, rtol=1e-4)


def test_retrieval_term_keeps_scores_better(planted):
    vectors = unit(planted[1]).astype(np.float32)
    plain = small(vectors, k=2, steps=100)[1][-1]
    plain_divergence = small(vectors, k=2, steps=100, retrieval_weight=1e-9)[1][-1]["retrieval_loss"]
    assert small(vectors, k=2, steps=100, retrieval_weight=0.5)[1][-1]["retrieval_loss"] < plain_divergence
    assert plain["retrieval_loss"] == 0


def test_draws_follow_weights_and_groups():
    generator = torch.Generator().manual_seed(0)
    draws = _draws(100, 50, torch.tensor([3.0] * 50 + [1.0] * 50), 1, generator)
    counts = torch.bincount(torch.cat([next(draws) for _ in range(400)]), minlength=100).double()
    assert counts[:50].mean() / counts[50:].mean() == pytest.approx(3, rel=0.05)
    batch = next(_draws(103, 20, None, 5, generator)).view(4, 5)
    assert torch.equal(batch - batch[:, :1], torch.arange(5).expand(4, 5)) and (batch[:, 0] % 5 == 0).all()


def test_geometric_median_ignores_an_outlier():
    x = torch.cat([torch.randn(99, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + 1, torch.full((1, 3), 1000.0)])
    assert torch.allclose(geometric_median(x), torch.ones(3), atol=0.1)


def test_sae_errors_name_what_was_expected():
    with pytest.raises(ValueError, match=r"shape \[n, m\].*\(5,\)"):
        train_sae(np.zeros(5), dict_size=4, k=1, steps=1)
    with pytest.raises(ValueError, match="multiple of groups=3.*1024"):
        train_sae(np.zeros((9, 4)), dict_size=4, k=1, steps=1, groups=3)
    with pytest.raises(ValueError, match="directions of shape"):
        small(np.random.default_rng(0).standard_normal((50, 4)), init=np.zeros((3, 3)))


@pytest.fixture(scope="module")
def teacher():
    """A smooth map of unit vectors, its noisy values on 400 of them, and 1,500 unlabelled ones."""
    rng = np.random.default_rng(0)
    mix = (np.eye(16) + 0.5 * rng.standard_normal((16, 16))).astype(np.float32)
    z, unlabelled = (unit(rng.standard_normal((n, 16))).astype(np.float32) for n in (400, 1500))
    noise = 0.3 * rng.standard_normal((400, 16)).astype(np.float32)
    return z, {"gist": unit(np.tanh(2 * z @ mix) + noise).astype(np.float32), "same": z}, unlabelled


def test_internalizers_beat_identity_and_keep_the_best_weights(teacher):
    z, targets, _ = teacher
    modules, history = train_internalizers(z, targets, hidden=32, lr=5e-3, batch_size=32, patience=4, epochs=60)
    record = history["gist"]
    assert record["val_mse"] < 0.6 * record["identity_mse"] and record["val_cosine"] > record["identity_cosine"]
    best = int(np.argmin(record["val_loss"]))
    assert record["best_epoch"] == best == len(record["val_loss"]) - 5  # stopped four epochs later …
    assert record["val_mse"] == pytest.approx(record["val_loss"][best], rel=1e-5)  # … and went back
    assert record["val_loss"][-1] > record["val_loss"][best]
    with torch.no_grad():
        assert modules["gist"](torch.from_numpy(z)).norm(dim=1) == pytest.approx(np.ones(400), abs=1e-5)
    assert history["same"]["best_epoch"] == 0 or history["same"]["val_mse"] < 1e-3


def test_internalizers_repeat_from_a_seed_and_distill(teacher):
    z, targets, unlabelled = teacher
    options = dict(hidden=32, lr=5e-3, batch_size=32, patience=3, epochs=20)
    options |= dict(pretrain=unlabelled, ensemble=2, distill_epochs=6, distill_batch_size=64)
    runs = [train_internalizers(z, {"gist": targets["gist"]}, **options) for _ in range(2)]
    first, second = (run[0]["gist"].state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    record = runs[0][1]["gist"]
    assert record["val_mse"] < 0.6 * record["identity_mse"] and record["ensemble_mse"] < record["identity_mse"]


def test_kernel_ridge_interpolates_without_ridge(teacher):
    z, targets, _ = (torch.from_numpy(teacher[0]), torch.from_numpy(teacher[1]["gist"]), None)
    guess = kernel_ridge(z, targets, z, gamma=20.0, ridge=1e-4)
    assert (guess - targets).pow(2).sum(1).mean() < 0.01


def test_identity_module_starts_at_the_identity():
    z = torch.from_numpy(unit(np.random.default_rng(0).standard_normal((20, 24))).astype(np.float32))
    with torch.no_grad():
        assert (identity_module(24, 64)(z) - z).norm(dim=1).max() < 0.02
        assert identity_module(24, 8)(z).shape == (20, 24)


def test_internalizer_errors_name_what_was_expected(teacher):
    z, targets, _ = teacher
    with pytest.raises(ValueError, match=r"targets\['gist'\]: expected shape \(399, 16\).*\(400, 16\)"):
        train_internalizers(z[:399], targets)
    with pytest.raises(ValueError, match="at least one aspect"):
        train_internalizers(z, {})
    with pytest.raises(ValueError, match="pretrain: expected dimension 16.*15"):
        train_internalizers(z, targets, pretrain=z[:, :15])


TOPICS = {"beer": "hops malt brewery", "court": "judge verdict lawyer", "heart": "artery valve surgery"}


def topic_texts(seed, n):
    rng = np.random.default_rng(seed)
    filler = [a + b for a in ("ran", "tol", "mig", "sper", "lun") for b in ("do", "ka", "mu", "ti", "pa")]
    topic = rng.integers(3, size=n)
    texts = [
        " ".join(
            [rng.choice(list(TOPICS.values())[t].split()), list(TOPICS)[t] + "s" * int(rng.integers(2)), *rng.choice(filler, 5)]
        )
        for t in topic
    ]
    ids = np.stack([topic, np.full(n, 3)], axis=1)
    values = np.stack([rng.uniform(1, 2, n), rng.uniform(0.1, 1, n)], axis=1).astype(np.float32)
    return texts, ids, values


def test_labels_name_the_planted_word_of_each_topic():
    texts, ids, values = topic_texts(0, 300)
    rows = keyword_labels(texts, ids, values, dict_size=5, top=60)
    assert [row["feature"] for row in rows] == [0, 1, 2, 3, 4]
    for row, word in zip(rows[:3], TOPICS, strict=True):
        first = row["label"].split(", ")[0]
        allowed = {stem(w) for w in (word, *TOPICS[word].split())}
        assert {stem(w) for w in row["label"].replace(",", "").split()} <= allowed, row
        assert first and len(row["label"].split(", ")) <= 3
        stems = [stem(w) for part in row["label"].split(", ") for w in part.split()]
        assert len(stems) == len(set(stems))  # "judge" and "judges" are one
    assert rows[4]["label"] == "" and rows[4]["firing_rate"] == 0  # never active
    assert rows[3]["firing_rate"] == 1 and rows[3]["max_activation"] == pytest.approx(values[:, 1].max())
    held = topic_texts(1, 200)
    labels = [row["label"] for row in rows]
    good = keyword_quality(labels[:3] + ["", ""], *held)
    bad = keyword_quality([labels[1], labels[2], labels[0], "", ""], *held)
    assert good["features"] == 3 and good["auc"] > 0.7 > 0.52 > bad["auc"]


def test_terms_leave_out_numbers_codes_and_stop_words():
    words = ["dogs", "ran", "mitral", "valve", "mice"]
    assert terms("The 3 dogs ran x2 http, mitral valve: of mice!") == [*words, "dogs ran", "mitral valve"]
    assert stem("studies") == stem("study") and stem("cats") == stem("cat")


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


def test_ndcg_of_known_rankings():
    docs = np.eye(12, dtype=np.float32)
    queries = np.array([[3, 2, 1] + [0] * 9], np.float32)
    assert ndcg(queries, docs, [{0: 1, 1: 1}]) == pytest.approx(1)
    assert ndcg(queries, docs, [{1: 2}]) == pytest.approx(1 / np.log2(3))
