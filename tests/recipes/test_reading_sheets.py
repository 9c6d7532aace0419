"""Sheets say nothing of forms and decoys, the key says all; which pair are rows of; a language model as judge."""

import dataclasses
import json
import re

import pytest

from recipes.reading_choices import (
    choices_of,
    identification_scores,
    read_choices,
    write_choices,
)
from recipes.reading_judge import judge_sheets
from recipes.reading_pairs import ReadingPair
from recipes.reading_sheets import sections_of, write_sheets
from recipes.reading_verdicts import read_explained, read_verdicts
from tests.helpers.reading import KnownPair, known_pairs

PAIRS = [ReadingPair(f"c{i % 3}", f"q{i}", f"d{i}", f"query {i}", f"document {i}", i, i, document_cut=i == 0) for i in range(30)]


@pytest.fixture
def folder(tmp_path):
    forms = {"one": PAIRS, "two": PAIRS[:15]}
    sections = [s for name, pairs in forms.items() for s in sections_of(name, pairs, known_pairs(pairs), most=3, seed=len(name))]
    write_sheets(tmp_path, sections, seed=1, per_sheet=12)
    return tmp_path


def sections_in(folder, kind="sheet"):
    """Text of each section of all sheets, by number."""
    parts = {}
    for path in sorted(folder.glob(f"{kind}_*.md")):
        found = re.split(r"^## Section (\d+)$", path.read_text(encoding="utf-8"), flags=re.M)[1:]
        parts |= {int(number): (path.stem, text) for number, text in zip(found[::2], found[1::2])}
    return parts


def key_of(folder, name="key.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_sheet_holds_rows_and_decoys_in_the_order_of_the_key(folder):
    parts, key = sections_in(folder), key_of(folder)
    assert len(parts) == 45 and len(list(folder.glob("sheet_*.md"))) == 4 and list(parts) == list(range(1, 46))
    for section in parts:
        rows = [row for row in key if row["section"] == section]
        sheet, text = parts[section]
        told = [f"decoy {row['feature']}" if row["decoy"] else f"row {row['feature']}" for row in rows]
        assert re.findall(r"^\d+\. (.*)$", text, re.M) == told and sheet == f"sheet_{rows[0]['sheet']:02}"
        assert [row["decoy"] for row in rows].count(True) == 5 and len(rows) == 8
        i = int(rows[0]["qid"][1:])
        assert f"**Query.** query {i}\n" in text and f"**Document.** document {i}{' […]' if i == 0 else ''}\n" in text
        own = {row["feature"] for row in rows if not row["decoy"]}
        assert own == {100 * i, 100 * i + 1, 100 * i + 2}
        for row in rows:
            if row["decoy"]:  # of the two largest of a pair of another collection
                assert row["feature"] % 100 < 2 and (row["feature"] // 100 - i) % 3
                assert row["contribution"] is None and row["confidence"] == 0
    places = {section: [row["decoy"] for row in key if row["section"] == section] for section in parts}
    assert len({tuple(own) for own in places.values()}) > 20  # the order is random


def test_no_sheet_shows_a_pair_twice_or_says_which_form_it_is(folder):
    key = key_of(folder)
    for path in folder.glob("sheet_*.md"):
        number = int(path.stem[-2:])
        found = {(row["section"], row["pair"]) for row in key if row["sheet"] == number}
        assert len({pair for _, pair in found}) == len(found) in (11, 12)
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bone\b:|\btwo\b|confidence|key|c[012]/|\bq\d", text) and "0 = nonsense" in text
    assert {row["form"] for row in key if row["sheet"] == 1} == {"one", "two"}


def test_everything_that_is_shared_is_kept(folder):
    explained = read_explained(folder)
    assert len(explained) == 45 * 4 and explained.groupby("section")["contribution"].sum().eq(10).all()
    assert explained.groupby("section")["confidence"].agg(list).tolist() == [[1, 0.75, 0.5, 0.25]] * 45


def test_what_users_see_or_what_is_largest():
    """Rows stand in the order in which users see them; here the largest contribution is that of the least sure row."""
    pairs = known_pairs(PAIRS)
    for own in pairs:
        own.rows = [dataclasses.replace(row, contribution=1 - row.confidence) for row in own.rows]
    largest, shown = (sections_of("one", PAIRS, pairs, most=2, min_confidence=least) for least in (None, 0.4))
    for i, (one, other) in enumerate(zip(largest, shown)):
        judged = [{row.feature - 100 * i for row in section.rows if not row.decoy} for section in (one, other)]
        assert judged == [{2, 3}, {0, 1}]
        assert all(row.feature % 100 in (2, 3) for row in one.rows if row.decoy)  # decoys are of the largest of other pairs
    assert [len(section.rows) for section in sections_of("one", PAIRS, pairs, min_confidence=0.9)] == [8] * 30  # half as sure
    assert [len(section.rows) for section in sections_of("one", PAIRS, pairs, most=1, min_confidence=0.9)] == [6] * 30


def test_too_few_decoys():
    with pytest.raises(ValueError, match="5 features of other collections than 'c0', found 4"):
        sections_of("one", PAIRS[:3], known_pairs(PAIRS[:3]))


def test_which_pair(tmp_path):
    choices = choices_of("one", PAIRS, [*known_pairs(PAIRS[:29]), KnownPair([])], min_confidence=0.5, seed=2)
    assert len(choices) == 29  # a pair without rows is no question
    for choice in choices:
        assert [row.confidence for row in choice.rows] == [1, 0.75, 0.5] and choice.pair in choice.pairs
        assert len({pair.id for pair in choice.pairs}) == 5 and {pair.collection for pair in choice.pairs} == {
            choice.pair.collection
        }
    few = choices_of("one", PAIRS[:7], known_pairs(PAIRS[:7]))  # filled up from other collections
    assert all(
        sum(p.collection == c.pair.collection for p in c.pairs) == sum(p.collection == c.pair.collection for p in PAIRS[:7])
        for c in few
    )
    paths = write_choices(tmp_path, choices, per_sheet=8)
    parts, key = sections_in(tmp_path, "identify"), key_of(tmp_path, "identify_key.jsonl")
    assert len(paths) == 4 and len(parts) == 29
    for row in key:
        own = int(row["pair"].split("q")[1])
        text = parts[row["section"]][1]
        assert (
            text.split("### Pair ")[row["answer"]].startswith(f"{row['answer']}\n\n**Query.** query {own}\n")
            and f"- row {100 * own}\n" in text
        )
    first = [row for row in key if row["sheet"] == 1]
    right = "".join(f"{row['section']} {row['answer']}\n" for row in first)
    (tmp_path / "identify_01.a.txt").write_text(right)
    (tmp_path / "identify_01.b.txt").write_text("".join(f"{row['section']} {row['answer'] % 5 + 1}\n" for row in first))
    scores = identification_scores(read_choices(tmp_path)).set_index("collection")
    assert scores.loc["all", "value"] == 0.5 and scores.loc["all", "n"] == 8
    (tmp_path / "identify_01.b.txt").write_text(right.rsplit("\n", 2)[0])
    with pytest.raises(ValueError, match="one answer for each of the sections"):
        read_choices(tmp_path)
    (tmp_path / "identify_01.b.txt").write_text(right.replace(f" {first[0]['answer']}\n", " 6\n", 1))
    with pytest.raises(ValueError, match="a pair from 1 to 5"):
        read_choices(tmp_path)
    with pytest.raises(ValueError, match="5 pairs at least, found 4"):
        choices_of("one", PAIRS[:4], known_pairs(PAIRS[:4]))


def test_a_model_judges_what_a_person_would_read(folder):
    write_choices(folder, choices_of("one", PAIRS, known_pairs(PAIRS)), per_sheet=15)
    asked = []

    def judge(prompt):
        asked.append(prompt)
        if "Which pair is it?" in prompt:
            own = int(re.search(r"^- row (\d+)$", prompt, re.M)[1]) // 100
            return re.search(rf"^### Pair (\d)\n\n\*\*Query.\*\* query {own}$", prompt, re.M)[1]
        rows = re.findall(r"^(\d+)\. (row|decoy) (\d+)$", prompt, re.M)
        return "<think>hm, 1 1</think>" + "\n".join(f"{i}. {2 - int(j) % 100 if kind == 'row' else 0}" for i, kind, j in rows)

    files = judge_sheets(folder, judge, "toy")
    assert [path.name for path in files] == [f"sheet_0{i}.toy.txt" for i in (1, 2, 3, 4)] + [
        f"identify_0{i}.toy.txt" for i in (1, 2)
    ]
    verdicts = read_verdicts(folder)
    rows = verdicts[~verdicts["decoy"]]
    assert (rows["verdict"] == 2 - rows["feature"] % 100).all() and (verdicts.loc[verdicts["decoy"], "verdict"] == 0).all()
    assert identification_scores(read_choices(folder)).set_index("collection").loc["all", "value"] == 1
    n = len(asked)
    judge_sheets(folder, judge, "toy")
    assert len(asked) == n == 75 and not any("one" in prompt.split() and "form" in prompt.split() for prompt in asked)


def test_a_model_that_does_not_answer(folder):
    with pytest.warns(UserWarning, match="45 section"):
        assert judge_sheets(folder, lambda prompt: "1 2\n2 9", "bad", attempts=1, give_up=100) == []
    assert not list(folder.glob("sheet_*.bad.txt"))
    with pytest.raises(ValueError, match="a judge's name"):
        judge_sheets(folder, lambda prompt: "", "a.b")
    with pytest.raises(ValueError, match="found none"):
        judge_sheets(folder / "nothing", lambda prompt: "", "a")
