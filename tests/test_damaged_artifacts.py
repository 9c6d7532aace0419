"""Artifacts that are damaged, or that somebody hostile made: the right answer, or an error that names the file; never code."""

import json
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyterrier_xetrieval import Explanation, Xetrieval, XetrievalIndex
from tests.helpers import damage
from tests.helpers.builders import make_model, result_frame
from tests.helpers.index import corpus, topics

pytestmark = pytest.mark.usefixtures("one_thread")
ARTIFACTS = {"model": Xetrieval, "index": XetrievalIndex}
often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
NUMBER = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    make_model().save(folder / "model")
    make_model().indexer(folder / "index", shard_size=4).index(corpus(10))
    return folder


def answer(kind: str, path: Path) -> list[dict]:
    """What is asked of every copy: it reads all files."""
    if kind == "model":
        model = Xetrieval(path)
        found = (model.internalizer() >> model.scorer() >> model.explainer())(result_frame())
    else:
        index = XetrievalIndex(path)
        index.verify()
        found = (index.retriever(num_results=3) >> index.vec_loader() >> index.explainer())(topics(2))
    return [e.to_dict() for e in found["explanation"]]


@pytest.fixture(scope="module")
def right(folder):
    return {kind: answer(kind, folder / kind) for kind in ARTIFACTS}


def copy(folder: Path, kind: str) -> Path:
    path = folder / f"copy{next(NUMBER)}"
    shutil.copytree(folder / kind, path)
    return path


def check(kind: str, path: Path, right: dict, marker: Path, files: tuple[str, ...] = ()) -> None:
    """The right answer, or an error of ours that names a file of the artifact; and nothing was executed."""
    try:
        found = answer(kind, path)
    except (ValueError, FileNotFoundError) as error:
        told = str(error)
        assert str(path) in told, told
        assert not files or any(name in told for name in files), told
    else:
        assert without_labels(found) == without_labels(right[kind])
    assert not marker.exists()
    shutil.rmtree(path)


def without_labels(records: list[dict]) -> list[tuple]:
    """The numbers: labels are a table to be edited, and have no checksum."""
    return [(r["query_id"], r["doc_id"], r["score"], r["parts"], [f["contribution"] for f in r["features"]]) for r in records]


@pytest.mark.parametrize("kind", ARTIFACTS)
@given(data=st.data())
@often
def test_damaged_files(kind, folder, right, data):
    path, marker = copy(folder, kind), folder / "executed"
    files = sorted(f.relative_to(path) for f in path.rglob("*") if f.is_file())
    name, other = data.draw(st.sampled_from(files)), data.draw(st.sampled_from(files))
    damage.damage_file(path / name, data.draw(st.sampled_from(damage.KINDS)), data.draw(st.floats(0, 1)), path / other, marker)
    check(kind, path, right, marker)


@given(data=st.data())
@often
def test_facts_of_a_model_that_are_none(folder, right, data):
    path = copy(folder, "model")
    meta = json.loads((path / damage.META).read_text())
    place = data.draw(st.sampled_from(list(damage.places(meta))))
    value, delete = data.draw(st.sampled_from(damage.NOT_FACTS)), data.draw(st.booleans())
    numbers = place[0] in ("weights", "min_confidence") or place == ("sae", "k")
    if numbers and isinstance(value, (int, float)) and np.isfinite(value):
        value = "x"  # another number is another model, and no damage
    (path / damage.META).write_text(json.dumps(damage.changed(meta, place, value, delete)))
    check("model", path, right, folder / "executed")


@given(data=st.data())
@often
def test_lines_of_shards_that_are_none(folder, right, data):
    """With checksums that fit: the author of an index can write anything, but no path leads out of the folder."""
    path = copy(folder, "index")
    lines = [json.loads(line) for line in (path / "shards.jsonl").read_text().splitlines()]
    place = data.draw(st.sampled_from([p for p in damage.places(lines) if len(p) > 1 and p[:2] != (0, "weights")]))
    value, delete = data.draw(st.sampled_from(damage.NOT_FACTS)), data.draw(st.booleans())
    damage.sign_shards(path, damage.changed(lines, place, value, delete))
    check("index", path, right, folder / "executed")


@pytest.mark.parametrize("name", ["vectors/../../secret", "/etc/hostname", "../model/sae.safetensors"])
def test_no_path_leads_out_of_an_index(folder, right, name):
    path = copy(folder, "index")
    lines = [json.loads(line) for line in (path / "shards.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        line["ends"][name], line["sha256"][name] = line["ends"].pop("ids.u1"), line["sha256"].pop("ids.u1")
    damage.sign_shards(path, lines)
    with pytest.raises(ValueError, match="shards.jsonl is damaged: expected shard 0.ends to be where each of"):
        XetrievalIndex(path)
    shutil.rmtree(path)


@pytest.mark.parametrize("aspect", ["../x", "original/..", ""])
def test_no_aspect_is_a_path(folder, aspect):
    path = copy(folder, "model")
    meta = (path / damage.META).read_text().replace('"summary"', json.dumps(aspect))
    (path / damage.META).write_text(meta)
    with pytest.raises(ValueError, match="pt_meta.json is damaged: expected aspects to be an object of aspects"):
        Xetrieval(path)
    shutil.rmtree(path)


@pytest.mark.parametrize("name", ["sae.safetensors", "internalizers.safetensors"])
@pytest.mark.parametrize("how", ["other shape", "whole numbers", "NaN", "none", "other names"])
def test_weights_that_no_save_would_write(folder, right, name, how):
    path = copy(folder, "model")
    damage.hostile_weights(path / name, how)
    damage.sign_model(path)
    with pytest.raises(ValueError, match=f"{name} (is damaged|does not fit its metadata): "):
        answer("model", path)
    shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["a pickle", "a checkpoint of torch"])
@pytest.mark.parametrize("name", ["sae.safetensors", "internalizers.safetensors", "labels.tsv"])
def test_a_pickle_with_the_right_checksum_is_not_opened(folder, kind, name):
    path, marker = copy(folder, "model"), folder / "executed"
    damage.damage_file(path / name, kind, 0.0, path / name, marker)
    damage.sign_model(path)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        answer("model", path)
    assert not marker.exists()
    shutil.rmtree(path)


def test_a_record_of_an_explanation_executes_nothing(folder, right):
    for place in damage.places(right["model"][0]):
        for value in damage.NOT_FACTS:
            try:
                Explanation.from_dict(damage.changed(right["model"][0], place, value)).to_text()
            except ValueError as error:
                assert "from_dict expects what Explanation.to_dict made" in str(error)
