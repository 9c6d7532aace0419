"""A whole model in one call: from a corpus, a teacher's texts and an encoder to the finished artifact."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt
import torch

from ..core.checks import found_value
from ..core.codes import encode_view, join_views
from ..core.internalizer import Internalizer, all_views
from ..core.mean_document import MeanDocument
from ..core.sae import SparseAutoencoder
from ..core.vector_facts import VectorFacts
from ..datasets.corpus_file import Documents
from ..datasets.encoded_corpus import Corpus, EncodedCorpus, encode_stored, encoded_so_far, stored_documents
from ..documents import Missing
from ..encoders import probe_vectors
from ..index.storage import sha256
from ..labelling.evidence_words import UNJUDGED_FACTS
from ..llm.endpoints import as_model
from ..llm.prompts import digest
from ..model import Xetrieval
from ..store.files import new_folder, replacing
from ..store.jsonl import appending
from .dictionary import check_variant, train_sae, wants_k
from .internalizers import train_internalizers
from .model_card import model_card
from .own_encoder import STAGE, description, loaded, warn_of_vectors
from .own_labels import EVIDENCE_TEXTS, FLOOR, described, shared_out, word_labels
from .plan import (
    PATIENCE,
    Encoding,
    default_k,
    default_size,
    default_steps,
    encoding_rate,
    held_out_share,
    step_seconds,
    told_cost,
)
from .teacher_texts import TeacherTexts, read_teacher_texts
from .vector_rows import evenly

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..llm.endpoints import LanguageModel

MEAN_OF = 4096  # documents whose mean scores are measured against


def train_model(
    corpus: Corpus,
    texts: str | os.PathLike[str] | None,
    encoder: BiEncoder | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    dict_size: int | None = None,
    variant: str = "topk",
    k: int | None = None,
    sparsity: float | None = None,
    steps: int | None = None,
    hidden: int = 512,
    aspects: Sequence[str] | None = None,
    general: Corpus | None = None,
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    normalize: bool | None = None,
    llm: LanguageModel | Callable[[str], str] | None = None,
    missing: Missing = "error",
    work: str | os.PathLike[str] | None = None,
    device: str | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> Xetrieval:
    """Trains a model for any corpus and encoder and writes it to ``path``; the same call goes on after an interruption.

    Encodes the corpus and the teacher's texts, trains the internalizers (App. A, but from a start near z → z, which is
    better with few teacher texts) and the autoencoder on the documents' vectors and all their internalised views
    (section 2.3), labels features by the words that carry them, and writes the artifact with a model card and ``history.json``
    (the losses and figures of both trainings). Each step leaves its result in the work folder: vectors block by block, the
    autoencoder a checkpoint at every look at held-out vectors. Another call with other options of the dictionary or of the
    internalizers uses the same vectors. Document vectors are read from a memory-mapped file; those of documents
    with teacher texts are held in memory while the internalizers are trained.

    Args:
        corpus: iterable of {docno, text}, a data frame with these columns, a function that returns one of them, or a path
            (JSON lines, also ``.gz``, or a BEIR-style folder). Read once in every call.
        texts: the teacher's file, JSON lines {_id, aspect, text}; None for a "raw SAE": no internalizers, the original view
            alone.
        encoder: a pyterrier_dr bi-encoder, or its Hub name or folder.
        path: the artifact's folder, which does not exist yet.
        dict_size, variant, k, sparsity, steps: of :func:`.dictionary.train_sae`; ``variant="random"`` is the untrained
            baseline. None for what fits the number of documents: about a feature for two of them, one in 16 active, and as many
            steps as held-out documents gain from. Documents are held out either way.
        hidden: of :func:`.internalizers.train_internalizers`.
        aspects: which of the aspects in ``texts``, None for all.
        general: texts of other kinds, as ``corpus``: the dictionary is trained on them as well, which a corpus of a few thousand
            documents needs for features of more than its own documents.
        query_prefix, document_prefix: what is put before texts, for an encoder by name or folder whose files do not say it.
        normalize: whether vectors are scaled to length 1, for such an encoder.
        llm: a language model that says what each feature stands for, and is then asked whether its words tell texts of the
            feature from others; None for words by evidence alone, which :func:`~pyterrier_xetrieval.labelling.describe` may
            replace later.
        missing: what becomes of a document of the corpus whose text is missing (None, NaN) or no string: ``"error"``, or
            ``"drop"``, which leaves it out and warns how many were left out.
        work: folder of the intermediate results, ``PATH.work`` by default; while it is there, the same call returns the
            finished artifact.
        device: where to encode (if ``encoder`` is a name) and to train, e.g. ``"cuda"``.
        seed: of both trainings.
        verbose: say what it will cost before it starts, and show progress.

    Returns:
        the artifact; that of an earlier call if it was made from the same arguments. Nobody has judged its labels: their
        confidence is counted as :data:`~.labelling.evidence_words.UNJUDGED` says, low, until somebody does.

    Raises:
        ValueError: arguments that do not fit together; a bad document or teacher text; a work folder that was begun
            with another corpus or another encoder.
        FileNotFoundError: no file of texts, no such encoder.
        FileExistsError: something else at ``path``.
        RuntimeError: another run is at work in the work folder.

    Example::

        model = train_model("corpus.jsonl", None, "my-e5", "my-model", query_prefix="query: ", document_prefix="passage: ")
        Teacher(llm).write(CorpusFile("corpus.jsonl"), "reasoning.jsonl")
        model = train_model("corpus.jsonl", "reasoning.jsonl", "intfloat/e5-large-v2", "my-model", dict_size=8192, k=256)
    """
    aspects = () if texts is None and aspects is None else None if aspects is None else tuple(aspects)
    if (texts is None) != (aspects == ()):
        raise ValueError(f"{STAGE} expects texts with aspects, found {found_value(texts)} and {found_value(aspects)}")
    if texts is not None and not Path(texts).is_file():
        raise FileNotFoundError(f"{STAGE} expects the teacher's texts at {texts}, found no such file")
    if not wants_k(variant) or k is not None or sparsity is not None:  # else k follows the size, which follows the documents
        check_variant(variant, dict_size or k or 1, k, sparsity)
    path = Path(path).expanduser().absolute()
    work = Path(f"{path}.work" if work is None else work)
    written = None if texts is None else sha256(Path(texts))[:16]
    taught: dict[str, Any] = {"hidden": hidden, "aspects": aspects and list(aspects), "texts": written, "seed": seed}
    encoder = loaded(encoder, device, query_prefix, document_prefix, normalize)
    with appending(work / "training.lock"):
        folders = {work: corpus} if general is None else {work: corpus, work / "general": general}
        stored = {w: stored_documents(given, encoder, w, missing=missing, stage=STAGE) for w, given in folders.items()}
        documents, more = stored[work], stored.get(work / "general")
        count, dim = sum(map(len, stored.values())), encoder.encode_docs(documents.texts([0])).shape[1]
        size = default_size(count, dim) if dict_size is None else dict_size
        if k is None and sparsity is None and wants_k(variant):
            k = min(default_k(size), size)
        check_variant(variant, size, k, sparsity)
        options: dict[str, Any] = dict(variant=variant, dict_size=size, k=k, sparsity=sparsity, steps=steps, seed=seed)
        made_of = options | taught | {"general": None if more is None else more.digest}
        arguments = made_of | {"llm": None if llm is None else as_model(llm).name}
        finished = _finished(path, arguments, work)
        told: dict[str, Any] = dict(stage=STAGE, verbose=verbose)
        asked = None
        if texts is not None and finished is None:  # now, since a line of the file may be wrong, and encoding takes long
            asked = read_teacher_texts(texts, documents, aspects=taught["aspects"], stage=STAGE)
        targets = work / f"texts-{_digest({name: taught[name] for name in ('texts', 'aspects')})}"
        if verbose and finished is None:
            _tell_cost(stored, asked, targets, encoder, size, steps, dim, device)
        encoded = encode_stored(documents, encoder, work, **told)
        source = {"documents": len(documents), "digest": documents.digest}
        if isinstance(corpus, (str, os.PathLike)):
            source["path"] = str(corpus)
        if finished is not None:
            if finished.meta["training"]["corpus"]["digest"] != source["digest"]:
                raise FileExistsError(f"{path} already exists and is of another corpus; choose another path or remove it first")
            return finished
        z = encoded.index.np_vecs()
        warn_of_vectors(encoder, z, count)
        others = [encode_stored(own, encoder, w, **told) for w, own in stored.items() if w != work]
        vectors = [z, *(own.index.np_vecs() for own in others)]
        modules: dict[str, Internalizer] = {}
        trained: dict[str, Any] = {"history": {}, "facts": {}}
        if asked is not None:
            modules, trained = _internalizers(asked, encoded, encoder, work, targets, taught, device=device, verbose=verbose)
            trained["facts"]["texts"]["path"] = str(texts)
        name, steps_at_most = _digest(made_of), steps or default_steps(count * (1 + len(modules)))
        until: dict[str, Any] = {} if steps else {"patience": PATIENCE, "eval_every": max(10, steps_at_most // 20)}
        sae, history = train_sae(
            vectors, internalizers=modules, checkpoint=work / f"sae-{name}.pt", device=device, verbose=verbose,
            **{**options, "steps": steps_at_most}, held_out=held_out_share(count),
            **until,
        )  # fmt: skip
        figures = {a: {n: v for n, v in r.items() if not isinstance(v, list)} for a, r in trained["history"].items()}
        facts = {"arguments": arguments, "corpus": source, "seed": seed, **trained["facts"]}
        if more is not None:
            facts["general"] = {"documents": len(more), "digest": more.digest}
        facts |= {"internalizers": figures, "sae": history[-1] if history else {}}
        labels = word_labels(sae, [encoded, *others], encoder, work / f"labels-{name}.tsv", seed, verbose)
        known: dict[str, Any] = {
            "training": facts,
            "vectors": VectorFacts.measure(sae, z, seed=seed).to_dict(),
            "probes": probe_vectors(encoder),
        }
        if "max_activation" in labels.table:
            known |= UNJUDGED_FACTS
        parts: dict[str, Any] = {
            "encoder": description(encoder, z, path),
            "means": mean_documents(sae, modules, z),
            "facts": known,
        }
        model = Xetrieval.from_parts(internalizers=modules, sae=sae, labels=labels, **parts)
        if llm is not None:
            labels = described(model, encoded, encoder, llm, work / f"hypotheses-{name}", seed=seed, verbose=verbose)
            if labels.confidence is not None:
                known |= {"confidence": labels.confidence.to_dict(), "min_confidence": FLOOR, "judged": as_model(llm).name}
            model = Xetrieval.from_parts(internalizers=modules, sae=sae, labels=labels, **parts)
        done = _written(model, path, {"internalizers": trained["history"], "sae": history})
        return done if done.meta["encoder"]["name"] else done.with_encoder(encoder)  # nothing could load it


def _tell_cost(
    stored: dict[Path, Documents], asked: TeacherTexts | None, targets: Path, encoder: BiEncoder, dict_size: int,
    steps: int | None, dim: int, device: str | None,
) -> None:  # fmt: skip
    """Writes what is left to do; ``stored`` are the documents by their work folders, those of the corpus first."""
    sizes, sources = [len(own) for own in stored.values()], []
    for work, own in stored.items():
        left = len(own) - encoded_so_far(work / "corpus.flex", len(own))
        sources.append(Encoding(len(own), left, encoding_rate(encoder, own.texts(evenly(len(own), 16).tolist()))))
    again = [(n, source.rate) for n, source in zip(shared_out(sizes, EVIDENCE_TEXTS), sources)]
    views = 1
    if asked is not None:
        n, views = len(asked.rows), 1 + len(asked.counts)
        left = sum(n - encoded_so_far(asked.path(targets, aspect), n) for aspect in asked.counts)
        sources.append(Encoding(n * len(asked.counts), left, encoding_rate(encoder, asked.some(16))))
    told = told_cost(
        sources,
        steps=steps or default_steps(sum(sizes) * views),
        seconds=step_seconds(dim, dict_size, device),
        labels=again,
        dim=dim,
    )
    pt.tqdm.write(f"{STAGE}: {sizes[0]:,} documents, {dict_size:,} features; {told}", file=sys.stderr)


def mean_documents(sae: SparseAutoencoder, modules: dict[str, Internalizer], vectors: np.ndarray) -> dict[str, MeanDocument]:
    """The mean of up to MEAN_OF documents, float32 ``[n, m]``, that lie evenly among them: in each view, the original first."""
    z = np.asarray(vectors[evenly(len(vectors), MEAN_OF)], np.float32)
    found = {}
    for name, x in all_views(modules, z, batch_size=1024).items():
        codes = join_views([encode_view(sae, x, refit=True, batch_size=512)], sae.dict_size)
        found[name] = MeanDocument.of(x, codes, [1.0], sae.dict_size)
    return found


def _digest(arguments: dict[str, Any]) -> str:
    """A short name for files that belong to these arguments."""
    return digest(json.dumps(arguments, sort_keys=True), 12)


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


def _internalizers(
    taught: TeacherTexts,
    encoded: EncodedCorpus,
    encoder: BiEncoder,
    work: Path,
    vectors: Path,
    arguments: dict[str, Any],
    *,
    device: str | None,
    verbose: bool,
) -> tuple[dict[str, Internalizer], dict[str, Any]]:
    """Modules by aspect, and {history, facts}; from the work folder if they are there. ``vectors``: the texts' folder."""
    path, dim = work / f"internalizers-{_digest(arguments)}.pt", encoded.index.np_vecs().shape[1]
    if not path.is_file():
        targets = taught.encode(encoder, vectors, stage=STAGE, verbose=verbose)
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
        facts = {"texts": {"counts": taught.counts, "documents": len(z)}}
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


def _written(model: Xetrieval, path: Path, history: dict[str, Any]) -> Xetrieval:
    with new_folder(path) as unfinished:
        unfinished.rmdir()  # the model makes its folder itself
        model.save(unfinished, card=model_card(model))
        (unfinished / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
    return Xetrieval(path)
