import json
import os

import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import MiniLM, Xetrieval
from pyterrier_xetrieval.checkpoints.pairs import explain_file
from pyterrier_xetrieval.cli import main
from pyterrier_xetrieval.datasets.corpus_file import CorpusFile

PAIRS = [
    {"query_id": "q1", "doc_id": "d1", "query": "sort a list", "doc": "Return a new sorted list from the iterable."},
    {"query_id": "q1", "doc_id": "d2", "query": "sort a list", "doc": "Close the file."},
    {"query": "close a file", "doc": "Close the file."},
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n\n".join(map(json.dumps, PAIRS)) + "\n")
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def test_released_format(pairs, tmp_path):
    done = run(pairs, tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(r["query_id"], r["doc_id"]) for r in records] == [("q1", "d1"), ("q1", "d2"), (None, None)]
    for record in records:
        assert list(record) == ["query_id", "doc_id", "shared_features", "per_view_shared_features", "feature_explanations"]
        assert set(record["per_view_shared_features"]) == {"original", "qa", "summary", "purpose"}
        assert [e["feature_id"] for e in record["feature_explanations"]] == record["shared_features"]
    assert len(records[0]["shared_features"]) > len(records[1]["shared_features"])


def test_attribution_adds_up(pairs, tmp_path):
    assert run(pairs, tmp_path / "out.jsonl", "--attribution").exit_code == 0
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert sum(record["parts"].values()) == pytest.approx(record["score"], abs=1e-4)


def test_it_runs_the_stages_of_a_pipeline_and_encodes_each_text_once(pairs, tmp_path):
    model, encoded = Xetrieval.default(), []

    class Listening(MiniLM):
        def encode_docs(self, texts, batch_size=None):
            encoded.extend(texts)
            return super().encode_docs(texts, batch_size)

    encoder = Listening()
    assert explain_file(model, pairs, tmp_path / "out.jsonl", encoder=encoder, attribution=True) == len(PAIRS)
    assert encoded == ["Return a new sorted list from the iterable.", "Close the file."]
    frame = pd.DataFrame([{"qid": str(i), "docno": str(i), "query": p["query"], "text": p["doc"]} for i, p in enumerate(PAIRS)])
    dense = encoder.query_encoder() >> encoder.doc_encoder()
    explained = (dense >> model.internalizer() >> model.explainer())(frame)["explanation"]
    for line, expected in zip((tmp_path / "out.jsonl").read_text().splitlines(), explained):
        record = json.loads(line)
        assert record["shared_features"] == sorted(expected.features.tolist())
        assert record["score"] == pytest.approx(expected.score, abs=1e-6)


@pytest.mark.parametrize(
    "line, message",
    [
        (b"{oops", "line 7 of"),
        (b'{"query": "x"}', "pairs.jsonl expects texts 'query' and 'doc'"),
        (b"[1]", "pairs.jsonl expects an object, found [1]"),
        (b'{"query": "caf\xe9", "doc": "x"}', "pairs.jsonl is no JSON: 'utf-8'"),
    ],
)
def test_a_bad_line_is_named_and_the_old_output_stays(pairs, tmp_path, line, message):
    pairs.write_bytes(pairs.read_bytes() + b"\n" + line + b"\n")
    (tmp_path / "out.jsonl").write_text("old")
    done = run(pairs, tmp_path / "out.jsonl")
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output
    assert (tmp_path / "out.jsonl").read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_bad_paths_exit_with_2(pairs, tmp_path):
    before = pairs.read_bytes()
    assert run(pairs, pairs).exit_code == 2 and pairs.read_bytes() == before
    assert run(tmp_path / "no.jsonl", tmp_path / "out.jsonl").exit_code == 2
    assert run(pairs, tmp_path / "no" / "out.jsonl").exit_code == 2
    done = run(pairs, tmp_path / "out.jsonl", "--model", tmp_path)
    assert done.exit_code == 2 and "no Xetrieval artifact" in done.output
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "holds no pairs" in run(tmp_path / "empty.jsonl", tmp_path / "out.jsonl").output


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="shells here give pipes no path")
def test_a_pipe_is_refused_because_it_can_be_read_only_once(pairs, tmp_path):
    (tmp_path / "out.jsonl").write_text("old")
    reader, writer = os.pipe()  # as of: explain <(head -5 pairs.jsonl) out.jsonl
    os.write(writer, pairs.read_bytes())
    os.close(writer)
    done = run(f"/dev/fd/{reader}", tmp_path / "out.jsonl")
    assert done.exit_code == 2 and "expects a file that can be read more than once" in done.output, done.output
    assert (tmp_path / "out.jsonl").read_text() == "old"
    with pytest.raises(ValueError, match="CorpusFile expects a file that can be read more than once"):
        list(CorpusFile(f"/dev/fd/{reader}"))
    os.close(reader)


def test_pairs_that_go_missing_while_they_are_read(pairs, tmp_path, monkeypatch):
    (tmp_path / "out.jsonl").write_text("old")
    passes = iter([PAIRS, PAIRS[:1]])
    monkeypatch.setattr("pyterrier_xetrieval.checkpoints.pairs.read_pairs", lambda path: iter(next(passes)))
    with pytest.raises(RuntimeError, match="counted 3 pairs in .* and then found 1"):
        explain_file(Xetrieval.default(), pairs, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "old"
