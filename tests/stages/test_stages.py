"""What every stage owes PyTerrier: inspection, empty frames, foreign columns, identity, schematics, cut-off fusion."""

import tempfile

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import MultiViewScorer, VectorLoader
from pyterrier_xetrieval.stages.base import RowWiseStage
from tests.helpers.builders import make_model, result_frame, unit

MODEL = make_model()
_FOLDER = tempfile.TemporaryDirectory()
INDEX = FlexIndex(f"{_FOLDER.name}/index.flex", verbose=False)
INDEX.index([{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(0), 30, 16))])
STAGES = {
    "internalizer": lambda: MODEL.internalizer(),
    "scorer": lambda: MODEL.scorer(),
    "dense_scorer": lambda: MODEL.with_views(aspects=()).scorer(),
    "fold": lambda: MODEL.fold(),
    "explainer": lambda: MODEL.explainer(),
    "erase": lambda: MODEL.intervention(features=[1, 2]),
    "erase_shared": lambda: MODEL.with_views(["qa"]).intervention("keep_only", features="shared", target="both"),
    "scale_query": lambda: MODEL.intervention("scale", alpha=0.5, features=[1], target="query"),
    "reconstructor": lambda: MODEL.reconstructor(),
    "normalizer": lambda: MODEL.normalizer(),
    "loader": lambda: VectorLoader(INDEX),
}


@pytest.fixture(scope="module")
def full() -> pd.DataFrame:
    """A frame with every column that any stage reads."""
    return (MODEL.internalizer() >> MODEL.scorer() >> MODEL.explainer())(result_frame())


for _name, _make in STAGES.items():
    globals()[f"TestPyTerrier_{_name}"] = pt.testing.transformer_test_class(_make)


@pytest.mark.parametrize("name", STAGES)
def test_empty_in_empty_out_with_the_same_columns(name, full):
    stage = STAGES[name]()
    some, none = stage(full), stage(full.iloc[:0])
    assert list(none.columns) == list(some.columns) and len(none) == 0
    for column in none.columns:
        if "vec" in column or column == "explanation":
            assert none[column].dtype == object


@pytest.mark.parametrize("name", STAGES)
def test_foreign_columns_rows_and_index_are_kept(name, full):
    inp = full.assign(docid=range(len(full)), note="kept").sample(frac=1, random_state=1)
    out = STAGES[name]()(inp)
    assert out.index.equals(inp.index)
    for column in ("qid", "docno", "mine", "docid", "note"):
        assert out[column].equals(inp[column])


@pytest.mark.parametrize("nothing", [None, pd.NA], ids=str)
@pytest.mark.parametrize("name", STAGES)
def test_none_is_what_nan_is(name, nothing, full):
    """Joined rankings leave NaN, and a Parquet file gives None back for it."""

    def with_gaps(gap):
        own = {column: full[column].astype(object) for column in ("query_vec", "score", "rank")}
        for column in own.values():
            column.iloc[[1, 2, 5]] = gap
        return full.assign(**own)

    try:
        expected = STAGES[name]()(with_gaps(float("nan")))
    except ValueError as error:  # to edit query vectors, all have to be there
        assert "found no vector in query_vec of row 1" in str(error)
        with pytest.raises(ValueError, match="found no vector in query_vec of row 1"):
            STAGES[name]()(with_gaps(nothing))
        return
    found = STAGES[name]()(with_gaps(nothing))
    for column in set(expected.columns) - {"query_vec", "score", "rank"}:
        assert all(np.array_equal(a, b) for a, b in zip(found[column], expected[column])), column
    for column in ("score", "rank"):
        np.testing.assert_array_equal(pd.to_numeric(found[column], "coerce"), pd.to_numeric(expected[column], "coerce"))
    if "explanation" in found.columns:
        assert [e.ranking for e in found["explanation"]] == [e.ranking for e in expected["explanation"]]


@pytest.mark.parametrize("name", STAGES)
def test_vectors_of_shared_rows_cannot_be_changed_in_place(name, full):
    """Rows of one document share one array: ``v /= 2`` in a loop over the rows would halve it once for each of them."""
    inp, out = full, STAGES[name]()(full)
    for column in (c for c in out.columns if "_vec" in c):
        ours = [v for v, before in zip(out[column], inp.get(column, out[column].map(lambda _: None))) if v is not before]
        for vector in ours:
            with pytest.raises(ValueError, match="read-only"):
                vector /= 2
        assert all((vector / 2).flags.writeable for vector in ours)


@pytest.mark.parametrize("name", STAGES)
def test_identity(name):
    stage, same = STAGES[name](), STAGES[name]()
    assert stage == same and hash(stage) == hash(same)
    others = [make() for other, make in STAGES.items() if other != name]
    assert all(stage != other for other in others)
    assert stage != "something else"


def test_identity_covers_every_option():
    variants = [
        MODEL.explainer(), MODEL.explainer(threshold=0.1), MODEL.explainer(top=3), MODEL.with_views(["qa"]).explainer(),
        MODEL.with_views(weights=[1, 2, 3]).explainer(), MODEL.explainer(refit=False), make_model().explainer(),
    ]  # fmt: skip
    assert len(set(variants)) == len(variants)


@pytest.mark.parametrize("name", STAGES)
def test_repr_is_short_and_constructor_like(name):
    text = repr(STAGES[name]())
    assert text.startswith(type(STAGES[name]()).__name__ + "(") and "\n" not in text and " at 0x" not in text
    assert len(text) < 200


def test_functions_are_named_without_an_address():
    def mine(row):
        return [1]

    assert " at 0x" not in repr(MODEL.intervention(features=mine)) and "mine" in repr(MODEL.intervention(features=mine))


def test_duplicate_index_labels_do_no_harm(full):
    inp = full.set_axis([0] * len(full))
    for make in STAGES.values():
        assert len(make()(inp)) == len(full)


def test_repr_cuts_long_feature_lists():
    assert len(repr(MODEL.intervention(features=range(48)))) < 150


@pytest.mark.parametrize("name", STAGES)
def test_schematic_label_and_link(name):
    schematic = STAGES[name]().schematic
    assert 0 < len(schematic["label"]) <= 20 and schematic["help_url"].startswith("https://")


@pytest.mark.parametrize("name", STAGES)
def test_attributes_rebuild_the_stage(name):
    stage = STAGES[name]()
    assert pt.inspect.transformer_apply_attributes(stage) == stage


@pytest.mark.parametrize("name", STAGES)
def test_missing_columns_name_the_stage(name):
    stage = STAGES[name]()
    with pytest.raises(pt.validate.InputValidationError, match=type(stage).__name__):
        stage(pd.DataFrame({"qid": ["q"], "title": ["d"]}))


@pytest.fixture
def index():
    return INDEX


def queries(n=3):
    return pd.DataFrame(
        {"qid": [str(i) for i in range(n)], "query": "x", "query_vec": list(unit(np.random.default_rng(9), n, 16))}
    )


def test_cut_off_moves_to_the_retriever_past_row_wise_stages_only(index):
    explain = index.np_retriever() >> VectorLoader(index) >> MODEL.internalizer() >> MODEL.explainer()
    compiled = (explain % 5).compile()
    assert compiled[0].num_results == 5
    assert (explain % 5)(queries())["docno"].tolist() == compiled(queries())["docno"].tolist()
    rescored = explain >> MODEL.scorer()
    assert not isinstance(MODEL.scorer(), RowWiseStage)
    assert set((rescored % 5).compile()(queries())["docno"]) == set((rescored % 5)(queries())["docno"])


def test_tree_plan_shares_the_common_prefix(index, monkeypatch):
    calls = []
    transform = type(MODEL.internalizer()).transform
    monkeypatch.setattr(type(MODEL.internalizer()), "transform", lambda self, inp: calls.append(len(inp)) or transform(self, inp))
    prefix = index.np_retriever(num_results=5) >> VectorLoader(index)
    systems = {
        "all": prefix >> MODEL.internalizer() >> MODEL.scorer(),
        "qa": prefix >> MODEL.internalizer() >> MODEL.with_views(["qa"]).scorer(),
    }
    qrels = pd.DataFrame({"qid": ["0", "1", "2"], "docno": ["d1", "d2", "d3"], "label": 1})
    pt.Experiment(systems, queries(), qrels, ["ndcg_cut_10"], plan="tree", validate="ignore")
    assert sum(n > 0 for n in calls) == 1


def test_pipeline_is_inspectable_from_queries_to_explanations(index):
    pipeline = index.np_retriever() >> VectorLoader(index) >> MODEL.internalizer() >> MODEL.scorer() >> MODEL.explainer()
    columns = pt.inspect.transformer_outputs(pipeline, ["qid", "query", "query_vec"])
    assert {"doc_vec", "doc_vec_summary", "score", "rank", "explanation"} <= set(columns)


def test_a_retriever_with_its_own_docid_and_no_vectors(index):
    """A lexical first stage: its docid belongs to another index, and an empty result is possible."""
    lexical = pt.Transformer.from_df(
        pd.DataFrame({"qid": ["0", "0"], "docno": ["d2", "d7"], "docid": [25, 3], "score": [2.0, 1.0], "rank": [0, 1]})
    )
    pipeline = lexical >> VectorLoader(index) >> MultiViewScorer()
    out = pipeline(queries(1))
    expected = index.np_vecs()[[2, 7]] @ queries(1)["query_vec"][0]
    np.testing.assert_allclose(out["score"], expected, atol=1e-6)
    assert len(pipeline(queries(1).assign(qid="nobody"))) == 0


def test_parameters_are_set_as_by_the_constructor():
    """What ``pt.GridScan`` does with the values of its grid."""
    scorer, half = MODEL.scorer(), MODEL.with_views(weights=0.5)
    scorer.set_parameter("model", half)
    assert scorer == half.scorer() and scorer.get_parameter("model").weights == dict.fromkeys(MODEL.aspects, 0.5)
    erase = MODEL.intervention(features=[1, 2])
    erase.set_parameter("features", [5, 3])
    assert erase == MODEL.intervention(features=[3, 5])
    for stage, name, value, message in (
        (erase, "mode", "Erase", "expects mode"),
        (erase, "target", "docs", "expects target"),
        (MODEL.explainer(), "threshold", -1, "threshold >= 0"),
        (MODEL.explainer(), "speed", 1, "no parameter 'speed'"),
    ):
        before = repr(stage)
        with pytest.raises(ValueError, match=message):
            stage.set_parameter(name, value)
        assert repr(stage) == before


def test_a_grid_scan_finds_the_best_weights(full):
    qrels = full.assign(label=(full["docno"] == "d1").astype(int))[["qid", "docno", "label"]]
    topics = full[["qid"]].drop_duplicates().assign(query="?")
    scorer = MODEL.scorer()
    first = pt.Transformer.from_df(full[["qid", "docno", "score", "rank", "query_vec", "doc_vec"]]) >> MODEL.internalizer()
    values = {w: pt.Evaluate((first >> MODEL.with_views(weights=w).scorer())(topics), qrels, ["ndcg"])["ndcg"] for w in (0, 1, 5)}
    grid = {scorer: {"model": [MODEL.with_views(weights=w) for w in (0, 1, 5)]}}
    _, best, _ = pt.GridSearch(first >> scorer, grid, topics, qrels, "ndcg", return_type="both")
    assert best == pytest.approx(max(values.values())) and values[scorer.model.weights["qa"]] == max(values.values())


def test_the_same_weights_in_other_words():
    same = [MODEL.with_views(weights=w) for w in (2, [2, 2, 2], dict.fromkeys(MODEL.aspects, 2))]
    assert len({m.scorer() for m in same}) == 1 and MultiViewScorer(MODEL) == MODEL.scorer() != MultiViewScorer()


def test_a_grid_scans_thresholds_and_the_strength_of_an_intervention(full):
    qrels = full.assign(label=(full["docno"] == "d1").astype(int))[["qid", "docno", "label"]]
    topics = full[["qid"]].drop_duplicates().assign(query="?")
    first = pt.Transformer.from_df(full[["qid", "docno", "score", "rank", "query_vec", "doc_vec"]])
    explain, scale = MODEL.explainer(), MODEL.intervention("scale", alpha=1, features="shared")
    pipeline = first >> explain >> scale >> MODEL.scorer()
    grid = {explain: {"threshold": [0.0, 10.0]}, scale: {"alpha": [0.0, 1.0]}}
    found = pt.GridScan(pipeline, grid, topics, qrels, ["ndcg"])
    assert len(found) == 4 and found["ndcg"].nunique() > 1


def test_features_as_a_table_or_a_grouped_frame():
    found = MODEL.labels.find("word1")
    assert MODEL.intervention(features=found) == MODEL.intervention(features=found["feature"].tolist())
    grouped = pd.Series([0.5, 0.25], index=pd.Index([7, 3], name="feature"))
    assert MODEL.intervention(features=grouped).features == (3, 7)
