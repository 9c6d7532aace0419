"""The other corpus jobs on the same kind of cluster: samples of features and teacher texts."""

import numpy as np
import pytest

from pyterrier_xetrieval.distributed import feature_samples, write_texts
from pyterrier_xetrieval.labelling import feature_samples as samples_in_one_process
from pyterrier_xetrieval.llm import FunctionLLM
from pyterrier_xetrieval.training import Teacher
from tests.helpers.builders import make_model, random_sae, unit
from tests.helpers.cluster import DIM, texts

pytestmark = pytest.mark.usefixtures("one_thread", "cluster")


def test_samples_are_those_of_one_pass(model, tmp_path):
    matrix = unit(np.random.default_rng(1), 3000, DIM)
    matrix[700:720] = matrix[0]  # equal activations, in three parts
    matrix[1800] = matrix[0]
    np.save(tmp_path / "v.npy", matrix)
    options = dict(docnos=[f"d{i}" for i in range(3000)], top=9, random=7, pool=40, threshold=0.05, seed=5)
    expected = samples_in_one_process(model, matrix, **options)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    found = feature_samples(model, mapped, tmp_path / "work", part_size=600, workers=2, **options)
    for name in ("docs", "values", "active", "active_values", "others", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.docnos == expected.docnos and expected.counts.min() > 9 and not (tmp_path / "work").exists()
    for wrong in (matrix, mapped[256:]):
        with pytest.raises(ValueError, match="whole memory-mapped file"):
            feature_samples(model, wrong, tmp_path / "work")
    with pytest.raises(FileExistsError, match="other files there"):
        feature_samples(model, mapped, tmp_path)
    matrix[2999, 0] = np.nan  # the run ends, its folder stays
    np.save(tmp_path / "v.npy", matrix)
    with pytest.raises(ValueError, match="NaN or infinity"):
        feature_samples(model, mapped, tmp_path / "work")
    with pytest.raises(ValueError, match="begun with model_sha256"):
        feature_samples(make_model(random_sae(seed=1)), mapped, tmp_path / "work")
    matrix[2999, 0] = 0  # corrected: other vectors than the job was begun with
    np.save(tmp_path / "v.npy", matrix)
    with pytest.raises(ValueError, match="begun with vectors_sha256"):
        feature_samples(model, np.load(tmp_path / "v.npy", mmap_mode="r"), tmp_path / "work")


def last_word(prompt):
    if "gamma épsilon alpha" in prompt:
        return ""
    return f"A text of {len(prompt)} characters that is long enough to be taken for an answer."


def test_teacher_texts(tmp_path):
    documents, teacher = texts(60), Teacher(FunctionLLM(last_word), prompts={"summary": "Sum up: {text}"}, attempts=1, give_up=99)
    with pytest.warns(UserWarning, match="missing"):
        expected = teacher.write(documents, tmp_path / "one.jsonl")
    with pytest.warns(UserWarning, match="missing"):
        found = write_texts(teacher, documents, tmp_path / "many.jsonl", part_size=25, workers=2)
    assert expected.failed > 0
    assert (found.written, found.failed) == (expected.written, expected.failed)
    assert (tmp_path / "many.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    with pytest.warns(UserWarning, match="missing"):
        again = write_texts(teacher, documents, tmp_path / "many.jsonl", part_size=25, workers=2)
    assert (again.written, again.kept, again.failed) == (0, found.written, found.failed)
    with pytest.raises(FileExistsError, match="expects nothing at"):
        write_texts(teacher, documents, tmp_path / "one.jsonl")
    other = [{**d, "text": d["text"] + " omega"} for d in documents]
    with pytest.raises(ValueError, match="found other documents among 0"):
        write_texts(teacher, other, tmp_path / "many.jsonl", part_size=25)
    answered = [d for d in documents if "gamma épsilon alpha" not in d["text"]]
    assert write_texts(teacher, answered, tmp_path / "all.jsonl", part_size=25).failed == 0
    assert not (tmp_path / "all.jsonl.parts").exists() and (tmp_path / "many.jsonl.parts").exists()
