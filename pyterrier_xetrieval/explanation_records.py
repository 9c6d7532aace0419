"""An explanation as plain values, for JSON, Arrow and Parquet, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .core.attribution import Attribution
from .core.confidence import Confidence
from .core.mean_document import Baseline
from .explanation_rows import OtherRanking
from .feature_names import FeatureFacts, FeatureNames
from .label_vectors import LabelFit
from .word_evidence import SIDES, KeptPhrases
from .words import Phrase

if TYPE_CHECKING:
    from .explanation import Explanation


def record(e: Explanation) -> dict[str, Any]:
    """See :meth:`Explanation.to_dict`."""
    ids, confidence, names, above, before = sorted(e.features.tolist()), e.confidence, e.labels, e.above_mean, e.before
    fit, shown = e.label_fit, e.is_shown
    return {
        "query_id": _plain(e.qid),
        "doc_id": _plain(e.docno),
        "shared_features": ids,
        "per_view_shared_features": e.per_view,
        "feature_explanations": [{"feature_id": j, "hypothesis": names.name(j)} for j in ids],
        "score": e.score,
        "parts": _parts(e),
        "baseline": None
        if above is None
        else {
            "score": e.baseline,
            "documents": e.baseline_documents,
            "above": {"shared": above.shared, "other": above.other, "residual": above.residual},
        },
        "before": None if before is None else {"score": before.score, **_parts(before)},
        "features": [
            {
                "feature_id": int(j),
                "label": names[j],
                "views": e.views_of(i),
                "query_activation": float(e.query_activations[i]),
                "document_activations": dict(zip(e.views, map(float, e.document_activations[i]))),
                "contribution": float(e.contributions[i]),
                "before": None if before is None else float(before.contributions[i]),
                "above_mean": None if above is None else float(above.contributions[i]),
                "confidence": _number(confidence[i]),
                "shown": bool(shown[i]),
                **({} if fit is None else _fit_of(fit, i)),
                **{name: _number(fact) for name, fact in names.facts(int(j))._asdict().items()},
                **e.words(i),
                **_phrases(e, i),
            }
            for i, j in enumerate(e.features)
        ],
        "dictionary": {
            "id": names.dictionary,
            "features": names.dict_size,
            "confidence": None if names.confidence is None else names.confidence.to_dict(),
        },
        "printed": {"top": e.top, "min_confidence": float(e.min_confidence)},
        "ranking": None if e.ranking is None else e.ranking._asdict(),
        "texts": None
        if e.evidence is None
        else {"query": e.evidence.query, "document": e.evidence.document, "read_to": e.evidence.stopped_at},
    }


def arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the constructor of :class:`Explanation` takes, from what :func:`record` made of one.

    Lists may be arrays, and what a record lacks may be there as None: Arrow gives every row of a column the same fields.

    Raises:
        ValueError: something else, or values that do not fit together.
    """
    try:
        return _arguments(record)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        told = f"{type(record).__name__} ({type(error).__name__}: {error})"
        raise ValueError(f"Explanation.from_dict expects what Explanation.to_dict made, found {told}") from None


def _arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    views = tuple(view for view, ids in record["per_view_shared_features"].items() if ids is not None)
    if views[:1] != ("original",):
        raise ValueError(f"expected the original view first, found {list(views)}")
    listed, parts, dictionary = list(record["features"]), record["parts"], record["dictionary"]
    ids = [int(own["feature_id"]) for own in listed]
    if len(set(ids)) < len(ids) or not all(0 <= j < dictionary["features"] for j in ids):
        raise ValueError(f"expected different features among 0 … {dictionary['features'] - 1}")
    activations = [[own["document_activations"][view] for view in views] for own in listed]
    attribution = Attribution(
        score=np.array([float(record["score"])]),
        other=np.array([float(parts["other"])]),
        bias=np.array([float(parts["bias"])]),
        residual=np.array([float(parts["residual"])]),
        offsets=np.array([0, len(ids)]),
        features=np.array(ids, np.int32),
        contribution=np.array([own["contribution"] for own in listed], np.float32),
        query_activation=np.array([own["query_activation"] for own in listed], np.float32),
        document_activation=np.array(activations, np.float32).reshape(len(ids), len(views)),
    )
    if told := record.get("before"):
        score, other, bias, residual = (np.array([float(told[part])]) for part in ("score", "other", "bias", "residual"))
        contribution = np.array([own["before"] for own in listed], np.float32)
        before = replace(
            attribution, score=score, other=other, bias=bias, residual=residual, contribution=contribution
        )  # fmt: skip
        attribution = replace(attribution, before=before)
    found = attribution.arrays() + ([] if attribution.before is None else attribution.before.arrays())
    if not all(np.isfinite(values).all() for values in found):
        raise ValueError("expected finite numbers")
    named, ranking, texts = record["feature_explanations"], record["ranking"], record["texts"]
    facts = {
        j: FeatureFacts(*(np.nan if own[f] is None else float(own[f]) for f in FeatureFacts._fields))
        for j, own in zip(ids, listed)
    }
    confidence = None if dictionary["confidence"] is None else Confidence.from_dict(dictionary["confidence"])
    names = {int(own["feature_id"]): str(own["hypothesis"]) for own in named if own["hypothesis"]}
    labels = FeatureNames(names, int(dictionary["features"]), facts, confidence)
    labels.dictionary = str(dictionary["id"])
    return {
        "qid": record["query_id"],
        "docno": record["doc_id"],
        "parts": attribution,
        "row": 0,
        "views": views,
        "labels": labels,
        "top": int(record["printed"]["top"]),
        "min_confidence": float(record["printed"]["min_confidence"]),
        "evidence": None if texts is None else _kept(texts, listed),
        "ranking": None if ranking is None else OtherRanking(float(ranking["score"]), int(ranking["place"]), int(ranking["of"])),
        "baseline": _baseline(record.get("baseline"), attribution, listed),
        "fit": _fit(listed, [len(labels.readings(j)) for j in ids]),
    }


def _parts(e: Explanation) -> dict[str, float]:
    return {"shared": e.shared, "other": e.other, "bias": e.bias, "residual": e.residual}


def _baseline(told: Mapping[str, Any] | None, parts: Attribution, listed: Sequence[Mapping[str, Any]]) -> Baseline | None:
    if told is None:
        return None
    less = np.array([own["above_mean"] for own in listed], np.float32)
    above = {part: float(told["above"][part]) for part in ("other", "residual")}
    values = np.array([float(told["score"])]), parts.other - above["other"], parts.residual - above["residual"]
    if not all(np.isfinite(own).all() for own in (*values, less)):
        raise ValueError("expected finite numbers")
    return Baseline(*values, parts.contribution - less, int(told["documents"]))


def _fit_of(fit: LabelFit, i: int) -> dict[str, Any]:
    of_query, of_document = fit.similarity[i].tolist()
    return {
        "reading": int(fit.reading[i]), "query_similarity": _number(of_query), "document_similarity": _number(of_document),
        "reading_detection": _number(fit.detection[i]),
    }  # fmt: skip


def _fit(listed: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> LabelFit | None:
    """Which readings are meant; counts: how many each label has."""
    if not listed or listed[0].get("reading") is None:
        return None
    names = (*(f"{side}_similarity" for side in SIDES), "reading_detection")
    numbers = np.array([[np.nan if own[name] is None else own[name] for name in names] for own in listed], np.float32)
    chosen = [int(own["reading"]) for own in listed]
    if not all(0 <= place < max(1, count) for place, count in zip(chosen, counts)) or np.isinf(numbers).any():
        raise ValueError("expected readings that the labels have, and finite numbers of them")
    return LabelFit(np.array(chosen, np.int8), numbers[:, :2], numbers[:, 2])


def _phrases(e: Explanation, i: int) -> dict[str, list[dict[str, Any]]]:
    """Where the words of a feature are in both texts."""
    if e.evidence is None:
        return {}
    found = ((side, e.evidence.phrases(side, i)) for side in SIDES)
    return {f"{side}_phrases": [{"share": p.share, "spans": [list(s) for s in p.spans]} for p in own] for side, own in found}


def _kept(texts: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> KeptPhrases:
    sides = {side: [_read(texts[side], own[f"{side}_phrases"]) for own in listed] for side in SIDES}
    read_to = texts["read_to"]
    return KeptPhrases(
        texts["query"], texts["document"], sides["query"], sides["document"], None if read_to is None else int(read_to)
    )


def _read(text: str, phrases: Sequence[Mapping[str, Any]]) -> list[Phrase]:
    out = []
    for own in phrases:
        spans = tuple((int(start), int(stop)) for start, stop in own["spans"])
        if not spans or not all(0 <= start < stop <= len(text) for start, stop in spans):
            raise ValueError("expected words that are in the text")
        out.append(Phrase(text[slice(*spans[0])], float(own["share"]), spans))
    return out


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
