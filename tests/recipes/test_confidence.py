"""Parameters of confidence: found again where they were planted, calibrated on features and pairs that were held out."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.labelling import judged_confidence
from recipes import confidence as recipe
from recipes.calibration import calibration_error
from recipes.confidence import fit, held_out, held_out_rows, pairs_of, predict, read_excerpts
from recipes.row_confidence import fit_pairs

PLANTED = Confidence(intercept=-1.5, activation=2.5, clarity=0.8, detection=3.0)


def judged(n_features=800, seed=0):
    """Four excerpts of each feature, whose labels differ in quality: what a judge said of them, and of four others like them."""
    rng = np.random.default_rng(seed)
    feature = np.repeat(np.arange(n_features), 4)
    clarity = rng.integers(0, 3, n_features)[feature].astype(float)
    activation = rng.uniform(0.2, 1, len(feature))
    p = 1 / (1 + np.exp(-(1.0 + 3 * np.log(activation) + clarity + 1.3 * rng.normal(size=n_features)[feature])))
    fits, fresh = (rng.random((2, len(feature))) < p).astype(float)
    frame = pd.DataFrame({"feature": feature, "clarity": clarity, "activation": activation, "fits": fits, "words": 10})
    frame = frame.assign(hits=frame.groupby("feature")["fits"].transform("sum"), active=4, false=0.0)
    return frame, fresh


def rows_of(n, truth, *, seed=0, together=False):
    """Rows of explanations, eight a pair; ``together``: one chance decides for both texts."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "pair": np.arange(n) // 8, "query_activation": rng.uniform(0.1, 1, n), "document_activation": rng.uniform(0.1, 1, n),
        "clarity": rng.choice([0, 1, 2, np.nan], n), "detection": rng.choice([0.5, 0.7, 0.9, np.nan], n),
        "contribution": rng.exponential(0.03, n), "query_support": rng.integers(0, 2, n).astype(float),
        "document_support": rng.integers(0, 2, n).astype(float),
        "query_similarity": rng.uniform(-0.1, 0.6, n), "document_similarity": rng.uniform(-0.1, 0.6, n),
    })  # fmt: skip
    known = frame[["clarity", "detection", "contribution"]].to_numpy().T
    sides = np.stack([
        truth.of_text(frame[f"{side}_activation"], *known, frame[f"{side}_support"], frame[f"{side}_similarity"]) for side in ("query", "document")
    ])  # fmt: skip
    chance = rng.random(n) if together else rng.random((2, n))
    fits = (chance < sides).all(axis=0)
    return frame.assign(verdict=np.where(fits, 2, rng.integers(0, 2, n)))


@pytest.fixture(scope="module")
def excerpts():
    return judged()


def test_verdicts_left_out_of_detection_give_the_parameters_that_fresh_verdicts_need(monkeypatch):
    frame, fresh = judged(3000)
    detection = ((frame["hits"] / frame["active"] + 1) / 2).to_numpy()
    known = (frame["activation"], frame["clarity"], detection)
    found = fit(frame)
    monkeypatch.setattr(judged_confidence, "detection_without", lambda excerpts, rows, expected: detection)
    best, leaking = fit(frame.assign(fits=fresh)), fit(frame)  # verdicts that detection was not made of, and those that it was
    assert calibration_error(found.of_text(*known), fresh) < 0.02
    assert list(found.to_dict().values()) == pytest.approx(list(best.to_dict().values()), rel=0.1, abs=0.1)
    assert calibration_error(leaking.of_text(*known), fresh) > 0.07 and leaking.detection > 2 * best.detection


def test_an_excerpt_is_predicted_without_its_own_verdict(excerpts):
    frame = excerpts[0].head(8)
    flipped = frame.assign(fits=np.where(frame.index == 0, 1 - frame["fits"], frame["fits"]))
    flipped["hits"] = flipped.groupby("feature")["fits"].transform("sum")
    before, after = (predict(PLANTED, table, np.arange(8)[:, None])[:, 0] for table in (frame, flipped))
    assert before[0] == pytest.approx(after[0])
    assert (np.sign(after[1:4] - before[1:4]) == np.sign(flipped["fits"][0] - frame["fits"][0])).all()
    np.testing.assert_array_equal(before[4:], after[4:])
    both = [predict(PLANTED, table, np.array([[0, 1]])) for table in (frame, flipped)]
    np.testing.assert_allclose(*both)


def test_what_is_filled_in_is_what_is_expected(excerpts):
    frame = excerpts[0].head(4)
    found = predict(PLANTED, frame, np.array([[0], [1]]))[:, 0]
    hits = frame["hits"][0] - frame["fits"][:2] + found
    again = PLANTED.of_text(frame["activation"][:2], frame["clarity"][:2], (hits / 4 + 1) / 2)
    np.testing.assert_allclose(found, again, atol=1e-3)


def test_held_out_features_and_pairs_are_calibrated(excerpts):
    frame, _ = excerpts
    pairs = pairs_of(frame)
    fits = frame["fits"].to_numpy()
    of_text, of_pair = held_out(frame, pairs, 0)
    assert calibration_error(of_text, fits) <= 0.05
    assert calibration_error(of_pair, fits[pairs].prod(axis=1)) <= 0.05
    alone, _ = held_out(frame, pairs, 0, recipe.WEIGHTS[:1])
    clear = frame["clarity"] == 2
    assert calibration_error(alone[clear], fits[clear]) > 0.1  # activation alone does not know clear labels from others


def test_what_is_predicted_was_not_fitted_on(excerpts, monkeypatch):
    frame, _ = excerpts
    feature, fitted, seen = frame["feature"].to_numpy(), [], []
    monkeypatch.setattr(recipe, "fit", lambda part, use: fitted.append(set(part["feature"])) or PLANTED)
    monkeypatch.setattr(recipe, "predict", lambda _, all_, rows: seen.append(set(feature[rows].flat)) or np.ones(rows.shape))
    held_out(frame, pairs_of(frame), 0)
    assert seen[::2] == seen[1::2] and set.union(*seen) == set(feature)  # of texts and of pairs
    assert [own & other for own, other in zip(seen[::2], fitted)] == [set()] * recipe.FOLDS
    rows, refitted = rows_of(80, PLANTED), []
    monkeypatch.setattr(recipe, "fit_pairs", lambda part, start, use: refitted.append(set(part["pair"])) or PLANTED)
    held_out_rows(rows, judged_confidence.START, 0)
    assert [len(pairs) for pairs in refitted] == [8] * recipe.FOLDS and set.intersection(*refitted) == set()


def test_pairs_are_of_one_feature_and_folds_keep_groups_whole(excerpts):
    frame, _ = excerpts
    pairs = pairs_of(frame)
    feature = frame["feature"].to_numpy()
    assert len(pairs) == 6 * 800 == len({tuple(pair) for pair in pairs}) and (feature[pairs[:, 0]] == feature[pairs[:, 1]]).all()
    fold = recipe.folds_of(feature, 3)
    assert np.bincount(fold).tolist() == [640] * recipe.FOLDS
    assert pd.Series(fold).groupby(feature).nunique().max() == 1
    with pytest.raises(ValueError, match="at least 5 features or pairs to hold some out, found 4"):
        recipe.folds_of([1, 2, 3, 4, 4], 0)


def test_pairs_give_back_planted_parameters():
    truth = Confidence(intercept=-1.0, activation=2.0, clarity=1.0, detection=3.0, contribution=20.0, support=1.0, similarity=4.0)
    found = fit_pairs(rows_of(20_000, truth), judged_confidence.START, recipe.BY_ROW[-1])
    for name, value in truth.to_dict().items():
        assert found.to_dict()[name] == pytest.approx(value, abs=0.15 * abs(value) + 0.2), name
    plain = fit_pairs(rows_of(500, truth), judged_confidence.START)
    assert plain.contribution == plain.support == plain.similarity == 0  # not asked for


def test_no_weight_falls_below_zero():
    rows = rows_of(2000, PLANTED).assign(contribution=lambda frame: (frame["verdict"] < 2) * 0.1)
    found = fit_pairs(rows, judged_confidence.START, recipe.BY_ROW[-1])
    assert found.contribution == 0 and found.activation > 1


@pytest.mark.parametrize("together", [False, True])
def test_few_rows_are_enough_whether_or_not_texts_hang_together(together):
    truth = Confidence(intercept=-1.0, activation=2.0, clarity=1.0, detection=3.0, contribution=20.0, support=1.0, similarity=4.0)
    few, many = rows_of(800, truth, together=together), rows_of(8000, truth, seed=1, together=together)
    found = fit_pairs(few, judged_confidence.START, recipe.BY_ROW[-1])
    sides = (many["query_activation"], many["document_activation"])
    names = (
        "clarity",
        "detection",
        "contribution",
        "query_support",
        "document_support",
        "query_similarity",
        "document_similarity",
    )
    known = (many[name] for name in names)
    p = found(*sides, *known)
    assert calibration_error(p, many["verdict"] == 2) <= 0.05


def test_contributions_are_kept_where_they_help(capsys):
    helps = rows_of(3000, Confidence(-1.0, 2.0, 1.0, 3.0, contribution=30.0))
    assert recipe.refit(helps, judged_confidence.START, 0).contribution > 15
    told = capsys.readouterr().out
    assert "rows; as fitted on texts: 3000" in told and "rows; activation, clarity, detection, contribution: 3000" in told
    assert calibration_error(held_out_rows(helps, judged_confidence.START, 0, recipe.BY_ROW[-1]), helps["verdict"] == 2) <= 0.05


def write(folder, frame, *, compressed=True):
    """The files that the program reads; every feature has two texts that do not switch it on, one of which seems to fit."""
    lines = []
    for feature, own in frame.groupby("feature"):
        texts = [
            {"text": "… one two three …", "activation": row.activation / 4, "active": 1, "verdict": int(row.fits)}
            for row in own.itertuples()
        ]
        texts += [{"text": "none", "activation": 0.0, "active": 0, "verdict": verdict} for verdict in (0, 1)]
        lines.append(json.dumps({"feature": int(feature), "hypothesis": '"a', "texts": texts}) + "\n")
    verdicts, hypotheses = folder / f"verdicts.jsonl{'.gz' if compressed else ''}", folder / "hypotheses.tsv"
    text = "".join(lines).encode()
    verdicts.write_bytes(gzip.compress(text) if compressed else text)
    table = frame.drop_duplicates("feature")[["feature", "clarity"]].assign(max=0.25, hypothesis='"a')
    table.to_csv(hypotheses, sep="\t", index=False, quoting=3)
    return verdicts, hypotheses


@pytest.mark.parametrize("compressed", [True, False])
def test_files_are_read(excerpts, tmp_path, compressed):
    frame = excerpts[0].head(12)
    read = read_excerpts(*write(tmp_path, frame, compressed=compressed))
    same = ["feature", "clarity", "activation", "fits", "hits", "active"]
    pd.testing.assert_frame_equal(read[same], frame[same], check_dtype=False)
    assert (read["false"] == 0.5).all() and (read["words"] == 3).all()


def run(*arguments):
    return CliRunner().invoke(recipe.main, [str(a) for a in arguments], catch_exceptions=False)


def test_the_program_writes_what_it_fitted(excerpts, tmp_path):
    frame = excerpts[0].head(1200)
    verdicts, hypotheses = write(tmp_path, frame)
    out = tmp_path / "confidence.json"
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses, "--out", out)
    assert done.exit_code == 0, done.output
    assert Confidence.from_dict(json.loads(out.read_text())) == fit(read_excerpts(verdicts, hypotheses))
    for line in ("isotonic on the last; texts: 1200", "texts; clarity 2: ", "confidence >= 0.5", "activation > 0.3 of maximum"):
        assert line in done.output
    rows_of(800, PLANTED).to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses, "--pairs", tmp_path / "rows.tsv", "--out", out)
    assert done.exit_code == 0 and "rows; as fitted on texts: 800" in done.output
    assert Confidence.from_dict(json.loads(out.read_text())) != fit(read_excerpts(verdicts, hypotheses))


def test_files_of_another_form_are_refused_in_a_line(excerpts, tmp_path):
    verdicts, hypotheses = write(tmp_path, excerpts[0].head(40))
    rows_of(80, PLANTED).drop(columns=["pair"]).to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses, "--pairs", tmp_path / "rows.tsv")
    assert done.exit_code == 2 and "missing ['pair']" in done.stderr
    verdicts.write_bytes(gzip.compress(json.dumps({"feature": 0, "texts": []}).encode()))
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses)
    assert done.exit_code == 2 and "found none in" in done.stderr
    hypotheses.write_text("feature\tmax\tclarity\n1\t1\t2\n")
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses)
    assert done.exit_code == 2 and "missing 0" in done.stderr
    hypotheses.write_text("feature\tmax\n0\t1\n")
    done = run("--verdicts", verdicts, "--hypotheses", hypotheses)
    assert done.exit_code == 2 and "missing ['clarity']" in done.stderr
