"""The files of a model's folder: weights with their checksums, labels, facts and a card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch

from .core.confidence import Confidence
from .core.internalizer import Internalizer
from .core.mean_document import MeanDocument
from .core.sae import ACTIVATIONS, SparseAutoencoder
from .label_vectors import LabelVectors
from .labels import FeatureLabels
from .store.checksums import check_sha256, sha256
from .store.facts import COUNT, TEXTS_BY_NAME, Check, check_facts, is_aspects, is_finite, parsed, regular
from .store.files import artifact_facts
from .store.tensors import read_tensors, read_with_header, write_tensors

if TYPE_CHECKING:
    from .model import Xetrieval

Module = TypeVar("Module", bound=torch.nn.Module)
VERSION = 1  # of the format; facts without one are of it too
INTERNALIZERS, SAE, LABELS, META = "internalizers.safetensors", "sae.safetensors", "labels.tsv", "pt_meta.json"
MEANS = "means.safetensors"  # of the training documents; not every model has it
LABEL_VECTORS = "label_vectors.safetensors"  # and the texts that they are of; not every model has it


class Parts(dict[str, Any]):
    """What has been read of a model's folder, by name; forgotten with the last model that holds it."""


_READ: WeakValueDictionary[tuple, Parts] = WeakValueDictionary()


def parts_of(folder: Path, device: torch.device) -> Parts:
    """What this process has read of a folder on this device: models that are opened while one of them lives share it.

    An index is opened again and again by those who read it beside a writer, and its model is the same each time. A folder
    one of whose files has been written since is another one.
    """
    stats = ((entry.name, entry.stat()) for entry in os.scandir(folder))
    files = tuple(sorted((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats))
    return _READ.setdefault((str(folder), str(device), files), Parts())


def write(
    folder: Path, internalizers: Mapping[str, Internalizer], sae: SparseAutoencoder, labels: FeatureLabels, meta: dict, card: str,
    means: Mapping[str, MeanDocument],
) -> None:  # fmt: skip
    """Writes all files into an empty folder: weights in ``meta["dtype"]``, and the facts with their checksums.

    Raises:
        ValueError: weights that this dtype cannot hold.
    """
    dtype = meta["dtype"]
    states = {
        INTERNALIZERS: {f"{a}.{name}": w for a, module in internalizers.items() for name, w in module.state_dict().items()},
        SAE: sae.state_dict(),
    }
    if own := {view: means[view] for view in ("original", *internalizers) if view in means}:
        states[MEANS] = {
            f"{view}.{name}": torch.from_numpy(getattr(m, name)) for view, m in own.items() for name in ("vector", "coefficients")
        } | {"documents": torch.tensor(float(own["original"].documents))}
    for name, state in states.items():
        stored = torch.float32 if name == MEANS else getattr(torch, dtype)
        tensors = {key: w.to("cpu", stored).contiguous() for key, w in state.items()}
        if bad := [key for key, w in tensors.items() if not w.isfinite().all()]:
            raise ValueError(f"Xetrieval.save expects weights that {dtype} can hold, found others in {bad[0]}")
        write_tensors(folder / name, tensors)
    names = list(states)
    if labels.vectors is not None:
        _write_label_vectors(folder / LABEL_VECTORS, labels.vectors)
        names.append(LABEL_VECTORS)
    labels.write(folder / LABELS)
    if card:
        (folder / "README.md").write_text(card, encoding="utf-8")
    facts = {**meta, "version": VERSION, "sha256": {name: sha256(folder / name) for name in names}}
    (folder / META).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_facts(folder: Path, kind: type[Xetrieval]) -> dict:
    """The facts of a model's folder.

    Args:
        kind: the class of artifact that it must be.

    Raises:
        FileNotFoundError: no artifact there.
        ValueError: another kind of artifact, another format, or facts that are not those of a model.
    """
    try:
        meta = artifact_facts(folder, kind, {"encoder", "dim", "aspects", "weights", "sae", "sha256"})
    except FileNotFoundError:
        raise FileNotFoundError(f"no Xetrieval artifact at {folder}: {META} is missing") from None
    if (version := meta.get("version", VERSION)) != VERSION:
        raise ValueError(
            f"{folder} has format {version}, this version of the package reads format {VERSION}; train the model again with it, "
            f"pyterrier_xetrieval.training.train_model, or read it with pyterrier_xetrieval "
            f"{meta.get('package_version', 'of another version')}, which wrote it"
        )
    _check(meta, folder)
    return meta


def _check(meta: dict, folder: Path) -> None:
    """ValueError for facts that are not those of a model, whoever wrote them."""
    share: Check = ("a number from 0 to 1", lambda value: is_finite(value) and 0 <= value <= 1)
    expected: dict[str, Check] = {
        "encoder": ("a description", lambda value: isinstance(value, dict) and isinstance(value.get("name") or "", str)),
        "dim": COUNT,
        "aspects": ("an object of aspects", lambda value: isinstance(value, dict) and is_aspects(value)),
        "weights": ("a finite number for each aspect", lambda value: _are_weights(value, meta["aspects"])),
        "sae": ("an object", lambda value: isinstance(value, dict)),
        "sha256": TEXTS_BY_NAME,
        **({"min_confidence": share} if "min_confidence" in meta else {}),
    }
    check_facts(meta, expected, folder / META)
    for aspect, shape in meta["aspects"].items():
        check_facts(shape, {"hidden": COUNT}, folder / META, f"aspects.{aspect}")
    rule: Check = (f"one of {ACTIVATIONS}", lambda value: value in list(ACTIVATIONS))
    k: Check = ("a whole number above 0, or null", lambda value: value is None or COUNT[1](value))
    check_facts(meta["sae"], {"activation": rule, "dict_size": COUNT, "k": k}, folder / META, "sae")
    check_facts(meta["sha256"], dict.fromkeys((INTERNALIZERS, SAE), ("a text", lambda value: True)), folder / META, "sha256")


def _are_weights(value: object, aspects: dict) -> bool:
    return isinstance(value, dict) and value.keys() == aspects.keys() and all(map(is_finite, value.values()))


def read_internalizers(folder: Path, meta: dict, device: torch.device) -> dict[str, Internalizer]:
    """Aspect to module; ValueError for a file that is damaged or does not fit the facts."""
    state = _weights(folder, INTERNALIZERS, meta)
    modules = {}
    for aspect, shape in meta["aspects"].items():
        own = {key.removeprefix(f"{aspect}."): w for key, w in state.items() if key.startswith(f"{aspect}.")}
        _fits(own, "layer1.weight", (shape["hidden"], meta["dim"]), folder / INTERNALIZERS)
        modules[aspect] = _filled(Internalizer(meta["dim"], shape["hidden"]), own, folder / INTERNALIZERS, device)
    return modules


def read_sae(folder: Path, meta: dict, device: torch.device) -> SparseAutoencoder:
    """The dictionary; ValueError for a file that is damaged or does not fit the facts."""
    facts, state = meta["sae"], _weights(folder, SAE, meta)
    _fits(state, "w_enc", (facts["dict_size"], meta["dim"]), folder / SAE)
    try:
        sae = SparseAutoencoder(meta["dim"], facts["dict_size"], facts["k"], activation=facts["activation"])
    except ValueError as error:
        raise ValueError(f"{folder / META} is damaged: {error}") from None
    return _filled(sae, state, folder / SAE, device)


def read_means(folder: Path, meta: dict) -> dict[str, MeanDocument]:
    """The mean training document in each view; empty for a model without them, ValueError for a damaged file."""
    if MEANS not in meta["sha256"]:
        return {}
    state, shapes = _weights(folder, MEANS, meta), {"vector": meta["dim"], "coefficients": meta["sae"]["dict_size"]}
    found = {}
    for view in ("original", *meta["aspects"]):
        if f"{view}.vector" in state:
            for name, length in shapes.items():
                if (key := f"{view}.{name}") not in state or tuple(state[key].shape) != (length,):
                    raise ValueError(f"{folder / MEANS} does not fit its metadata: expected {key} of length {length}")
            vector, coefficients = (np.asarray(state[f"{view}.{name}"]) for name in shapes)
            found[view] = MeanDocument(vector, coefficients, int(state["documents"]))
    return found


def read_labels(folder: Path, meta: dict) -> FeatureLabels:
    """The names of the features, and how far to trust them where that was measured."""
    known = meta.get("confidence")
    try:
        confidence = None if known is None else Confidence.from_dict(known)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / META} is damaged: confidence: {error}") from None
    vectors = _read_label_vectors(folder, meta) if LABEL_VECTORS in meta["sha256"] else None
    return FeatureLabels.read(regular(folder / LABELS), meta["sae"]["dict_size"], confidence=confidence, vectors=vectors)


def _write_label_vectors(path: Path, vectors: LabelVectors) -> None:
    """Eight bits for each component, of vectors whose length does not count; the texts that they are of are in the header."""
    largest = np.abs(vectors.matrix).max(axis=1, initial=0.0, keepdims=True)
    steps = np.rint(vectors.matrix * (127 / np.maximum(largest, 1e-12))).astype(np.int8)
    write_tensors(path, {"vectors": torch.from_numpy(steps)}, header={"texts": json.dumps(vectors.texts)})


def _read_label_vectors(folder: Path, meta: dict) -> LabelVectors:
    path = regular(folder / LABEL_VECTORS)
    check_sha256(path, meta["sha256"][LABEL_VECTORS])
    state, header = read_with_header(path)
    texts = parsed(header.get("texts", "[]"), path)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{path} is damaged: expected a list of texts in its header")
    _fits(state, "vectors", (len(texts), meta["dim"]), path)
    return LabelVectors(texts, state["vectors"].float().numpy())


def _weights(folder: Path, name: str, meta: dict) -> dict[str, torch.Tensor]:
    check_sha256(regular(folder / name), meta["sha256"][name])
    state = read_tensors(folder / name)
    for key, w in state.items():
        if not w.is_floating_point() or not w.isfinite().all():
            raise ValueError(f"{folder / name} is damaged: expected finite numbers, found others in {key}")
    return {key: w.float() for key, w in state.items()}


def _fits(state: dict, name: str, shape: tuple[int, int], path: Path) -> None:
    """ValueError unless the matrix has this shape: a module of the facts' size may not fit in memory."""
    found = tuple(state[name].shape) if name in state else "none"
    if found != shape:
        raise ValueError(f"{path} does not fit its metadata: expected {name} of shape {shape}, found {found}")


def _filled(module: Module, state: dict, path: Path, device: torch.device) -> Module:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its metadata: {error}") from None
    return module.to(device).eval().requires_grad_(False)
