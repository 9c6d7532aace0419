"""From a description to its encoder, and how an encoder is recognised; the classes are in :mod:`.sentence_encoders`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .core.checks import found_value
from .store.facts import check_facts, read_json

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

# trained with "query: " and "passage: "; their instruct and mistral relatives were trained with instructions
E5_MODELS = frozenset(
    f"intfloat/{name}"
    for name in (
        *("e5-small", "e5-base", "e5-large", "e5-small-v2", "e5-base-v2", "e5-large-v2"),
        *("multilingual-e5-small", "multilingual-e5-base", "multilingual-e5-large"),
    )
)
_E5_PREFIXES = {"query": "query: ", "document": "passage: "}
# the least cosine of one text's vectors: other devices, batches and roundings come to 1e-5 of 1, an E5 without its prefix to 1e-3
SAME = 1 - 1e-4
PROBES = ("The river carries water from the mountains to the sea.", "how to sort a list by two keys")
SENTENCE_ENCODER = "pyterrier_xetrieval.encoder.SentenceEncoder"  # as encoder_identity writes it
_SIDES = {"query": "encode_queries", "document": "encode_docs"}


def encoder_class(name: str, kept_as: str = "") -> type[BiEncoder]:
    """The class of the encoder of this name: ``MiniLM``, :class:`pyterrier_dr.E5`, or ``SentenceEncoder``.

    The prefixes of E5, ``query: `` and ``passage: ``, are for the models that were trained with them: those of
    :data:`E5_MODELS`, by name or in a folder that says it is one. Prompts that a folder configures come before them.

    Args:
        name: on the Hugging Face hub, or a folder.
        kept_as: the class that an artifact says its encoder was of, as :func:`encoder_identity` writes it.
    """
    from pyterrier_dr import E5  # late, as in load_encoder: a model is at hand before its encoder is needed

    from .sentence_encoders import MINILM_NAME, MiniLM, SentenceEncoder

    if name == MINILM_NAME:
        return MiniLM
    if kept_as:
        return E5 if kept_as.endswith(".E5") else SentenceEncoder
    return E5 if _says_e5(name) and not any(_configured_prompts(name).values()) else SentenceEncoder


def _says_e5(name: str) -> bool:
    """Whether this is a name of :data:`E5_MODELS`, a downloaded copy of one, or a folder saved from one."""
    if name in E5_MODELS:
        return True
    copies = {f"models--{model.replace('/', '--')}" for model in E5_MODELS}  # as the hub's cache calls them
    return bool(copies & set(Path(name).parts)) or _json(Path(name) / "config.json").get("_name_or_path") in E5_MODELS


def _configured_prompts(name: str) -> dict[str, str]:
    return _json(Path(name) / "config_sentence_transformers.json").get("prompts") or {}


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path) if path.is_file() else {}
    check_facts(content, {}, path)
    return content


def load_encoder(
    description: Mapping[str, Any], *, path: str | os.PathLike[str] | None = None, beside: Path | None = None, **options: Any
) -> BiEncoder:
    """The pyterrier_dr encoder that an artifact describes.

    Args:
        description: ``{"name": …, "dim": …}``; :func:`encoder_class` says of which class the encoder is. ``query_prefix`` and
            ``document_prefix``, and ``options`` of :class:`~pyterrier_xetrieval.SentenceEncoder`, are used where they are said,
            and ``pooling`` is compared.
        path: the encoder's folder, if it is elsewhere than the description says.
        beside: the artifact's folder: an encoder that is not at its name is looked for where it was seen from there.
        options: passed to the encoder: ``batch_size``, ``text_field``, ``verbose``, ``device``.

    Raises:
        ValueError: the description names no encoder, or prefixes that the encoder of that name would not add; an encoder of
            another pooling.
        FileNotFoundError: a folder that is not there.

    Example::

        encoder = load_encoder({"name": "intfloat/e5-large-v2", "dim": 1024}, device="cuda")
    """
    name = _place(description, path, beside)
    from .sentence_encoders import MiniLM, SentenceEncoder, loading_bars

    kind = encoder_class(name, description.get("class", ""))
    sides = {"query_prefix": "query", "document_prefix": "document"}
    prefixes = {side: description[key] for key, side in sides.items() if description.get(key)}
    if kind is SentenceEncoder:
        said = {side: description[key] for key, side in sides.items() if key in description}
        other = said != {side: _configured_prompts(name).get(side, "") for side in said}
        options = {**({"prompts": said} if other else {}), **description.get("options", {}), **options}
    elif prefixes and (kind is MiniLM or prefixes != _E5_PREFIXES):
        raise ValueError(f"the encoder {name!r} wants {prefixes}, which {kind.__name__} does not add; use an encoder of your own")
    with loading_bars(options.get("verbose", False)):
        encoder = kind(**options) if kind is MiniLM else kind(name, **options)
    found, expected = pooling_of(encoder), description.get("pooling")
    if expected and found and found != expected:
        raise ValueError(
            f"the encoder at {name!r} has pooling {found!r}, the model was trained with {expected!r}; name its folder"
        )
    if kind is SentenceEncoder and _called_e5(name) and not any(encoder.model.prompts.values()) and "prompts" not in options:
        warnings.warn(
            f"the encoder {name!r} is called like an E5 model, and neither says that it is one nor configures prompts: its texts "
            'get none. If it was trained with them, use SentenceEncoder(name, prompts={"query": "query: ", "document": "passage: "})',
            stacklevel=2,
        )
    return encoder


def _place(description: Mapping[str, Any], path: str | os.PathLike[str] | None, beside: Path | None) -> str:
    """The name, or the folder, that an encoder is loaded from."""
    name = os.fspath(path) if path is not None else description.get("name")
    if not name:
        raise ValueError(
            "this model does not say which encoder it belongs to; give it yours, a pyterrier_dr encoder or the folder of one: "
            "model.with_encoder(encoder)"
        )
    if not os.path.isabs(name) or os.path.isdir(name):
        return name
    near = beside and description.get("relative") and (beside / description["relative"]).resolve()
    if path is None and near and near.is_dir():
        return str(near)
    raise FileNotFoundError(
        f"there is no encoder at {name}"
        + (f", nor at {near}" if near else "")
        + "; say where its folder is: model.encoder(path=…)"
    )


def pooling_of(encoder: Any) -> str:
    """How an encoder makes one vector of its token vectors, as sentence-transformers calls it; "" where that is not known."""
    try:
        modules = list(encoder.model)
    except (AttributeError, TypeError):
        return ""
    for module in modules:
        if type(module).__name__ == "Pooling":  # sentence-transformers up to 5 has a method for it
            mode = getattr(module, "pooling_mode", None) or module.get_pooling_mode_str()
            return "+".join(mode) if isinstance(mode, (tuple, list)) else str(mode)
    return ""


def probe_vectors(encoder: Any) -> dict[str, list[list[float]]]:
    """The vectors of :data:`PROBES` as queries and as documents, as far as the encoder encodes them: it is recognised by them."""
    found = {side: _probed(encoder, side) for side in _SIDES}
    return {side: vectors.round(7).tolist() for side, vectors in found.items() if vectors is not None}


def _probed(encoder: Any, side: str) -> np.ndarray | None:
    """float64 ``[2, m]``; None for an encoder that has no texts of this side."""
    try:
        return np.asarray(getattr(encoder, _SIDES[side])(list(PROBES)), np.float64)
    except (AttributeError, NotImplementedError):  # pyterrier_dr's base class has both methods, and nothing behind them
        return None


def other_encoder(known: Mapping[str, Any], encoder: Any) -> str | None:
    """What tells an encoder from the one that made these :func:`probe_vectors`, in words; None if nothing does."""
    for side, vectors in known.items():
        found, expected = _probed(encoder, side), np.asarray(vectors, np.float64)
        if found is None:
            continue
        if found.shape != expected.shape:
            return f"its vectors have {found.shape[-1]} dimensions, not {expected.shape[-1]}"
        lengths = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
        if not np.allclose(*lengths, rtol=1e-2):
            return f"its vectors of a {side} have length {lengths[0].mean():.3g}, not {lengths[1].mean():.3g}: normalise both or none"
        cosine = float((np.einsum("nm,nm->n", found, expected) / (lengths[0] * lengths[1]).clip(1e-12)).min())
        if cosine < SAME:
            return f"its vectors of a {side} have a cosine of {cosine:.4f} with those of the model's (another prefix, pooling or model)"
    return None


def _called_e5(name: str) -> bool:
    return Path(name).name.lower().startswith(("e5-", "multilingual-e5-"))


def encoder_identity(encoder: Any, uses: Sequence[str], *, stage: str) -> dict[str, Any]:
    """What tells an encoder from others: class, model name and length.

    Args:
        encoder: a pyterrier_dr bi-encoder, or what has the parts of one that are needed.
        uses: the names of these parts.
        stage: who asks; named in errors.

    Raises:
        ValueError: a part is missing, or the encoder has no ``model_name`` and its repr is another one in each process.
    """
    if not all(hasattr(encoder, part) for part in uses):
        raise ValueError(f"{stage} expects a pyterrier_dr bi-encoder, found {found_value(encoder)}")
    kind, name = type(encoder), getattr(encoder, "model_name", None) or repr(encoder)
    if " object at 0x" in name:
        raise ValueError(f"{stage} expects an encoder with a model_name to know it again, found {name}")
    # kept in files: the classes of this package keep the name that version 0.1 wrote, wherever they move
    module = kind.__module__.replace(f"{__package__}.sentence_encoders", f"{__package__}.encoder")
    return {"class": f"{module}.{kind.__qualname__}", "name": name, "max_length": getattr(encoder, "max_length", None)}


def check_same_encoder(known: np.ndarray, found: np.ndarray, folder: Path, *, stage: str) -> None:
    """ValueError if a text's vector by this encoder is not the one that is known from its vectors in a folder."""
    if not same_direction(known, found):
        raise ValueError(f"{stage} found other vectors of this encoder in {folder}: the encoder has changed; remove it")


def same_direction(known: np.ndarray, found: np.ndarray) -> bool:
    """Whether two vectors ``[m]`` may be those of one text by one encoder.

    >>> same_direction(np.array([1.0, 0.0]), np.array([0.9, 0.01])), same_direction(np.array([1.0, 0.0]), np.ones(2))
    (True, False)
    """
    return known.shape == found.shape and bool(known @ found >= SAME * np.linalg.norm(known) * np.linalg.norm(found))
