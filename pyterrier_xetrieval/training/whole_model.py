"""A whole model in one call: from a corpus, a teacher's texts and an encoder to the finished artifact."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..core.checks import found_value
from ..core.codes import encode_view, join_views
from ..core.internalizer import Internalizer, internalize
from ..core.mean_document import MeanDocument
from ..core.sae import SparseAutoencoder
from ..core.vector_facts import VectorFacts
from ..datasets.encoded_corpus import EncodedCorpus, encode_corpus
from ..documents import Missing
from ..encoders import encoder_class, encoder_identity, load_encoder
from ..labelling.keywords import keyword_labels
from ..labels import FeatureLabels
from ..model import Xetrieval
from ..store.files import new_folder, replacing, same_as_kept
from ..store.jsonl import appending
from .dictionary import check_variant, train_sae
from .internalizers import train_internalizers
from .model_card import model_card
from .teacher_texts import read_teacher_texts

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

LABEL_TEXTS = 50_000  # documents that labels are made from: their words and codes are held in memory
MEAN_OF = 4096  # documents whose mean scores are measured against
STAGE = "train_model"


def train_model(
    corpus: str | os.PathLike[str] | Iterable[dict[str, Any]] | pd.DataFrame | Callable[[], Iterable[dict[str, Any]]],
    texts: str | os.PathLike[str] | None,
    encoder: BiEncoder | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    dict_size: int,
    variant: str = "topk",
    k: int | None = None,
    sparsity: float | None = None,
    steps: int = 5000,
    hidden: int = 512,
    aspects: Sequence[str] | None = None,
    missing: Missing = "error",
    work: str | os.PathLike[str] | None = None,
    device: str | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> Xetrieval:
    """Trains a model for any corpus and encoder and writes it to ``path``; the same call goes on after an interruption.

    Encodes the corpus and the teacher's texts, trains the internalizers (App. A, but from a start near z → z, which is
    better with few teacher texts) and the autoencoder on the documents' vectors and all their internalised views
    (section 2.3), labels features by keywords, and writes the artifact with a model card and ``history.json`` (the
    losses and figures of both trainings). Each step leaves its result in the work folder: vectors block by block, the
    autoencoder a checkpoint every 200 steps. Document vectors are read from a memory-mapped file; those of documents
    with teacher texts are held in memory while the internalizers are trained.

    Args:
        corpus: iterable of {docno, text}, a data frame with these columns, a function that returns one of them, or a path
            (JSON lines, also ``.gz``, or a BEIR-style folder). Read once in every call.
        texts: the teacher's file, JSON lines {_id, aspect, text}; None with ``aspects=()``.
        encoder: a pyterrier_dr bi-encoder, or its Hub name or folder.
        path: the artifact's folder, which does not exist yet.
        dict_size, variant, k, sparsity, steps: of :func:`.dictionary.train_sae`; ``variant="random"`` is the untrained
            baseline.
        hidden: of :func:`.internalizers.train_internalizers`.
        aspects: which of the aspects in ``texts``, None for all; ``()`` for a "raw SAE": no internalizers.
        missing: what becomes of a document of the corpus whose text is missing (None, NaN) or no string: ``"error"``, or
            ``"drop"``, which leaves it out and warns how many were left out.
        work: folder of the intermediate results, ``PATH.work`` by default; while it is there, the same call returns the
            finished artifact.
        device: where to encode (if ``encoder`` is a name) and to train, e.g. ``"cuda"``.
        seed: of both trainings.
        verbose: show progress.

    Returns:
        the artifact; that of an earlier call if it was made from the same arguments.

    Raises:
        ValueError: arguments that do not fit together; a bad document or teacher text; a work folder that was begun
            with other arguments, another corpus or another encoder.
        FileNotFoundError: no file of texts, no such encoder.
        FileExistsError: something else at ``path``.
        RuntimeError: another run is at work in the work folder.

    Example::

        Teacher(llm).write(CorpusFile("corpus.jsonl"), "reasoning.jsonl")
        model = train_model("corpus.jsonl", "reasoning.jsonl", "intfloat/e5-large-v2", "my-model", dict_size=8192, k=256)
    """
    check_variant(variant, dict_size, k, sparsity)
    aspects = None if aspects is None else tuple(aspects)
    if (texts is None) != (aspects == ()):
        raise ValueError(
            f"{STAGE} expects texts with aspects, and none for aspects=(), found {found_value(texts)} and {found_value(aspects)}"
        )
    if texts is not None and not Path(texts).is_file():
        raise FileNotFoundError(f"{STAGE} expects the teacher's texts at {texts}, found no such file")
    path = Path(path).expanduser().absolute()
    work = Path(f"{path}.work" if work is None else work)
    options: dict[str, Any] = dict(variant=variant, dict_size=dict_size, k=k, sparsity=sparsity, steps=steps, seed=seed)
    digest = None if texts is None else _file_digest(texts)
    arguments = options | {"hidden": hidden, "aspects": aspects and list(aspects), "texts": digest}
    finished = _finished(path, arguments, work)
    encoder = _loaded(encoder, device)
    with appending(work / "training.lock"):
        same_as_kept(work / "arguments.json", arguments, stage=STAGE, keep=False)
        encoded = encode_corpus(corpus, encoder, work, missing=missing, stage=STAGE, verbose=verbose)
        source = {"documents": len(encoded.documents), "digest": encoded.documents.digest}
        if isinstance(corpus, (str, os.PathLike)):
            source["path"] = str(corpus)
        if finished is not None:
            if finished.meta["training"]["corpus"]["digest"] != source["digest"]:
                raise FileExistsError(f"{path} already exists and is of another corpus; choose another path or remove it first")
            return finished
        modules: dict[str, Internalizer] = {}
        trained: dict[str, Any] = {"history": {}, "facts": {}}
        if texts is not None:
            modules, trained = _internalizers(texts, encoded, encoder, work, arguments, device=device, verbose=verbose)
        same_as_kept(work / "arguments.json", arguments, stage=STAGE)
        sae, history = train_sae(
            encoded.index, internalizers=modules, checkpoint=work / "sae.pt", device=device, verbose=verbose, **options
        )
        figures = {a: {n: v for n, v in r.items() if not isinstance(v, list)} for a, r in trained["history"].items()}
        facts = {"arguments": arguments, "corpus": source, "seed": seed, **trained["facts"]}
        facts |= {"internalizers": figures, "sae": history[-1] if history else {}}
        model = Xetrieval.from_parts(
            internalizers=modules,
            sae=sae,
            labels=_labels(sae, encoded, work, seed),
            encoder=_description(encoder, encoded.index.np_vecs()),
            means=mean_documents(sae, modules, encoded.index.np_vecs()),
            facts={"training": facts, "vectors": VectorFacts.measure(sae, encoded.index.np_vecs(), seed=seed).to_dict()},
        )
        return _written(model, path, {"internalizers": trained["history"], "sae": history})


def mean_documents(sae: SparseAutoencoder, modules: dict[str, Internalizer], vectors: np.ndarray) -> dict[str, MeanDocument]:
    """The mean of up to MEAN_OF documents, float32 ``[n, m]``, that lie evenly among them: in each view, the original first."""
    z = np.asarray(vectors[np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), MEAN_OF)).astype(np.int64))], np.float32)
    views = {"original": z, **{aspect: internalize(module, z, batch_size=1024) for aspect, module in modules.items()}}
    found = {}
    for name, x in views.items():
        codes = join_views([encode_view(sae, x, refit=True, batch_size=512)], sae.dict_size)
        found[name] = MeanDocument.of(x, codes, [1.0], sae.dict_size)
    return found


def _finished(path: Path, arguments: dict[str, Any], work: Path) -> Xetrieval | None:
    """The artifact of an earlier call with these arguments; FileExistsError for anything else there."""
    if not path.exists():
        return None
    if not (work / "documents").is_dir():
        raise FileExistsError(f"{path} already exists, and there is no {work} to tell of which corpus; choose another path")
    try:
        model = Xetrieval(path)
        if model.meta["training"]["arguments"] == json.loads(json.dumps(arguments)):
            return model
    except (ValueError, FileNotFoundError, KeyError, TypeError):
        pass
    raise FileExistsError(f"{path} already exists and is no model of these arguments; choose another path or remove it first")


def _loaded(encoder: BiEncoder | str | os.PathLike[str], device: str | None) -> BiEncoder:
    if not isinstance(encoder, (str, os.PathLike)):
        encoder_identity(encoder, ["encode_docs"], stage=STAGE)  # ValueError if it is none
        return encoder
    name = str(Path(encoder).absolute()) if Path(encoder).exists() else str(encoder)
    try:
        return load_encoder({"name": name}, device=device)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{STAGE} could not load the encoder {name!r}: {str(error).strip().splitlines()[0]}") from None


def _description(encoder: BiEncoder, vectors: np.ndarray) -> dict[str, Any]:
    """What the artifact says of its encoder; without a name where a name would load another one."""
    from pyterrier_dr import SBertBiEncoder  # late, as it takes seconds

    from ..sentence_encoders import SentenceEncoder

    sample = np.asarray(vectors[:1000])
    identity = encoder_identity(encoder, ["encode_docs"], stage=STAGE)
    name = encoder.source if isinstance(encoder, SentenceEncoder) else getattr(encoder, "model_name", None)
    by_name = name and (
        type(encoder) is encoder_class(name, identity["class"])
        or (type(encoder) is SBertBiEncoder and not any(encoder.model.prompts.values()))
    )
    options = encoder.options if type(encoder) is SentenceEncoder else {}
    return {
        **identity,
        **({"options": options} if options else {}),
        "name": name if by_name else "",
        "dim": sample.shape[1],
        "normalize": bool(np.allclose(np.linalg.norm(sample, axis=1), 1, atol=1e-3)),
        "similarity": "dot",
    }


def _internalizers(
    texts: str | os.PathLike[str],
    encoded: EncodedCorpus,
    encoder: BiEncoder,
    work: Path,
    arguments: dict[str, Any],
    *,
    device: str | None,
    verbose: bool,
) -> tuple[dict[str, Internalizer], dict[str, Any]]:
    """Modules by aspect, and {history, facts}; from the work folder if they are there."""
    path, dim = work / "internalizers.pt", encoded.index.np_vecs().shape[1]
    if not path.is_file():
        taught = read_teacher_texts(texts, encoded.documents, aspects=arguments["aspects"], stage=STAGE)
        same_as_kept(work / "arguments.json", arguments, stage=STAGE)  # now that the texts can be read
        targets = taught.encode(encoder, work, stage=STAGE, verbose=verbose)
        z = encoded.index.np_vecs()[taught.rows]
        modules, history = train_internalizers(
            z, targets, hidden=arguments["hidden"], identity_start=True, device=device, seed=arguments["seed"], verbose=verbose
        )
        for aspect, losses in history.items():
            if losses["val_mse"] >= losses["identity_mse"]:
                warnings.warn(
                    f"{STAGE}: the view {aspect!r} is no closer to its texts ({losses['val_mse']:.4f}) than the document's own "
                    f"vector ({losses['identity_mse']:.4f}); it needs texts of more documents than {taught.counts.get(aspect)}",
                    stacklevel=3,
                )
        facts = {"texts": {"path": str(texts), "counts": taught.counts, "documents": len(z)}}
        states = {aspect: module.state_dict() for aspect, module in modules.items()}
        with replacing(path, "wb") as file:
            torch.save({"states": states, "history": history, "facts": facts}, file)
    modules = {}
    try:
        kept = torch.load(path, weights_only=True)
        for aspect, state in kept.pop("states").items():
            modules[aspect] = Internalizer(dim, arguments["hidden"]).eval()
            modules[aspect].load_state_dict(state)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # reading a damaged file may raise anything
        raise ValueError(f"{STAGE} expects {path} to hold its internalizers; it is damaged, remove it") from error
    return modules, kept


def _labels(sae: SparseAutoencoder, encoded: EncodedCorpus, work: Path, seed: int) -> FeatureLabels:
    """Keyword labels from up to LABEL_TEXTS random documents; from the work folder if they are there."""
    path, vectors = work / "labels.tsv", encoded.index.np_vecs()
    if not path.is_file():
        rows = np.sort(np.random.default_rng([seed, 3]).permutation(len(vectors))[:LABEL_TEXTS])
        codes = encode_view(sae, vectors[rows], refit=False, batch_size=1024)
        try:
            labels = keyword_labels(encoded.documents.texts(rows), codes.ids, codes.activations, dict_size=sae.dict_size)
        except ValueError as error:  # texts without words that could be labels, e.g. in another script
            warnings.warn(f"{STAGE} made no keyword labels: {error}", stacklevel=3)
            labels = FeatureLabels.empty(sae.dict_size)
        labels.write(path)
    return FeatureLabels.read(path, sae.dict_size)


def _written(model: Xetrieval, path: Path, history: dict[str, Any]) -> Xetrieval:
    with new_folder(path) as unfinished:
        unfinished.rmdir()  # the model makes its folder itself
        model.save(unfinished, card=model_card(model))
        (unfinished / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
    return Xetrieval(path)


def _file_digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
