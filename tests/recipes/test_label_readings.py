"""Labels of several readings: what judges said of each, which are kept, and what a pair would be shown."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.optimize import minimize

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.evaluation import read_embedded
from pyterrier_xetrieval.evaluation.reading_rows import ModelForm
from recipes import row_facts
from recipes.label_readings import JUDGED, SHOWN, main
from recipes.label_verdicts import LEAN, MOST, read_verdicts, shown, with_readings
from tests.helpers.reading import TEXTS, write_collections

STRENGTHS = (0.6, 0.4, 0.3, 0.2, 0, 0, 0, 0)


def judged(feature, old, verdicts, *, near=None, clarity=1, strengths=STRENGTHS):
    """What ``keep`` writes of a feature: ``verdicts`` by reading; ``near`` by reading, one number for all texts or one for each."""
    near = {} if near is None else near
    return {
        "feature": feature, "old": old, "new": " / ".join(verdicts), "clarity": clarity, "readings": list(verdicts),
        "docnos": [f"t{i}" for i in range(len(strengths))], "strengths": list(strengths), "verdicts": list(verdicts.values()),
        "near": [np.broadcast_to(near.get(reading, 0.0), len(strengths)).tolist() for reading in verdicts],
    }  # fmt: skip


# other features, whose verdicts do not follow the strength of texts alone: with few verdicts that do, no logit model has a finite slope
OTHERS = [
    judged(900 + n, "x", {"x": f"{x}0000", "y": f"{y}0000"})
    for n, (x, y) in enumerate([("0110", "1001"), ("1001", "0111"), ("0001", "1100"), ("1110", "0010"), ("1000", "1101")])
]


def before(*rows, clarity=1, hits=0.5, false=0.1):
    facts = {"clarity": clarity, "detection": (hits + 1 - false) / 2, "hits": hits, "false": false}
    return pd.DataFrame(
        [{"feature": row["feature"], "label": row["old"], "method": "m", "max_activation": 0.3, **facts} for row in rows]
    )


def after(*rows, **facts):
    rows = [*rows, *OTHERS]
    return with_readings(before(*rows, **facts), rows).set_index("feature").drop(index=[row["feature"] for row in OTHERS])


def qualities_by_hand(sheets):
    """``u`` of each (strengths, verdicts) under ``logit P = a + b ln(strength) + u``: a, b of all together, then ``u ~ N(0, 1)``."""
    sheets = [[(np.log(s), int(v)) for s, v in zip(strengths, verdicts) if s > 0] for strengths, verdicts in sheets]

    def loss(logits, fits):
        return np.sum(np.logaddexp(0, logits) - fits * logits)

    x, fits = np.array([pair for sheet in sheets for pair in sheet]).T
    a, b = minimize(lambda p: loss(p[0] + p[1] * x, fits), [0.0, 0.0], tol=1e-10).x
    own = [np.array(sheet).T for sheet in sheets]
    return [float(minimize(lambda u, x=x, y=y: loss(a + b * x + u[0], y) + u[0] ** 2 / 2, [0.0], tol=1e-10).x[0]) for x, y in own]


@pytest.fixture
def sheet(tmp_path):
    """A folder whose judges still have to write: feature 3 has two readings, feature 11 one, each with three texts."""
    key = {
        "11": {"readings": ["beer"], "docnos": ["a", "b", "c"], "strengths": [0.5, 0.0, 0.2], "old": "beer"},
        "3": {"readings": ["lists", "order"], "docnos": ["d", "e", "f"], "strengths": [0.0, 0.9, 0.4], "old": "lists"},
    }
    (tmp_path / "key.json").write_text(json.dumps(key))
    return tmp_path


def test_complete_verdicts_are_read_from_all_files(sheet):
    (sheet / "verdicts.a.tsv").write_text("3\tB\t011\n11\tA\t1 0 1\n")
    (sheet / "verdicts.b.tsv").write_text("\n3\tA\t010\n")
    first, second = read_verdicts(sheet)
    assert (first["feature"], first["verdicts"], first["readings"]) == (3, ["010", "011"], ["lists", "order"])
    assert (second["feature"], second["verdicts"], second["docnos"]) == (11, ["101"], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("3\tA\t010\n11\tA\t101\n", "3 verdicts of feature 3, found ''"),  # B was forgotten
        ("3\tA\t010\n3\tB\t011\n", "3 verdicts of feature 11, found ''"),
        ("3\tA\t010\n3\tB\t01\n11\tA\t101\n", "3 verdicts of feature 3, found '01'"),
        ("3\tA\t0100\n3\tB\t011\n11\tA\t101\n", "3 verdicts of feature 3, found '0100'"),
        ("3\tA\t012\n3\tB\t011\n11\tA\t101\n", "3 verdicts of feature 3, found '012'"),
        ("3\tA\t010\n3\tB\t011\n11\tA\n", "three columns"),
        ("3\tA\t010\n3\tB\t011\n11\tA\t101\n3\tB\t000\n", "3 B is judged twice"),
        ("3\tA\t010\n3\tB\t011\n11\tA\t101\n11\tB\t000\n", "11 B is not on the sheets"),
    ],
)
def test_verdicts_that_are_wrong_are_refused(sheet, lines, message):
    (sheet / "verdicts.a.tsv").write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_verdicts(sheet)


def test_readings_that_fit_are_kept_the_best_first():
    verdicts = {
        "dogs": "10000000", "nothing": "00000000", "pets": "11110000", "anything": "11001100", "noise": "10001111",
        "cats": "11000000",
    }  # fmt: skip
    table = after(judged(1, "dogs", verdicts), judged(2, "dogs", {"dogs": "11000000", "none": "00000000"}))
    assert table.loc[1, "label"] == "pets / cats / dogs"  # "anything" fits half of the active and of the silent texts
    assert table.loc[2, "label"] == "dogs" and table.loc[2, "detections"] == ""  # nothing new


def test_at_most_four_readings_are_kept():
    verdicts = {f"reading {n}": "1" * n + "0" * (8 - n) for n in (1, 3, 2, 4)} | {"dogs": "10100000"}
    label = after(judged(1, "dogs", verdicts)).loc[1, "label"].split(" / ")
    assert MOST == 4 and label[:2] == ["reading 4", "reading 3"] and "reading 1" not in label and len(label) == 4


def test_the_label_before_stays_where_the_readings_would_fit_less():
    verdicts = {"dogs": "11110000", "pets": "10000000"}
    hides = judged(1, "dogs", verdicts, near={"pets": 0.9})  # the new reading is nearest everywhere
    adds = judged(2, "dogs", verdicts)  # equally near: the one that is good on the other texts is shown
    table = after(hides, adds)
    assert table["label"].to_dict() == {1: "dogs", 2: "dogs / pets"}
    pd.testing.assert_frame_equal(table.loc[[1]].drop(columns="detections"), before(hides).set_index("feature"))
    assert table.loc[1, "detections"] == ""


def test_the_label_before_stays_where_silent_texts_gain_more():
    verdicts, nowhere = {"dogs": "11100000", "pets": "11000010"}, (0,) * 8
    at_silent = tuple(0.9 * (text == 6) for text in range(8))
    table = after(judged(1, "dogs", verdicts, near={"pets": at_silent}), judged(2, "dogs", verdicts, near={"pets": nowhere}))
    assert table["label"].to_dict() == {1: "dogs", 2: "dogs / pets"}


def test_each_reading_has_a_detection_score_that_is_moved_from_that_of_the_label_before():
    rows = [
        judged(1, "dogs", {"dogs": "10000000", "pets": "11100000", "cats": "01010100"}),
        judged(2, "Beer", {"wine": "11110010", "beer": "01100010"}),
        judged(3, "lists", {"lists": "11110000", "order": "10100000"}, near={"order": 0.5}),
    ]
    table = after(*rows, hits=0.6, false=0.2)
    sheets = [(STRENGTHS, own) for row in [*rows, *OTHERS] for own in row["verdicts"]]
    dogs, pets, cats, wine, beer, *_ = qualities_by_hand(sheets)
    old = ["10000000", "01100010", "11110000", *(row["verdicts"][0] for row in OTHERS)]  # each label before is one reading
    was = qualities_by_hand([(STRENGTHS, own) for own in old])
    for j, own, false in ((1, (pets, cats, dogs), (0, 0.25, 0)), (2, (wine, beer), (0, 0))):  # beyond those of the label before
        hits = 1 / (1 + np.exp(-(np.log(0.6 / 0.4) + np.array(own) - was[j - 1])))
        expected = (hits + 1 - (0.2 + np.array(false))) / 2
        order = np.argsort(-np.array(own), kind="stable")
        assert [float(d) for d in table.loc[j, "detections"].split(" / ")] == pytest.approx(expected[order], abs=6e-4)
        best = int(np.argmax(expected))
        assert table.loc[j, ["detection", "hits", "false"]].tolist() == pytest.approx([expected[best], hits[best], 0.2], abs=6e-4)
    assert table.loc[1, "label"] == "pets / cats / dogs" and table.loc[2, "label"] == "wine / beer"
    assert table.loc[3, "detections"] == "" and table.loc[3, "detection"] == pytest.approx(0.7)


@pytest.mark.parametrize(("hits", "false"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.9)])
def test_scores_stay_between_0_and_1(hits, false):
    rng, rows = np.random.default_rng(4), []
    for j in range(40):
        fits = rng.random((5, 8)) < np.array([0.6] * 4 + [0.3] * 4)
        rows.append(judged(j, "a", {name: "".join(str(int(fit)) for fit in own) for name, own in zip("abcde", fits)}))
    table = after(*rows, hits=hits, false=false)
    changed = table[table["detections"] != ""]
    assert len(changed) > 10
    for label, told in zip(changed["label"], changed["detections"]):
        scores = [float(score) for score in told.split(" / ")]
        assert len(scores) == len(label.split(" / ")) and 0 <= min(scores) and max(scores) <= 1
    assert changed[["hits", "false", "detection"]].stack().between(0, 1).all()
    labels = FeatureLabels(table.reset_index(), 40)
    j = int(changed.index[changed["label"].str.contains(" / ")][0])
    assert [text for text, _ in labels.readings(j)] == table.loc[j, "label"].split(" / ")
    assert [score for _, score in labels.readings(j)] == [float(score) for score in table.loc[j, "detections"].split(" / ")]


def test_clarity_counts_a_point_more_and_does_not_fall():
    def clarity(known, told):
        return int(
            after(judged(1, "dogs", {"dogs": "10000000", "pets": "11110000"}, clarity=told), clarity=known).loc[1, "clarity"]
        )

    assert {(known, told): clarity(known, told) for known in (0, 1, 2) for told in (0, 1, 2)} == {
        (0, 0): 1, (0, 1): 2, (0, 2): 2, (1, 0): 1, (1, 1): 2, (1, 2): 2, (2, 0): 2, (2, 1): 2, (2, 2): 2,
    }  # fmt: skip


def test_verdicts_of_another_table_are_refused():
    row = judged(1, "dogs", {"dogs": "10000000", "pets": "11110000"})
    with pytest.raises(ValueError, match="'dogs' as the label of feature 1, found 'wolves'"):
        with_readings(before(row).assign(label="wolves"), [row])


def test_of_equally_good_readings_the_nearest_is_shown():
    verdicts = {"pets": "11000010", "dogs": "11001000"}
    near = {"pets": (0, 0, 0, 0, 0.3, 0.1, 0.2, 0.1), "dogs": (0, 0, 0, 0, 0.2, 0.1, 0.3, 0.1)}
    row = judged(1, "dogs", verdicts, near=near)
    (at_first,) = shown(before(row).assign(label="pets / dogs"), [row])
    assert at_first["fits_old"] == "11001000" and at_first["fits_new"] == "11000000"  # pets for text 4, dogs for text 6
    swapped = judged(1, "dogs", verdicts, near={"pets": near["dogs"], "dogs": near["pets"]})
    (then,) = shown(before(row).assign(label="Pets / dogs"), [swapped])
    assert then["fits_new"] == "11001010" and (then["feature"], then["strengths"]) == (1, list(STRENGTHS))


def test_what_is_shown_for_a_text_does_not_depend_on_the_verdict_on_it():
    rng, texts, seen = np.random.default_rng(7), len(STRENGTHS), set()
    for _ in range(60):
        fits = rng.integers(0, 2, (3, texts))
        near = rng.normal(0.3, 0.1, (3, texts))
        row = judged(1, "a", {n: "".join(map(str, own)) for n, own in zip("abc", fits.tolist())}, near=dict(zip("abc", near)))
        (found,) = shown(before(row).assign(label="c / a / b"), [row])
        for text in range(texts):
            others = [i for i in range(texts) if STRENGTHS[i] > 0 and i != text]
            hits = {n: (sum(fits[i, o] for o in others) + 0.3 * 2) / (len(others) + 2) for i, n in enumerate("abc")}
            # as in an explanation of the text with itself: two cosines, and a detection score of half of the hits
            likely = {n: 2 * near[i, text] + LEAN * hits[n] / 2 for i, n in enumerate("abc")}
            best = "abc".index(max(likely, key=likely.get))
            assert found["fits_new"][text] == str(fits[best, text])
            seen.add(best == int(np.argmax(near[:, text])))
    assert seen == {True, False}  # nearness decides, and sometimes the other texts do


def run(*arguments):
    found = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two collections, and their texts in other words as training texts."""
    encoder = Xetrieval.default().encoder()
    folder = write_collections(tmp_path_factory.mktemp("data"), encoder)
    (folder / "embeddings").mkdir()
    (folder / "vectors").rename(folder / "embeddings" / "minilm")
    known = [text for collection in TEXTS.values() for pair in collection.items() for text in pair]
    begins = ("He said:", "In this book we read that", "A question from school:", "It is well known:", "My uncle asks:")
    for name, texts in {"train_varied": [f"{b} {t}" for t in known for b in begins], "train_short": known}.items():
        (folder / name).mkdir()
        with gzip.open(folder / name / "corpus.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"_id": f"{name}-{i}", "text": text}) + "\n" for i, text in enumerate(texts))
        vectors = encoder.encode_docs(texts)
        scale = np.abs(vectors).max(axis=1) / 127
        packed = np.rint(vectors / scale[:, None]).astype(np.int8)
        np.savez(folder / "embeddings" / "minilm" / f"{name}.int8.npz", q=packed, scale=scale.astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def work(data, tmp_path_factory):
    """Answers by hand: each feature gets "a thing", which fits every active text and no silent one, and "nothing", which fits none."""
    out = tmp_path_factory.mktemp("sheets")
    names = ["--collections", "animals", "--collections", "kitchen"]
    assert "features carry" in run("sheets", "--data", data, *names, "--features", 12, "--work", out)
    drawn = json.loads((out / "texts.json").read_text())["features"]
    assert 2 < len(drawn) <= 12
    first, *_ = drawn[0]["label"].split(" / ")
    lines = [f"{f['feature']}\ta thing / nothing\t2\n" for f in drawn[1:]]
    (out / "labels.me.tsv").write_text(f"{drawn[0]['feature']}\ta thing / {first.upper()}\t2\n" + "".join(lines))
    assert f"{len(drawn)} sections" in run("judge", "--work", out)
    lines = [
        f"{j}\t{chr(65 + i)}\t" + "".join(str(int(reading == "a thing" and s > 0)) for s in asked["strengths"]) + "\n"
        for j, asked in json.loads((out / "key.json").read_text()).items() for i, reading in enumerate(asked["readings"])
    ]  # fmt: skip
    (out / "verdicts.me.tsv").write_text("".join(lines))
    return out


@pytest.fixture(scope="module")
def kept(data, work):
    assert "features; then: table" in run("keep", "--data", data, "--work", work, "--out", work / "kept.json")
    return work / "kept.json"


def test_judges_see_every_reading_once_and_texts_that_the_writer_did_not_see(work):
    texts = json.loads((work / "texts.json").read_text())
    drawn, key = {str(f["feature"]): f for f in texts["features"]}, json.loads((work / "key.json").read_text())
    sections = {}
    for path in sorted(work.glob("judge_*.md")):
        for section in path.read_text().split("## ")[1:]:
            j, *lines = section.splitlines()
            sections[j] = [line for line in lines if line]
    assert set(sections) == set(key) == set(drawn)
    for j, asked in key.items():
        wanted = {reading.lower() for reading in f"{drawn[j]['label']} / {asked['new']}".split(" / ")}
        assert sorted(reading.lower() for reading in asked["readings"]) == sorted(wanted)  # whatever its case, once
        assert sections[j][: len(wanted)] == [f"{chr(65 + i)}: {reading}" for i, reading in enumerate(asked["readings"])]
        places = {docno: row for row, (docno, _) in texts["texts"].items()}
        rows = [int(places[docno]) for docno in asked["docnos"]]
        assert sections[j][len(wanted) :] == [f"{i}. {texts['texts'][str(row)][1]}" for i, row in enumerate(rows, 1)]
        strengths = dict(drawn[j]["judged"]) | dict.fromkeys(drawn[j]["silent"], 0.0)
        assert asked["strengths"] == [strengths[row] for row in rows]
        assert not set(rows) & {row for row, _ in drawn[j]["shown"]}
        assert len(drawn[j]["shown"]) <= sum(SHOWN) and len(drawn[j]["judged"]) <= sum(JUDGED)


def test_verdicts_are_kept_with_the_cosines_of_readings_and_texts(data, work, kept):
    rows, texts = json.loads(kept.read_text()), dict(json.loads((work / "texts.json").read_text())["texts"].values())
    encoder = Xetrieval.default().encoder()
    for row in rows[:4]:
        readings, own = encoder.encode_docs(row["readings"]), encoder.encode_docs([texts[docno] for docno in row["docnos"]])
        np.testing.assert_allclose(row["near"], readings @ own.T, atol=0.01)  # texts' vectors are packed in eight bits
    assert rows[0].keys() == {
        "feature",
        "verdicts",
        "near",
        *json.loads((work / "key.json").read_text())[str(rows[0]["feature"])],
    }
    assert not any(text in kept.read_text() for text in texts.values())


def test_the_table_gives_features_the_reading_that_fits(kept, tmp_path):
    rows, model = json.loads(kept.read_text()), Xetrieval.default()
    model.labels.write(tmp_path / "before.tsv")
    told = run("table", "--kept", kept, "--labels", tmp_path / "before.tsv", "--out", tmp_path / "new.tsv")
    chosen = [row["feature"] for row in rows]
    assert f"{len(chosen)} features with tested readings" in told
    shares = {line.split()[0]: line.split()[1:3] for line in told.splitlines() if line[:1].isdigit() or line.startswith("silent")}
    assert shares.pop("silent") == ["0.0", "0.0"] and shares and set(map(tuple, shares.values())) == {("1.0", "0.0")}
    table = pd.read_csv(tmp_path / "new.tsv", sep="\t", quoting=3, keep_default_na=False).set_index("feature")
    assert set(table.loc[chosen, "label"]) == {"a thing"}
    others = model.labels.table.set_index("feature").drop(index=chosen)["label"]
    assert (table.loc[others.index, "label"] == others).all()


def test_a_run_gets_the_numbers_of_this_version(data, tmp_path):
    model, vectors = Xetrieval.default(), data / "embeddings" / "minilm"
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
