from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from pyterrier_xetrieval.core.attribution import attribute
from pyterrier_xetrieval.core.codes import encode_views, join_views
from pyterrier_xetrieval.core.evidence import (
    BIAS,
    CONSTANT,
    OTHER,
    PROMPT,
    RESIDUAL,
    SPECIAL,
    STORED,
    Evidence,
    WordTable,
    WordVectors,
    document_evidence,
    pair_evidence,
    sum_rows,
    vector_columns,
)
from pyterrier_xetrieval.core.internalizer import internalize
from tests.helpers.builders import random_internalizer, random_sae, sae_of_rule, unit

RULES = ["topk", "relu", "one threshold", "thresholds", "gated"]
WEIGHTS = (1.0, 0.5, 0.25)


def words_of(rng, vector, n=7, exact=True) -> WordVectors:
    """A vector in n words, special tokens, a prompt and a constant."""
    rows = rng.normal(size=(n + 3, len(vector))) / n
    rows[0] += vector - rows.sum(axis=0)
    return WordVectors(np.stack([5 * np.arange(n), 5 * np.arange(n) + 4], axis=1), rows.astype(np.float32), exact)


class Page:
    """One query and one document with two views: vectors, codes, their attribution, and made-up words."""

    def __init__(self, sae, *, refit, seed=0, views=2):
        rng = np.random.default_rng(seed)
        self.sae, self.refit, self.weights = sae, refit, WEIGHTS[: views + 1]
        self.internalizers = [random_internalizer(sae.dim, seed=i) for i in range(views)]
        # near each other, so that they share features
        both = unit(rng, 1, sae.dim) + 0.3 * unit(rng, 2, sae.dim)
        self.q, z = (both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float32)
        self.query, self.document = words_of(rng, self.q), words_of(rng, z, n=9)
        self.views = [z, *(internalize(module, z[None], batch_size=1)[0] for module in self.internalizers)]
        self.score()

    def score(self):
        q, *codes = encode_views(self.sae, [self.q[None], *(v[None] for v in self.views)], refit=self.refit, batch_size=8)
        self.codes = join_views(codes, self.sae.dict_size)
        total = float(np.einsum("v,vm,m->", self.weights, np.stack(self.views), self.q))
        zero = np.zeros(1, np.int64)
        self.parts = attribute(
            self.sae, self.q[None], q, zero, self.codes, zero, np.array([total]), weights=self.weights, threshold=0.0
        )
        return self

    @property
    def expected(self):
        p = self.parts
        return np.array([*p.contribution, p.other[0], p.bias[0], p.residual[0]], np.float64)

    def evidence(self):
        return pair_evidence(
            self.sae, self.internalizers, self.query, self.q, self.document, self.views, self.codes, 0, self.parts.features,
            weights=self.weights, refit=self.refit,
        )  # fmt: skip


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_rows_add_up_to_contributions_and_columns_to_the_score(rule, refit):
    page = Page(sae_of_rule(rule, 16, 48, 8), refit=refit)
    found = page.evidence()
    assert len(page.parts.features) > 1 and found.features.tolist() == page.parts.features.tolist()
    for table in (found.query, found.document):
        assert table.values.shape == (len(page.expected), len(table.spans) + 4)
        np.testing.assert_allclose(table.sums, page.expected, atol=1e-5)
        np.testing.assert_allclose(table.values.sum(axis=0).sum(), page.parts.score[0], atol=1e-5)
        np.testing.assert_allclose(table.values[:, STORED], 0, atol=1e-5)
    found.check(page.expected)


def test_a_query_words_part_of_the_score_is_its_own_dot_product():
    page = Page(random_sae(k=8), refit=True)
    folded = np.einsum("v,vm->m", page.weights, np.stack(page.views))
    own = page.evidence().query.values.sum(axis=0)
    np.testing.assert_allclose(own[:STORED], page.query.rows @ folded, atol=1e-5)
    j = page.parts.features[0]  # and of a contribution c_j <q, w_j>, what it has of <q, w_j>
    along = page.query.rows @ page.sae.w_dec[int(j)].detach().numpy()
    expected = page.parts.contribution[0] * along / along.sum()
    np.testing.assert_allclose(page.evidence().query.values[0, :STORED], expected, atol=1e-5)


def test_a_document_words_part_of_the_score_is_its_own_dot_product():
    page = Page(random_sae(k=8), refit=True, views=0)
    table = page.evidence().document
    own = table.values.sum(axis=0)
    np.testing.assert_allclose(own[: len(table.spans)], page.document.rows[:-3] @ page.q, atol=1e-5)
    np.testing.assert_allclose(own[[SPECIAL, PROMPT]], page.document.rows[-3:-1] @ page.q, atol=1e-5)
    bias = page.q @ page.sae.b_dec.detach().numpy()
    assert np.abs(table.words[BIAS]).max() == 0 and table.values[BIAS, CONSTANT] == pytest.approx(bias)
    assert np.abs(table.words[OTHER]).max() > 0 and np.abs(table.words[RESIDUAL]).max() > 0


def test_a_word_that_is_the_whole_vector_carries_all_but_the_constants():
    page = Page(random_sae(k=8), refit=False, views=0)
    rows = np.zeros_like(page.document.rows)
    rows[3] = page.views[0]
    page.document = WordVectors(page.document.spans, rows)
    found = page.evidence().document.values
    np.testing.assert_allclose(found[:, 3] + found[:, CONSTANT], page.expected, atol=1e-5)
    assert np.abs(np.delete(found, [3, found.shape[1] + CONSTANT], axis=1)).max() < 1e-6


@pytest.mark.parametrize("refit", [True, False])
def test_a_documents_words_add_up_to_its_coefficients_in_all_views(refit):
    page = Page(random_sae(k=8), refit=refit)
    table = document_evidence(
        page.sae, page.internalizers, page.document, page.views, page.codes, 0, weights=page.weights, refit=refit
    )
    table.check(page.codes.coefficients @ np.array(page.weights))
    # the same words behind a contribution, up to the factor <q, w_j>
    j = np.searchsorted(page.codes.features, page.parts.features[0])
    factor = page.q @ page.sae.w_dec[int(page.parts.features[0])].detach().numpy()
    np.testing.assert_allclose(factor * table.words[j], page.evidence().document.words[0], atol=1e-5)


def test_what_storage_or_an_edit_changed_has_a_column_of_its_own():
    page = Page(random_sae(k=8), refit=True)
    page.q = page.q.astype(np.float16).astype(np.float32)
    page.views[0] = page.views[0] + 0.05 * page.q  # an edit
    page.views[1] = page.views[1] - 0.1 * page.q  # and one of a view, which is then not what the edited vector makes
    found = page.score().evidence()
    found.check(page.expected)
    folded = np.einsum("v,vm->m", page.weights, np.stack(page.views))
    assert found.query.values[:, STORED].sum() == pytest.approx((page.q - page.query.vector) @ folded, abs=1e-6)
    alone = Page(random_sae(k=8), refit=True, views=0)
    alone.views[0] = alone.views[0] + 0.05 * alone.q
    column = alone.score().evidence().document.values[:, STORED]
    assert column.sum() == pytest.approx(0.05 * (alone.q @ alone.q), abs=1e-6) and np.abs(column).max() > 1e-3


def test_wrong_codes_are_noticed():
    page = Page(random_sae(k=8), refit=True)
    expected = page.expected
    expected[0] += 2e-4
    with pytest.raises(ValueError, match="words add up to"):
        page.evidence().check(expected)
    expected[1] -= 2e-4  # right in sum, wrong in two rows
    with pytest.raises(ValueError, match="words add up to"):
        page.evidence().check(expected)
    with pytest.raises(ValueError, match="words add up to"):
        page.evidence().check(np.full(len(expected), np.nan))


def test_sentences_are_the_sums_of_their_words():
    page = Page(random_sae(k=8), refit=True)
    found = page.evidence().document
    table = found.grouped(np.array([[0, 19], [20, 44]]), np.array([0, 0, 0, 0, 1, 1, 1, 1, 1]))
    table.check(page.expected)
    np.testing.assert_allclose(table.words, np.stack([found.words[:, :4].sum(1), found.words[:, 4:].sum(1)], axis=1))
    np.testing.assert_array_equal(table.values[:, SPECIAL:], found.values[:, SPECIAL:])


def test_leave_out_is_what_the_text_loses_and_claims_no_sum():
    page = Page(random_sae(k=8), refit=True)
    rng = np.random.default_rng(5)
    without = unit(rng, 9, 16)
    rows = np.concatenate([page.views[0] - without, np.zeros((3, 16), np.float32)])
    page.document = WordVectors(page.document.spans, rows, exact=False)
    found = page.evidence()
    assert found.query.exact and not found.document.exact
    found.check(page.expected)  # of the query, whose words do add up
    assert np.abs(found.document.values[:, SPECIAL:]).max() == 0
    views = [without, *(internalize(module, without, batch_size=9) for module in page.internalizers)]
    lost = np.einsum("v,vwm,m->w", page.weights, np.stack([v - w for v, w in zip(page.views, views)]), page.q)
    np.testing.assert_allclose(found.document.words.sum(axis=0), lost, atol=1e-5)
    with pytest.raises(ValueError, match="do not add up to anything"):
        found.document.check(page.expected)
    with pytest.raises(ValueError, match="leave out whole sentences"):
        found.document.grouped(np.array([[0, 44]]), np.zeros(9, int))


def test_a_pair_that_shares_nothing_and_a_text_without_words():
    page = Page(random_sae(k=8), refit=True)
    page.parts = page.parts.pair(0)
    rows = np.stack([page.views[0], *np.zeros((2, 16), np.float32)])
    document = WordVectors(np.empty((0, 2), np.int32), rows)
    found = pair_evidence(
        page.sae, page.internalizers, page.query, page.q, document, page.views, page.codes, 0, np.empty(0, np.int32),
        weights=page.weights, refit=True,
    )  # fmt: skip
    rest = page.expected[:OTHER].sum() + page.expected[OTHER]
    found.check([rest, *page.expected[BIAS:]])
    assert found.document.words.shape == (3, 0) and found.document.values.shape == (3, 4)


def test_rows_must_fit_the_words():
    with pytest.raises(ValueError, match="a row for each of 2 words and 3 more, found 4"):
        WordVectors(np.zeros((2, 2), np.int32), np.zeros((4, 8), np.float32))
    assert WordTable(np.zeros((2, 2), np.int32), np.ones((1, 6))).sums.tolist() == [6.0]


def test_parts_that_do_not_fit_are_refused():
    page = Page(random_sae(k=8), refit=True)
    absent = next(j for j in range(48) if j not in page.codes.features)
    page.parts.__dict__["features"] = np.array([int(page.parts.features[0]), absent])
    with pytest.raises(ValueError, match=rf"features that the document has, found \[{absent}\]"):
        page.evidence()
    page = Page(random_sae(k=8), refit=True)
    page.internalizers.pop()
    with pytest.raises(ValueError, match="found 3 views, 3 weights, codes of 3, 1"):
        page.evidence()
    page.internalizers, page.weights = page.internalizers * 2, (1.0, 0.5)
    with pytest.raises(ValueError, match="one internalizer fewer, found 3 views, 2 weights"):
        document_evidence(
            page.sae, page.internalizers, page.document, page.views, page.codes, 0, weights=page.weights, refit=True
        )


def test_sums_of_groups():
    rows = np.arange(12.0).reshape(6, 2)
    assert sum_rows(rows, np.array([2, 0, 2, 3, 0, 2]), 5).tolist() == [[10, 12], [0, 0], [14, 17], [6, 7], [0, 0]]
    assert sum_rows(rows[:0], np.empty(0, np.int64), 2).tolist() == [[0, 0], [0, 0]]


def test_a_table_by_hand():
    spans = np.array([[0, 3], [4, 9]], np.int32)
    table = WordTable(spans, np.arange(12.0).reshape(2, 6), stopped_at=7)
    assert table.exact and table.words.tolist() == [[0, 1], [6, 7]] and table.sums.tolist() == [15, 51]
    table.check([15, 51])
    table.check(np.array([15, 51 + 9e-5]))
    for wrong in ([15, 51 + 1.1e-4], [15 + 7e-5, 51 + 7e-5], [14, 52]):
        with pytest.raises(ValueError, match="words add up to"):
            table.check(np.array(wrong))
    table.check([14.75, 51.25], tolerance=0.25)
    WordTable(spans, np.empty((0, 6))).check([])
    one = table.grouped(np.array([[0, 9]], np.int32), np.zeros(2, int))
    assert one.values.tolist() == [[1, 2, 3, 4, 5], [13, 8, 9, 10, 11]] and one.exact and one.stopped_at == 7
    with pytest.raises(FrozenInstanceError):
        table.values = None


def test_words_by_hand():
    rows = np.float32([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    words = WordVectors(np.zeros((2, 2), np.int32), rows)
    assert words.exact and words.stopped_at is None and words.vector.tolist() == [25, 30] and words.vector.dtype == np.float64
    columns = vector_columns(words, np.array([26.0, 28.0]))
    assert columns.dtype == np.float64 and columns.tolist() == [*rows.tolist(), [1, -2]]
    left_out = WordVectors(words.spans, rows, exact=False)
    assert vector_columns(left_out, np.array([26.0, 28.0])).tolist() == [*rows.tolist(), [0, 0]]
    for value, name in ((words, "rows"), (Evidence(None, None, None), "query")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)


@pytest.mark.parametrize("exact", [True, False])
def test_where_the_encoder_stopped_and_how_is_passed_on(exact):
    page = Page(random_sae(k=8), refit=True)
    page.query = WordVectors(page.query.spans, page.query.rows, stopped_at=3)
    page.document = WordVectors(page.document.spans, page.document.rows, exact, stopped_at=0)
    found = page.evidence()
    own = document_evidence(
        page.sae, page.internalizers, page.document, page.views, page.codes, 0, weights=page.weights, refit=True
    )
    assert (found.query.exact, found.query.stopped_at) == (True, 3)
    assert (found.document.exact, found.document.stopped_at) == (own.exact, own.stopped_at) == (exact, 0)
    assert found.query.spans is page.query.spans and found.document.spans is own.spans is page.document.spans
    assert found.features is page.parts.features


def test_both_tables_are_checked():
    spans, right, wrong = np.zeros((1, 2), np.int32), np.ones((3, 5)), np.full((3, 5), 2.0)
    parts = [5.0, 5.0, 5.0]
    Evidence(None, WordTable(spans, right), WordTable(spans, right)).check(parts)
    Evidence(None, WordTable(spans, right + 1e-3), WordTable(spans, right)).check(parts, tolerance=0.02)
    for query, document in ((wrong, right), (right, wrong), (right + 5e-5, right)):
        with pytest.raises(ValueError, match="words add up to"):
            Evidence(None, WordTable(spans, query), WordTable(spans, document)).check(parts)
    Evidence(None, WordTable(spans, wrong, False), WordTable(spans, right)).check(parts)  # leave-out claims no sum


def test_the_second_document_of_a_page():
    page = Page(random_sae(k=8), refit=True)
    q, *codes = encode_views(
        page.sae, [page.q[None], *(np.stack([-v, v, 0.5 * v]) for v in page.views)], refit=True, batch_size=16
    )
    page.codes, zero = join_views(codes, 48), np.zeros(1, np.int64)
    total = page.parts.score.copy()
    page.parts = attribute(page.sae, page.q[None], q, zero, page.codes, zero + 1, total, weights=page.weights, threshold=0.0)
    found = pair_evidence(
        page.sae, page.internalizers, page.query, page.q, page.document, page.views, page.codes, 1, page.parts.features,
        weights=page.weights, refit=True,
    )  # fmt: skip
    found.check(page.expected)
    own = document_evidence(
        page.sae, page.internalizers, page.document, page.views, page.codes, 1, weights=page.weights, refit=True
    )
    own.check(page.codes.coefficients[slice(*page.codes.offsets[1:3])] @ np.array(page.weights))
