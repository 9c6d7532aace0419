"""Figures of the tables that evaluations return: the numbers drawn are those of the table, and other tables are refused."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import viz
from pyterrier_xetrieval.evaluation import evaluate
from tests.helpers.builders import make_model, random_sae, toy
from tests.helpers.figures import bars, check_files, dots, lines

ALL = ["counterfactual", "erasure", "faithfulness", "label_scores", "latency", "reconstruction", "score_shares", "sparsity",
       "stability", "steering"]  # fmt: skip


def plot(name):
    return getattr(viz, f"plot_{name}")


def value(table, **conditions):
    for column, wanted in conditions.items():
        table = table[table[column] == wanted]
    (found,) = table["value"]
    return float(found)


@pytest.mark.parametrize("name", ALL)
def test_every_table_is_drawn_and_saved(tables, name):
    before = tables[name].copy()
    ax = plot(name)(tables[name])
    check_files(ax)
    pd.testing.assert_frame_equal(tables[name], before)
    assert ax.get_title(loc="left") == "a_small_one" and ax.get_xlabel() and (ax.get_legend() is not None)


@pytest.mark.parametrize("name", ALL)
def test_another_table_is_refused_by_the_name_of_the_evaluation(tables, name):
    expected = {"sparsity": "reconstruction", "faithfulness": "faithfulness_curves"}.get(name, name)
    other = tables["score_shares" if name == "stability" else "stability"]
    for wrong in (other, other.drop(columns="measure"), tables[name][:0]):
        with pytest.raises(ValueError, match=rf"expects the table of pyterrier_xetrieval.evaluation.{expected}\(model"):
            plot(name)(wrong)
    with pytest.raises(ValueError, match="found Series"):
        plot(name)(tables[name]["value"])
    both = pd.concat([tables[name], tables[name].assign(collection="another")])
    with pytest.raises(ValueError, match=r"found \['a_small_one', 'another'\]"):
        plot(name)(both)


def test_pairs_are_no_table():
    from pyterrier_xetrieval.evaluation import erasure

    with pytest.raises(ValueError, match="without per_pair=True"):
        viz.plot_erasure(erasure(make_model(random_sae(16, 256, 12)), toy(), per_pair=True))


def test_the_table_of_all_questions_is_drawn_as_each_ones_own():
    model, collection = make_model(random_sae(16, 256, 12)), toy()
    table = evaluate(model, collection, what=["shares", "curves", "reconstruction", "labels"])
    own = evaluate(model, collection, what="curves")
    for curve in ("deletion", "insertion"):
        together, alone = (lines(viz.plot_faithfulness(t, curve=curve)) for t in (table, own))
        assert together.keys() == alone.keys() and all(np.allclose(together[o][1], alone[o][1]) for o in alone)
    for draw in (viz.plot_score_shares, viz.plot_reconstruction, viz.plot_sparsity, viz.plot_label_scores):
        draw(table)


def test_steering(tables):
    table = tables["steering"]
    drawn = lines(viz.plot_steering(table))
    assert list(drawn) == ["key", "non key", "non key as active"]
    for name, (alphas, values) in drawn.items():
        assert values[alphas == 1] == 0 and len(alphas) == 9
        expected = value(table, set=name.replace(" ", "_"), split="unseen", alpha=0.5, measure="change")
        assert values[alphas == 0.5] == pytest.approx(100 * expected)
    ax = viz.plot_steering(table, split="same", measure="nDCG@10_at_length")
    expected = value(table, set="key", split="same", alpha=2.0, measure="nDCG@10_at_length")
    assert lines(ax)["key"][1][-1] == pytest.approx(100 * expected) and "at their length" in ax.get_ylabel()
    with pytest.raises(ValueError, match=r"expects split among \['same', 'unseen'\], found 'other'"):
        viz.plot_steering(table, split="other")


def test_erasure(tables):
    table, drawn = tables["erasure"], dots(viz.plot_erasure(tables["erasure"], mode="keep_only"))
    assert list(drawn) == ["true positives", "false positives"] and list(drawn["true positives"])[0] == "overlap"
    assert not any("cut" in name for name in drawn["true positives"])
    expected = value(table, set="non_overlap", mode="keep_only", pairs="false positive", measure="change")
    assert drawn["false positives"]["non overlap"] == pytest.approx(expected)


def test_counterfactual(tables):
    table = tables["counterfactual"]
    sizes, documents = (dots(viz.plot_counterfactual(table, of=of)) for of in ("features", "documents"))
    assert sizes["needed for it"]["random"] == pytest.approx(value(table, order="random", measure="pruned"))
    possible = documents["documents that leave"]["untrained"]
    assert possible == pytest.approx(100 * value(table, order="untrained", measure="possible"))
    with pytest.raises(ValueError, match="found 'pages'"):
        viz.plot_counterfactual(table, of="pages")


def test_score_shares_add_up(tables):
    ax = viz.plot_score_shares(tables["score_shares"])
    for row in (0, 1):
        widths = [container[row].get_width() for container in ax.containers]
        assert sum(widths) == pytest.approx(100, abs=1e-6) and len(widths) == 4
    assert ax.containers[0][0].get_width() == pytest.approx(100 * value(tables["score_shares"], part="shared", measure="mean"))
    with pytest.raises(ValueError):
        bars(ax)  # two rows of four parts each, not a bar a row


def test_stability(tables):
    drawn = dots(viz.plot_stability(tables["stability"]))
    expected = value(tables["stability"], change="noise", amount=0.99, measure="jaccard")
    assert drawn["features (Jaccard)"]["noise, cosine 0.99"] == pytest.approx(expected)
    assert "different documents, ranks 1 and 2" in drawn["features (Jaccard)"]


def test_latency(tables):
    drawn = lines(viz.plot_latency(tables["latency"]))
    assert list(drawn) == ["dense", "multi-view", "explanation"]
    assert drawn["dense"][1][1] == pytest.approx(value(tables["latency"], system="dense", size=200, measure="median_ms"))


def test_reconstruction(tables):
    table = tables["reconstruction"]
    drawn = dots(viz.plot_reconstruction(table, measure="variance_explained"))
    plain = table[~table["refit"].fillna(True)]
    assert list(drawn) == ["topk 2", "topk 8", "topk 4", "random"]
    expected = value(plain, sae="topk 4", view="purpose", measure="variance_explained")
    assert drawn["topk 4"]["purpose"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="found 'beauty'"):
        viz.plot_reconstruction(table, measure="beauty")
    many = pd.concat([table.assign(sae=table["sae"] + str(i)) for i in range(3)])
    with pytest.raises(ValueError, match="at most 8 things to compare, found 12"):
        viz.plot_reconstruction(many)


def test_dictionaries_of_one_kind_are_a_line(tables):
    table = tables["sparsity"]
    for measure in ("mse", "features_active", "nDCG@10"):
        ax = viz.plot_sparsity(table, measure=measure)
        drawn = lines(ax)
        assert {name: len(x) for name, (x, _) in drawn.items()} == {"topk": 3, "random": 1}
        assert drawn["topk"][0].tolist() == sorted(
            value(table, sae=f"topk {k}", view="original", measure="l0") for k in (2, 4, 8)
        )
    docs = table[(table["reconstructed"] == "docs") & ~table["refit"].fillna(True) & ~table["unit"].fillna(True)]
    assert drawn["random"][1][0] == pytest.approx(value(docs, sae="random", measure="nDCG@10"))
    with pytest.raises(ValueError, match="expects view among"):
        viz.plot_sparsity(table, view="side")


def test_label_scores(tables):
    ax = viz.plot_label_scores(tables["label_scores"])
    table = tables["label_scores"]
    for patch, name in zip(ax.patches, ("explainer", "random"), strict=True):
        own = table[(table["sae"] == name) & (table["measure"] == "balanced_accuracy")]
        shares = np.histogram(own["value"], 20, (0, 1))[0] / len(own)
        assert patch.get_data().values == pytest.approx(shares) and patch.get_label() == f"{name} ({len(own)} features)"
    with pytest.raises(ValueError, match="expects labels among"):
        viz.plot_label_scores(table, labels="hypotheses")
