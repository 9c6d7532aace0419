"""The numbers of the explorer page, in a real browser: they are those of the Python package, also of edited queries."""

import re

import numpy as np
import pytest

from pyterrier_xetrieval.viz import explore
from tests.helpers.browser import number, opened
from tests.viz.conftest import DOCUMENTS, QUERIES

EXPLAINED = """([q, docno]) => {
    const { page, explain } = window.xetrieval;
    const e = explain(page, q, page.documentOf.get(docno));
    const plain = (row) => [page.ids[row.feature], row.label, row.confidence, row.contribution, row.queryWords, row.documentWords];
    return { ...e, asked: null, rows: e.rows.map(plain), weak: e.weak.map(plain) };
}"""


EDITED = """([docno, edits]) => {
    const { page, explain } = window.xetrieval;
    const own = new Map(edits.map(([id, value]) => [page.numberOf.get(id), value]));
    const e = explain(page, 0, page.documentOf.get(docno), own);
    const plain = (row) => [page.ids[row.feature], row.contribution];
    const { score, sum, other, bias, residual, rows, weak } = e;
    return { score, sum, other, bias, residual, rows: rows.map(plain), weak: weak.map(plain) };
}"""


@pytest.mark.parametrize("which", ["page", "page_of_frame"])
def test_explanations_are_those_of_python(which, request, browser, explained):
    with opened(browser, request.getfixturevalue(which)) as tab:
        for qid, docno, e in zip(explained["qid"], explained["docno"], explained["explanation"]):
            found = tab.evaluate(EXPLAINED, [QUERIES["qid"].tolist().index(qid), docno])
            expected = [e.score, e.shared, e.other, e.bias, e.residual]
            np.testing.assert_allclose(
                [found[name] for name in ("score", "sum", "other", "bias", "residual")], expected, atol=1e-4
            )
            assert [row[0] for row in found["rows"]] == [row.feature for row in e.rows]
            for row, own in zip(found["rows"], e.rows):
                assert row[1] == own.label and row[2:4] == pytest.approx([own.confidence, own.contribution], abs=2e-3)
                assert (row[4], row[5]) == (list(own.query_words), list(own.document_words))
            shown = {row.feature for row in e.rows}
            weak = dict(zip(e.features.tolist(), e.contributions.tolist()))
            assert {row[0] for row in found["weak"]} == weak.keys() - shown
            assert all(row[3] == pytest.approx(weak[row[0]], abs=1e-4) for row in found["weak"])


def test_edits_are_those_of_feature_intervention(page, browser, small_index):
    model = small_index.model
    asked = model.shared_encoder(QUERIES.iloc[:1])
    explained = (small_index.retriever(num_results=3) >> small_index.explainer())(asked)
    has = explained["explanation"][0].features[:2].tolist()
    lacks = model.labels.find("beer")["feature"].iloc[0]
    scaled, added = {has[0]: 0.0, has[1]: 2.5}, {int(lacks): 0.5}
    edit = model.intervention("scale", features=scaled, target="query") >> model.intervention(
        "add", features=added, target="query"
    )
    expected = (edit >> small_index.retriever(num_results=len(DOCUMENTS)))(asked).set_index("docno")
    before = small_index.retriever(num_results=len(DOCUMENTS))(asked).set_index("docno")
    assert expected.index.tolist() != before.index.tolist()  # otherwise this would show little
    fragment = "#s=" + ",".join(f"{j}:{value}" for j, value in {**scaled, **added}.items())
    with opened(browser, page, fragment=fragment) as tab:
        assert tab.locator(".result .docno").all_inner_texts()[:10] == expected.index.tolist()[:10]
        edits = [[j, value] for j, value in {**scaled, **added}.items()]
        found = tab.evaluate(
            """(edits) => {
                const { page, ranking } = window.xetrieval;
                const own = new Map(edits.map(([id, value]) => [page.numberOf.get(id), value]));
                return ranking(page, 0, own).map((row) => [page.documents.docnos[row.document], row.score, row.before]);
            }""",
            edits,
        )
        for docno, score, old in found:
            assert score == pytest.approx(expected["score"][docno], abs=1e-4)
            assert old == pytest.approx(before["score"][docno], abs=1e-4)
        stages = edit >> small_index.retriever(num_results=4) >> small_index.explainer() >> small_index.evidence()
        for docno, e in stages(asked).set_index("docno")["explanation"].items():  # also what explains the changed query
            found = tab.evaluate(EDITED, [docno, edits])
            expected = [e.score, e.shared, e.other, e.bias, e.residual]
            np.testing.assert_allclose(
                [found[name] for name in ("score", "sum", "other", "bias", "residual")], expected, atol=2e-4
            )
            own = dict(zip(e.features.tolist(), e.contributions.tolist()))
            listed = {row[0]: row[1] for row in [*found["rows"], *found["weak"]]}
            assert listed.keys() == own.keys() and has[0] not in own and listed == pytest.approx(own, abs=1e-4)
            assert [row[0] for row in found["rows"]] == [row.feature for row in e.rows]
        tab.get_by_role("button", name="in Python").click()
        said = tab.locator(".steering pre").inner_text()
        stages = re.findall(r'intervention\("(\w+)", features=(\{.*?\})', said)
        assert [(mode, eval(features)) for mode, features in stages] == [("scale", scaled), ("add", added)]


def test_two_ticked_results_are_compared(page, browser, explained):
    with opened(browser, page) as tab:
        docnos = tab.locator(".result .docno").all_inner_texts()
        for i in (0, 2):
            tab.get_by_label(f"compare {docnos[i]}", exact=True).click()
        assert tab.locator(".comparison h2").inner_text() == f"{docnos[0]} against {docnos[2]}"
        table = tab.locator(".compared")
        cells = [number(text) for text in table.locator("tbody td:nth-child(4)").all_inner_texts()]
        total = number(table.locator("tfoot td:nth-child(4)").inner_text())
        own = explained[explained["qid"] == "1"].set_index("docno")["score"]
        assert sum(cells) == pytest.approx(total, abs=0.004)
        assert total == pytest.approx(own[docnos[0]] - own[docnos[2]], abs=6e-4)
        assert tab.locator(".pair mark").count() > 2
        tab.get_by_role("button", name="back to the explanation").click()
        assert tab.locator(".explanation").count() == 1


def test_why_not_higher_says_what_is_lacking(page, browser, small_index):
    last = small_index.retriever(num_results=len(DOCUMENTS))(small_index.model.shared_encoder(QUERIES.iloc[:1]))["docno"].iloc[-1]
    expected = small_index.model.why_not(QUERIES["query"][0], last, small_index, num_results=10)
    lacking = expected.table[expected.table["missing"] >= 0.0005].dropna(subset="feature").head(5)
    with opened(browser, page, fragment=f"#q=1&d={last}") as tab:
        box, less = tab.locator(".whynot"), expected.page_mean - expected.score
        assert f"It has {expected.gap:.3f} less than place 10, and {less:.3f} less than the first 10" in box.inner_text()
        assert box.locator("button").all_inner_texts() == lacking["label"].tolist()
        *found, rest = [number(text) for text in box.locator(".number").all_inner_texts()]
        np.testing.assert_allclose(found, -lacking["missing"].to_numpy(float), atol=6e-4)
        assert rest == pytest.approx(lacking["missing"].sum() - less, abs=6e-4)
        tab.locator(".result").nth(1).click()
        assert "than the first 10 have on average" in box.inner_text() and "place 10" not in box.inner_text()


def test_scores_above_the_mean_document_are_those_of_python(small_index, browser, tmp_path, monkeypatch):
    """As with an encoder of a long mean: what the page shows is what each part has above the mean document."""
    monkeypatch.setattr(type(small_index.model), "has_long_bias", True)
    path = explore(small_index, QUERIES, tmp_path / "mean.html", documents=20)
    asked = small_index.model.shared_encoder.query_encoder()(QUERIES)
    results = small_index.explainer()(small_index.retriever(num_results=3)(asked))
    with opened(browser, path) as tab:
        for qid, docno, e in zip(results["qid"], results["docno"], results["explanation"]):
            code = EXPLAINED.replace("const e = explain(", "const e = window.xetrieval.aboveMean(page, explain(").replace(
                "get(docno));", "get(docno)));"
            )
            found, above = tab.evaluate(code, [QUERIES["qid"].tolist().index(qid), docno]), e.above_mean
            names = ("score", "sum", "other", "bias", "residual")
            expected = [above.score, above.shared, above.other, 0, above.residual]
            np.testing.assert_allclose([found[name] for name in names], expected, atol=2e-4)
            assert found["whole"] == pytest.approx(e.score, abs=1e-4) and found["baseline"] == pytest.approx(e.baseline, abs=1e-5)
        told = " ".join(tab.locator("article.explanation .sentence").inner_text().split())
        assert f"of what the score ({results.explanation[0].score:.3f}) has above that of the mean document" in told
