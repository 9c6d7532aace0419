"""Cases for folders and files of weights: whole, damaged, of another kind, and by a hostile author."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pyterrier_xetrieval import Xetrieval, XetrievalIndex, read_released, read_sae, write_sae
from pyterrier_xetrieval.checkpoints import read_internalizer, read_state_dict, read_topk_sae
from pyterrier_xetrieval.core.vector_facts import VectorFacts
from tests.helpers import damage
from tests.helpers.builders import make_model, random_sae, result_frame, sae_of_rule, unit
from tests.helpers.fuzz.outcomes import Source, judged
from tests.helpers.fuzz.world import WORLD
from tests.helpers.index import corpus, topics

NUMBER = count()


def _folder(kind: str) -> Path:
    path = WORLD.folder / f"whole-{kind}"
    if not path.exists():
        model = make_model(aspects=("summary", "qa"))
        model.save(path) if kind == "model" else model.indexer(path, shard_size=4).index(corpus(10))
    return path


def _answer(artifact, seed: int) -> list[tuple]:
    """What is asked of every copy: it reads all files."""
    if isinstance(artifact, Xetrieval):
        found = (artifact.internalizer() >> artifact.scorer() >> artifact.explainer())(result_frame(2, 2, seed=seed))
    else:
        found = (artifact.retriever(num_results=3) >> artifact.vec_loader() >> artifact.explainer())(topics(2, seed=seed))
    return [(e.qid, e.docno, e.score, e.features.tolist(), e.contributions.tolist()) for e in found["explanation"]]


def _opened(kind: str, path: Path):
    if kind == "model":
        return Xetrieval(path)
    index = XetrievalIndex(path)
    index.verify()
    return index


def _artifact(kind: str, spoil):
    def entry(src: Source) -> bool:
        whole, marker, seed = WORLD.__dict__.setdefault("whole", {}), WORLD.folder / "executed", src.seed()
        if kind not in whole:
            whole[kind] = _opened(kind, _folder(kind))
        path, asked = WORLD.folder / f"copy{next(NUMBER)}", seed % 40

        def right():
            if (kind, asked) not in whole:
                whole[kind, asked] = _answer(whole[kind], asked)
            return whole[kind, asked]

        shutil.copytree(_folder(kind), path)
        changed = src.chance(5)
        if changed:
            spoil(src, kind, path, marker)
        try:
            found = judged(lambda: _answer(_opened(kind, path), asked), lambda answer: _equal(answer, right()),
                           harm=None, either=changed, names=[str(path)])  # fmt: skip
            assert not marker.exists(), "a pickle was executed"
            return found
        finally:
            shutil.rmtree(path)

    return entry


def _equal(found, right) -> None:
    assert found == right, "another answer"


def _files(src: Source, kind: str, path: Path, marker: Path) -> None:
    files = sorted(f.relative_to(path) for f in path.rglob("*") if f.is_file())
    name, other = src.pick(files), src.pick(files)
    damage.damage_file(path / name, src.pick(damage.KINDS), (src.seed() % 1000) / 1000, path / other, marker)


def _facts(src: Source, kind: str, path: Path, marker: Path) -> None:
    if kind == "model":
        meta = json.loads((path / damage.META).read_text())
        place = src.pick(list(damage.places(meta)))
        value = src.pick([*damage.NOT_FACTS, 10**400, True])
        if place[0] in ("weights", "min_confidence") or place == ("sae", "k"):
            value = "x"  # another number is another model, and no damage
        text = json.dumps(damage.changed(meta, place, value, src.chance(3)))
        (path / damage.META).write_text(text)
        return
    lines = [json.loads(line) for line in (path / "shards.jsonl").read_text().splitlines()]
    place = src.pick([p for p in damage.places(lines) if len(p) > 1 and p[:2] != (0, "weights")])
    damage.sign_shards(path, damage.changed(lines, place, src.pick([*damage.NOT_FACTS, 10**400, True]), src.chance(3)))


FORMATS = ("dictionary_learning", "saelens", "sparsify")


def _other_sae(format_: str):
    """A folder of another library: the reader's autoencoder computes what the written one does."""

    def entry(src: Source) -> bool:
        rule = "topk" if format_ == "sparsify" else src.pick(["topk", "relu", "thresholds", "gated"])
        seed = src.seed() % 1000
        sae = random_sae(8, 24, 3, seed) if rule == "topk" else sae_of_rule(rule, 8, 24, None)
        path = WORLD.folder / f"sae{next(NUMBER)}"
        write_sae(sae, path, format=format_)
        marker, harm = WORLD.folder / "executed", None
        if src.chance(4):
            harm = src.pick(["a file", "a file", "a fact", "a tensor", "a tensor"])
            if harm == "a file":
                _files(src, "sae", path, marker)
            elif harm == "a fact":
                config = next(path.glob("*.json"))
                facts = json.loads(config.read_text())
                place = src.pick(list(damage.places(facts)))
                config.write_text(
                    json.dumps(damage.changed(facts, place, src.pick([*damage.NOT_FACTS, "relu", True]), src.chance(3)))
                )
            else:
                _tensor(src, path)
        x = torch.from_numpy(unit(np.random.default_rng(seed), 5, 8))

        def compare(found):
            if harm is None:
                torch.testing.assert_close(found(x), sae(x), atol=2e-5, rtol=1e-4)
            assert found(x).isfinite().all()

        try:
            found = judged(lambda: read_sae(path), compare, harm=None, either=harm is not None, names=[str(path)])
            assert not marker.exists(), "a pickle was executed"
            return found
        finally:
            shutil.rmtree(path)

    return entry


def _tensor(src: Source, folder: Path) -> None:
    """Rewrites one tensor as no library would."""
    file = next(f for f in sorted(folder.iterdir()) if f.suffix in (".pt", ".safetensors"))
    if file.suffix == ".pt":
        state = torch.load(file, weights_only=True)
    else:
        from safetensors.torch import load_file

        state = load_file(file)
    _spoil_state(src, state)
    if file.suffix == ".pt":
        torch.save(state, file)
    else:
        save_file({k: v.contiguous() for k, v in state.items() if isinstance(v, torch.Tensor)}, file)


def _spoil_state(src: Source, state: dict) -> None:
    name = src.pick(sorted(state))
    w = state[name]
    kind = src.pick(["gone", "NaN", "shape", "more", "integers", "complex", "huge", "empty", "text", "renamed", "truths"])
    if kind == "gone":
        del state[name]
    elif kind == "renamed":
        state[f"../{name}"] = state.pop(name)
    elif kind == "more":
        state["unknown"] = torch.zeros(3)
    elif isinstance(w, torch.Tensor):
        state[name] = {
            "NaN": lambda: torch.full_like(w.float(), torch.nan), "shape": lambda: w.flatten()[:1].clone().reshape(1, 1, 1),
            "integers": lambda: w.to(torch.int32), "complex": lambda: w.to(torch.complex64), "huge": lambda: w.double() * 1e300,
            "empty": lambda: w.flatten()[:0].clone(), "text": lambda: "x", "truths": lambda: w > 0,
        }[kind]()  # fmt: skip


def _released(src: Source) -> tuple[dict[str, dict], dict]:
    g = torch.Generator().manual_seed(src.seed() % 1000)
    modules = {
        aspect: {"net.0.weight": torch.randn(4, 8, generator=g), "net.0.bias": torch.randn(4, generator=g),
                 "net.2.weight": torch.randn(8, 4, generator=g), "net.2.bias": torch.randn(8, generator=g)}
        for aspect in ("summary", "purpose", "qa")
    }  # fmt: skip
    sae = {"encoder.weight": torch.randn(24, 8, generator=g), "encoder.bias": torch.randn(24, generator=g),
           "decoder.weight": torch.randn(8, 24, generator=g), "b_dec": torch.randn(8, generator=g),
           "k": torch.tensor(3, dtype=torch.int)}  # fmt: skip
    return modules, sae


def _save(src: Source, state: dict, path: Path) -> None:
    prefix = src.pick(["", "module.", "_orig_mod.", "module._orig_mod."])
    content = {prefix + key: w for key, w in state.items()}
    wrapper = src.pick([None, "state_dict", "model_state_dict"])
    torch.save(content if wrapper is None else {wrapper: content, "epoch": 7}, path)


def checkpoint(what: str):
    """One ``.pt`` file of the released program, whole or spoilt; a pickle is never executed."""

    def entry(src: Source) -> bool:
        modules, sae = _released(src)
        state = sae if what in ("read_topk_sae", "read_state_dict") else modules["qa"]
        right = {key: w.clone() for key, w in state.items()}
        path, marker, harm = WORLD.folder / f"checkpoint{next(NUMBER)}.pt", WORLD.folder / "executed", None
        if src.chance(4):
            harm = src.pick(["file", "file", "tensor", "tensor", "content"])
        if harm == "tensor":
            _spoil_state(src, state)
        _save(src, state, path)
        if harm == "file":
            other = path.with_suffix(".other")
            other.write_bytes(b"other")
            damage.damage_file(path, src.pick(damage.KINDS), (src.seed() % 1000) / 1000, other, marker)
        elif harm == "content":
            torch.save(src.pick([7, [1], {}, {1: 2}, {"state_dict": {}}, {"state_dict": 7}, None, torch.zeros(2)]), path)
        x = unit(np.random.default_rng(1), 4, 8).astype(np.float64)

        def compare(found):
            if what == "read_state_dict":
                assert harm or all(torch.equal(found[key], w) for key, w in right.items())
            elif what == "read_topk_sae" and harm is None:
                w = {key: v.double().numpy() for key, v in right.items()}
                p = (x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]
                for row, codes in zip(p, found.encode(torch.from_numpy(x).float()).dense(24).numpy()):
                    expected = np.where(row >= np.sort(row)[-3], np.maximum(row, 0), 0)
                    np.testing.assert_allclose(codes, expected, atol=1e-4)
            elif harm is None:
                w = {key: v.double().numpy() for key, v in right.items()}
                out = np.tanh(x @ w["net.0.weight"].T + w["net.0.bias"]) @ w["net.2.weight"].T + w["net.2.bias"]
                expected = out / np.linalg.norm(out, axis=1, keepdims=True)
                np.testing.assert_allclose(found(torch.from_numpy(x).float()).numpy(), expected, atol=1e-5)

        read = {"read_topk_sae": read_topk_sae, "read_state_dict": read_state_dict, "read_internalizer": read_internalizer}[what]
        try:
            found = judged(lambda: read(path), compare, harm=None, either=harm is not None, names=[str(path)])
            assert not marker.exists(), "a pickle was executed"
            return found
        finally:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    return entry


def released(src: Source) -> bool:
    """All files of the released program together; the files are of one encoder, or not."""
    modules, sae = _released(src)
    folder, harm = WORLD.folder / f"released{next(NUMBER)}", None
    folder.mkdir()
    if src.chance(5):
        harm = src.pick(["aspect", "tensor", "dim", "hypotheses"])
    if harm == "tensor":
        _spoil_state(src, modules["qa"])
    for aspect, state in modules.items():
        _save(src, state, folder / f"model_{aspect}.pt")
    _save(src, sae, folder / "sae.pt")
    if harm == "aspect":
        (folder / "model_qa.pt").unlink()
    (folder / "h.txt").write_text("a\nb\n" * (20 if harm == "hypotheses" else 2))
    dim = 9 if harm == "dim" else 8

    def compare(model):
        assert model.aspects == ("summary", "purpose", "qa") and model.labels.name(1) == "b" and model.sae.k == 3

    try:
        call = lambda: read_released(folder, folder / "sae.pt", folder / "h.txt", encoder={"name": "x", "dim": dim})  # noqa: E731
        return judged(
            call, compare, harm=harm if harm != "tensor" else None, either=harm == "tensor", names=[str(folder), "Xetrieval"]
        )
    finally:
        shutil.rmtree(folder)


def facts_of_vectors(src: Source) -> bool:
    """A model whose facts about vectors are something else; or that warns of vectors, or refuses them."""
    x = unit(np.random.default_rng(src.seed()), src.pick([1, 3, 50]), 16)
    scale = src.pick([1.0, 1.0, 3.0, 100.0, 0.01])
    facts = VectorFacts(1, 0, 0.2, 0.03, 0.6)

    def compare(told):
        assert (told is None) == (1 / 1.75 <= scale <= 1.75)

    return judged(lambda: facts.wrong_length(x * np.float32(scale)), compare, harm=None)


ENTRIES = {
    "Xetrieval(path), damaged files": _artifact("model", _files),
    "Xetrieval(path), other facts": _artifact("model", _facts),
    "XetrievalIndex(path), damaged files": _artifact("index", _files),
    "XetrievalIndex(path), other lines": _artifact("index", _facts),
    **{f"read_sae(path), {name}": _other_sae(name) for name in FORMATS},
    **{f"{name}(path)": checkpoint(name) for name in ("read_topk_sae", "read_internalizer", "read_state_dict")},
    "read_released(folder)": released,
    "VectorFacts.wrong_length(x)": facts_of_vectors,
}
