"""Readers of files over bytes that coverage guides: an answer that can be used, or the package's own error that names the file.

``python -m benchmarks.fuzz_bytes "JSON lines" --seconds 600`` from the repository's root, one reader a process; without a name it lists
them. Needs Atheris 3.0, which is no dependency (``pip install atheris``, Python 3.11). The package alone is instrumented, so that what
counts as new is a path through it. Every other change is libFuzzer's own, of bytes; the others put another token of JSON, or another
number, in the place of one, as the parsers below the package are not instrumented and let few changed bytes through.
A failure does not end the run: each kind is printed once, with the bytes that show it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyterrier_xetrieval"]):
    from pyterrier_xetrieval import Explanation, FeatureLabels, Xetrieval, XetrievalIndex
    from pyterrier_xetrieval.checkpoints.pairs import read_pairs
    from pyterrier_xetrieval.core.confidence import Confidence
    from pyterrier_xetrieval.datasets.corpus_file import CorpusFile
    from pyterrier_xetrieval.datasets.qrels_file import read_qrels
    from pyterrier_xetrieval.store.facts import parsed
    from pyterrier_xetrieval.store.jsonl import json_lines, records

import torch

from tests.helpers.builders import make_model, result_frame
from tests.helpers.fuzz.outcomes import OURS, Defect, check_error, quiet
from tests.helpers.index import corpus

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-bytes-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
ROW = b'{"_id": "d1", "title": "Tea", "text": "Boil \\ud83d\\ude00 water.", "n": [1.5, null, true]}\n'
CONFIDENCE = b'{"intercept": -2, "activation": 3.1, "clarity": 1, "detection": 4.4, "contribution": 0, "support": 0}'
TABLE = b"feature\tlabel\tmethod\tclarity\tmax_activation\n3\ta b\ttest\t2\t0.5\n7\t\xc3\xa9, x\tkeywords\t\t1e3\n"
TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[-+.\w]+|[][{}]')
TOKENS = [b"", b"null", b"true", b"-1", b"0", b"0.5", b"1e999", b"NaN", b"1e400", b"9007199254740993", b"9" * 30, b'""', b'"x"', b'"\\ud800"',
          b'"\xed\xa0\x80"', b'"\\u0000"', b"[]", b"{}", b'["x"]', b'{"x": 1}', b"[[1]]", b'"1"', b"1_0"]  # fmt: skip


def another_token(data: bytes, limit: int, seed: int) -> bytes:
    """Bytes with another token in the place of one; one of its own, or one that nobody expects there."""
    drawn, tokens = random.Random(seed), list(TOKEN.finditer(data))
    if not tokens or drawn.random() < 0.5:
        return atheris.Mutate(data, limit)
    place = drawn.choice(tokens)
    other = drawn.choice(tokens)[0] if drawn.random() < 0.3 else drawn.choice(TOKENS)
    return (data[: place.start()] + other + data[place.end() :])[:limit]


def whole(text: str) -> None:
    """UTF-8, and so a tokenizer, can take the text."""
    text.encode()


def lines(path: Path) -> None:
    for _, row in records(path):
        whole(json.dumps(row, ensure_ascii=False))
    list(json_lines(path))


def documents(path: Path) -> None:
    for document in CorpusFile(path):
        whole(document["docno"] + document["text"])


def pairs(path: Path) -> None:
    for pair in read_pairs(path):
        whole(pair["query"] + pair["doc"])


def qrels(path: Path) -> None:
    found = read_qrels(path)
    assert found.dtypes.astype(str).tolist() == ["str", "str", "int64"], found.dtypes
    assert not found.isna().any(axis=None)
    assert all(found["qid"]) and all(found["docno"]), "an empty id"
    told = [line.split()[-1] for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    assert found["label"].tolist() == [Fraction(label) for label in told if label != "score"], "another label"


def hypotheses(path: Path) -> None:
    found, told = FeatureLabels.read_hypotheses(path, 8), path.read_text(encoding="utf-8").split("\n")
    assert [found.name(j) or "" for j in range(8)] == ([line.strip() for line in told] + [""] * 8)[:8], "another label"


def labels(path: Path) -> None:
    found, again = FeatureLabels.read(path, 8), path.with_suffix(".again")
    for j in range(8):
        whole(f"{found[j]} {found.facts(j)}")
    found.write(again)
    assert [FeatureLabels.read(again, 8).name(j) for j in range(8)] == [found.name(j) for j in range(8)], (
        "another label when written"
    )


def explanation(path: Path) -> None:
    e = Explanation.from_dict(parsed(path.read_bytes(), path))
    whole(f"{e} {e.sentence()} {e._repr_html_()}".replace("\ud800", ""))
    assert Explanation.from_dict(e.to_dict()).to_dict() == e.to_dict()


def confidence(path: Path) -> None:
    found = Confidence.from_dict(parsed(path.read_bytes(), path))
    assert 0 <= found(1.0, 0.5, 2, 0.9, 0.1, 1) <= 1 and Confidence.from_dict(found.to_dict()).to_dict() == found.to_dict()


def folder_of(kind: str) -> Path:
    path, model = FOLDER / kind, make_model(aspects=("summary", "qa"))
    if not path.exists():
        model.save(path) if kind == "model" else model.indexer(path, shard_size=4).index(corpus(10))
    return path


def model_facts(path: Path) -> None:
    shutil.copy(path, folder_of("model") / "pt_meta.json")
    (lambda m: m.internalizer() >> m.scorer() >> m.explainer())(Xetrieval(folder_of("model")))(result_frame(1, 1))


def index_facts(path: Path) -> None:
    shutil.copy(path, folder_of("index") / "pt_meta.json")
    XetrievalIndex(folder_of("index")).explainer()


def record() -> bytes:
    return json.dumps(make_model().explainer()(result_frame(1, 1))["explanation"][0].to_dict()).encode()


READERS: dict[str, tuple[Callable[[Path], None], Callable[[], list[bytes]]]] = {
    "JSON lines": (lines, lambda: [ROW, b"\xef\xbb\xbf" + ROW * 2, b'{"a": "\\ud800"}']),
    "CorpusFile": (documents, lambda: [ROW, ROW * 2]),
    "read_pairs": (pairs, lambda: [b'{"query": "tea", "doc": "Boil water.", "query_id": 1}\n']),
    "read_qrels": (qrels, lambda: [b"query-id\tcorpus-id\tscore\nq1\td1\t2\n", b"q1 0 d1 2\nq1 Q0 d7 1.0\n", b"q1 d1 -1e0\n"]),
    "read_hypotheses": (hypotheses, lambda: [b"tea\n\nsort lists\n"]),
    "FeatureLabels.read": (labels, lambda: [TABLE]),
    "Explanation.from_dict": (explanation, lambda: [record()]),
    "Confidence.from_dict": (confidence, lambda: [CONFIDENCE]),
    "pt_meta.json of a model": (model_facts, lambda: [(folder_of("model") / "pt_meta.json").read_bytes()]),
    "pt_meta.json of an index": (index_facts, lambda: [(folder_of("index") / "pt_meta.json").read_bytes()]),
}  # fmt: skip


class Run:
    """Counts what becomes of the bytes of one reader, and ends the process when its time is over: libFuzzer never returns."""

    def __init__(self, name: str, seconds: float):
        self.name, self.read, self.seconds = name, READERS[name][0], seconds
        self.start, self.answers, self.refused, self.failures = time.monotonic(), 0, 0, Counter()
        self.path = FOLDER / "input.jsonl"

    def __call__(self, data: bytes) -> None:
        self.path.write_bytes(data)
        try:
            with quiet():
                self.read(self.path)
            self.answers += 1
        except Exception as error:
            self._judge(error, data)
        if time.monotonic() - self.start > self.seconds:
            self.end()

    def _judge(self, error: Exception, data: bytes) -> None:
        told = error
        if isinstance(error, OURS):
            try:
                check_error(error, [str(FOLDER), "Explanation.from_dict", "Confidence"])
                self.refused += 1
                return
            except Defect as defect:
                told = defect
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} of {Path(last.filename).name}:{last.lineno}"
        self.failures[kind] += 1
        if self.failures[kind] == 1:
            print(f"{kind}: {str(told)[:200]}\n    {data[:2000]!r}", flush=True)

    def end(self) -> None:
        cases = self.answers + self.refused + sum(self.failures.values())
        print(f"{self.name}: {cases:,} executions in {time.monotonic() - self.start:.0f} s, {self.answers:,} answers, "
              f"{self.refused:,} refused, failures: {dict(self.failures) or 'none'}", flush=True)  # fmt: skip
        shutil.rmtree(FOLDER, ignore_errors=True)
        os._exit(1 if self.failures else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", nargs="?", choices=[*READERS], help="none: lists them")
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    if options.reader is None:
        print(*READERS, sep="\n")
        return
    torch.set_num_threads(1)
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    for i, data in enumerate(READERS[options.reader][1]()):
        (seeds / str(i)).write_bytes(data)
    atheris.Setup(
        [sys.argv[0], "-max_len=8192", "-rss_limit_mb=0", "-timeout=60", "-seed=1", str(seeds)],
        Run(options.reader, options.seconds),
        custom_mutator=another_token,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
