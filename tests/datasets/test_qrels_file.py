"""Files of judgements: the forms that are taken, and lines that are named because they are of another one."""

import pytest

from pyterrier_xetrieval.datasets.qrels_file import read_qrels

HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "qrels.tsv"


@pytest.mark.parametrize("text", [
    HEADER + "q1\td 1\t2\n7\t008\t0\n",
    "\ufeff" + HEADER.replace("\n", "\r\n") + "q1\td 1\t2.0\r\n\r\n7\t008\t0",
    "q1\td 1\t2\n7\t008\t0\n",
    "q1\t0\td 1\t2\n7\t0\t008\t0\n",
    "q1\tQ0\td 1\t2\n7\tQ0\t008\t0\n",
])  # fmt: skip
def test_every_form_gives_the_same_judgements(file, text):
    file.write_text(text, encoding="utf-8")
    qrels = read_qrels(file)
    assert qrels.to_dict("list") == {"qid": ["q1", "7"], "docno": ["d 1", "008"], "label": [2, 0]}
    assert qrels["label"].dtype == "int64"


def test_trec_files_with_spaces(file):
    file.write_text("301 0 FBIS3-10082  1\n301\t0 FBIS3-10169 -1\n".replace("\t", " "))
    assert read_qrels(file).values.tolist() == [["301", "FBIS3-10082", 1], ["301", "FBIS3-10169", -1]]


def test_a_header_alone_is_no_judgement(file):
    file.write_text(HEADER)
    assert read_qrels(file).empty and list(read_qrels(file).columns) == ["qid", "docno", "label"]


@pytest.mark.parametrize("text, told", [
    (HEADER + "q1\t0\td1\t2\n", "line 2 of .*qrels.tsv expects 3 columns like the first line, found 4.*'d1'"),
    (HEADER + "q1\td1\t2\nq1\td2\n", "line 3 of .* expects 3 columns like the first line, found 2"),
    ("q1 0 d1 2\n\nq1 d2 2\n", "line 3 of .* expects 4 columns like the first line, found 3"),
    ("q1 run1 d1 2\n", r"line 1 of .* TREC's 'q1 0 d1 2', found \['q1', 'run1'"),
    ("query-id\titeration\tcorpus-id\tscore\nq1\t0\td1\t2\n", "line 1 of .* expects the header .*'iteration'"),
    ("qid\tdocno\tlabel\nq1\td1\t2\n", "line 1 of .* whole number as the label, found 'label'; a header would be"),
    ("q1\td1\n", "line 1 of .* expects the header"),
    ("q1\td1\t0.5\n", "line 1 of .* whole number as the label, found '0.5'"),
    ("q1\td1\tnan\n", "whole number as the label, found 'nan'"),
    ("\n", "found an empty file"),
])  # fmt: skip
def test_a_line_of_another_form_is_named(file, text, told):
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_qrels(file)
