"""Five pairs of one collection: a page of one query, or queries near each other."""

import dataclasses
import json

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from recipes.reading_candidates import PAGE, QUERIES, choices_within, page_candidates, query_candidates
from recipes.reading_choices import identification_scores, read_choices, write_choices
from tests.helpers.builders import unit
from tests.helpers.reading import KnownPair, known_pairs


def collection(name="c", n=40, queries=14, texts=None, seed=0) -> EmbeddedCollection:
    rng = np.random.default_rng(seed)
    docs, asked = unit(rng, n, 8), unit(rng, queries, 8)
    texts = texts or [f"{name} document {i}" for i in range(n)]
    return EmbeddedCollection(
        name, np.array([f"d{i}" for i in range(n)]), docs, np.array([f"q{i}" for i in range(queries)]), asked,
        [{i: 1} for i in range(queries)], [np.array([0])] * queries, texts=lambda rows: [texts[i] for i in rows],
        query_texts=np.array([f"{name} query {i}" for i in range(queries)]),
    )  # fmt: skip


def test_a_page_is_the_five_best_documents_of_one_query_and_any_of_them_is_explained():
    both = [collection("a"), collection("b", seed=1)]
    found = page_candidates(both, 27, seed=5)
    assert sorted(sum(own.pair.collection == name for own in found) for name in "ab") == [13, 14]
    places = []
    for own in found:
        c = both["ab".index(own.pair.collection)]
        scores = c.docs @ c.queries[own.pair.query_row]
        scores[0] = -9  # excluded for every query
        best = np.argsort(-scores)[:5].tolist()
        assert sorted(pair.document_row for pair in own.pairs) == sorted(best) and own.among == PAGE
        assert {pair.query_row for pair in own.pairs} == {own.pair.query_row} and own.pair in own.pairs
        places.append((best.index(own.pair.document_row), own.pairs.index(own.pair)))
    ranks, shown = (set(side) for side in zip(*places))
    assert ranks == shown == {0, 1, 2, 3, 4}  # neither the rank nor the place says which one it is
    assert len({own.pair.id for own in found}) == 27


def test_queries_are_the_nearest_ones_with_best_documents_of_their_own():
    c = collection(queries=30)
    best = [int(row) + 1 for row in np.argmax((c.docs @ c.queries.T)[1:], axis=0)]
    for own in query_candidates([c], 10, seed=2):
        at = own.pair.query_row
        expected, documents = [], {best[at]}
        for other in np.argsort(-(c.queries @ c.queries[at])):
            if other != at and best[other] not in documents and len(expected) < 4:
                expected.append(int(other))
                documents.add(best[other])
        assert {pair.query_row for pair in own.pairs} == {at, *expected} and own.among == QUERIES
        assert all(pair.document_row == best[pair.query_row] for pair in own.pairs)


def test_documents_that_read_alike_are_one():
    texts = [f"text {i // 2}" for i in range(40)]  # every text twice
    found = page_candidates([collection(texts=texts)], 10)
    assert all(len({pair.document for pair in own.pairs}) == 5 for own in found)
    with pytest.raises(ValueError, match="3 queries of 'c' with 5 different pairs, found 0"):
        page_candidates([collection(texts=["same"] * 40)], 3)
    with pytest.raises(ValueError, match="collections with texts"):
        query_candidates([dataclasses.replace(collection(), texts=None)], 3)


def test_all_forms_show_as_many_rows_and_a_judge_sees_a_pair_once(tmp_path):
    candidates = [*page_candidates([collection()], 6), *query_candidates([collection()], 6)]
    shown, other = known_pairs(candidates), known_pairs(candidates, rows=9)
    shown[3] = KnownPair([])  # nothing is shown of it
    choices = choices_within(candidates, {"shown": shown, "other": other}, min_confidence=0.5)
    assert len(choices) == 22 and all(len(choice.rows) == 3 for choice in choices)
    assert choices[0].pairs == choices[1].pairs and [choice.form for choice in choices[:2]] == ["shown", "other"]
    paths = write_choices(tmp_path, choices, per_sheet=6)
    key = [json.loads(line) for line in (tmp_path / "identify_key.jsonl").read_text().splitlines()]
    for s in range(1, len(paths) + 1):
        own = [row["pair"] for row in key if row["sheet"] == s]
        assert len(set(own)) == len(own) <= 6
    answers = tmp_path / "mine.txt"
    answers.write_text("".join(f"{r['section']} {r['answer'] if r['form'] == 'shown' else r['answer'] % 5 + 1}\n" for r in key))
    chosen = read_choices(tmp_path, [answers])
    assert len(chosen) == 22 and set(chosen["judge"]) == {"mine"}
    value = identification_scores(chosen).set_index(["form", "among", "collection"])["value"]
    assert {value[form, among, "all"] for form, among in (("shown", PAGE), ("shown", QUERIES))} == {1}
    assert value["other", PAGE, "all"] == value["other", QUERIES, "c"] == 0
    answers.write_text(f"{key[0]['section']} 1\n")
    with pytest.raises(ValueError, match="one answer for each of the sections"):
        read_choices(tmp_path, [answers])
    answers.write_text("999 1\n")
    with pytest.raises(ValueError, match="one answer for each of the sections"):
        read_choices(tmp_path, [answers])
