"""A text's vector as the sum of its token vectors, from the forward pass that makes it; or leave-out where it is no sum."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from .core.checks import found_value, positive_int
from .core.evidence import WordVectors, sum_rows
from .store.surrogates import repaired
from .words import UNITS, spans, units

SIDES = {"query": ("encode_queries", ("query",)), "document": ("encode_docs", ("document", "passage", "corpus"))}
_LINEAR = ("mean", "mean_sqrt_len_tokens", "weightedmean")  # poolings of sentence-transformers that are sums over tokens
_SAME = 0.02  # how far, of its length, a vector may be from the encoder's own: bfloat16 is a tenth of that off
_PROBE = ["The river carries water from the mountains to the sea.", "water"]  # of two lengths, so that one is padded
_WINDOW = 16  # batches whose texts are sorted by length: less padding

T = TypeVar("T")


@dataclass(frozen=True)
class TokenVectors:
    """A text's vector, token by token: ``Σ rows + constant``.

    Attributes:
        rows: float32 ``[n, m]``, each token's part.
        spans: int32 ``[n, 2]``, where the token is in the text; only for those with ``kind`` 0.
        kinds: int8 ``[n]``: 0 a token of the text, 1 a special token, 2 one of the prompt.
        constant: float32 ``[m]``, of the bias of a linear layer behind the pooling; 0 where there is none.
        stopped_at: the first character that the encoder no longer read; None if it read the whole text.
    """

    rows: np.ndarray
    spans: np.ndarray
    kinds: np.ndarray
    constant: np.ndarray
    stopped_at: int | None


class TokenEncoder:
    """Reads texts as an encoder does, and keeps what each of their words puts into the vector.

    For a sentence-transformers model that averages its token vectors, the parts are exact and cost the forward pass that
    encodes the text. A linear layer behind the pooling is followed; so is the length to which the encoder normalises. For
    every other encoder (CLS or last-token pooling, layers that are not linear, other libraries) it is leave-out: the text
    is encoded again without each word or sentence in turn. What the module list promises is compared once with the
    encoder's own vectors of two short texts, so that a prompt that nobody declares is not overlooked.

    Args:
        encoder: a pyterrier_dr bi-encoder.
        side: ``"query"`` or ``"document"``; encoders may give each a prompt of its own.
        batch_size: texts encoded at once; the encoder's own if None.

    Attributes:
        exact: whether the parts add up to the vector; else they are leave-out.
        why_leave_out: what about the encoder makes its vector no sum over tokens, in words; None if it is one.
        prompt: what the encoder puts before a text of this side, as far as it is declared.

    Raises:
        ValueError: another side, or an encoder that cannot encode it.

    Example::

        reader = TokenEncoder(MiniLM())
        reader.exact                                       # True
        words, = reader.words(["Return a sorted list."])
        words.spans, words.vector                          # where the words are, and what their parts add up to
    """

    def __init__(self, encoder: Any, side: str = "document", *, batch_size: int | None = None):
        if side not in SIDES:
            raise ValueError(f"TokenEncoder expects side to be one of {tuple(SIDES)}, found {side!r}")
        if not hasattr(encoder, SIDES[side][0]):
            raise ValueError(
                f"TokenEncoder expects a pyterrier_dr bi-encoder with {SIDES[side][0]}, found {found_value(encoder)}"
            )
        self.encoder, self.side = encoder, side
        if batch_size is None:
            batch_size = getattr(encoder, "batch_size", None) or 32
        self.batch_size = positive_int(batch_size, "batch_size", stage="TokenEncoder")
        self._encode = getattr(encoder, SIDES[side][0])
        self.why_leave_out = self._not_a_sum()
        self.exact = self.why_leave_out is None

    def in_batches_of(self, batch_size: int) -> TokenEncoder:
        """The same reader with other batches; the encoder is not looked at again."""
        reader = copy.copy(self)
        reader.batch_size = positive_int(batch_size, "batch_size", stage="TokenEncoder")
        return reader

    def _not_a_sum(self) -> str | None:
        """Reads the model's modules, and compares what they promise with the encoder's own vectors."""
        self.prompt, self._unit, self._scaled = "", False, False
        try:
            modules = list(self.encoder.model)
            fast = self.encoder.model.tokenizer.is_fast
        except (AttributeError, TypeError):
            return "it is no sentence-transformers model"
        self.prompt = declared_prompt(self.encoder, self.side)
        # by the name of the class: sentence-transformers has moved these modules between its versions
        names = [type(module).__name__ for module in modules]
        if names[:2] != ["Transformer", "Pooling"] or not set(names[2:]) <= {"Dense", "Normalize"} or "Normalize" in names[:-1]:
            return f"its modules are {', '.join(names)}"
        if (mode := _pooling_mode(modules[1])) not in _LINEAR:
            return f"its pooling is {mode}"
        if any(not _is_linear(module) for module in modules if type(module).__name__ == "Dense"):
            return "a layer behind its pooling is not linear"
        if not fast:
            return "its tokenizer does not say where its tokens are"
        theirs = np.asarray(self._encode(_PROBE), np.float64)
        lengths = np.linalg.norm(theirs, axis=1, keepdims=True)
        # some encoders normalise what the model gives them, or cut what it has normalised
        self._unit = bool((np.abs(lengths - 1) <= _SAME).all())
        self._scaled = self._unit or names[-1] == "Normalize"
        ours = np.stack([tokens.rows.sum(axis=0) + tokens.constant for tokens in self._forward(_PROBE)])
        if ours.shape != theirs.shape or not (np.linalg.norm(ours - theirs, axis=1, keepdims=True) <= _SAME * lengths).all():
            return "its vectors are not those of its sentence-transformers model with the declared prompt"
        return None

    def tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The parts of each text's vector, token by token.

        Raises:
            ValueError: an encoder whose vector is no sum over tokens.
        """
        if not self.exact:
            raise ValueError(f"TokenEncoder expects an encoder that averages token vectors, but {self.why_leave_out}")
        return _in_order(len(texts), self._batches(texts, len(texts), self._forward))

    def words(self, texts: Sequence[str], unit: str = "word") -> list[WordVectors]:
        """The parts of each text's vector, word by word; :meth:`batches` for more texts than fit memory.

        Args:
            unit: ``"word"``, ``"sentence"``, ``"paragraph"`` or, where exact, ``"token"``.

        Raises:
            ValueError: an unknown unit.
        """
        return _in_order(len(texts), self.batches(texts, unit, window=len(texts)))

    def words_by_text(self, texts: Sequence[str]) -> dict[str, WordVectors]:
        """The :meth:`words` of each distinct text, which is read once."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self.words(distinct)))

    def batches(
        self, texts: Iterable[str], unit: str = "word", *, window: int | None = None
    ) -> Iterator[tuple[list[int], list[WordVectors]]]:
        """:meth:`words` of a stream of texts, a batch at a time; no more than one batch's vectors are in memory.

        Args:
            window: how many texts are sorted by length, for less padding (default: 16 batches).

        Yields:
            The numbers of some texts, counted from 0, and their words; every text once.
        """
        if unit not in UNITS or (unit == "token" and not self.exact):
            raise ValueError(f"TokenEncoder expects unit to be one of {UNITS[not self.exact :]}, found {unit!r}")
        read = self._grouped if self.exact else self._leave_out
        yield from self._batches(texts, window, lambda batch: read(batch, unit))

    def _batches(
        self, texts: Iterable[str], window: int | None, function: Callable[[list[str]], list[T]]
    ) -> Iterator[tuple[list[int], list[T]]]:
        stream, first = map(repaired, texts), 0
        while own := list(islice(stream, window or _WINDOW * self.batch_size)):
            order = sorted(range(len(own)), key=lambda i: -len(own[i]))
            for start in range(0, len(own), self.batch_size):
                rows = order[start : start + self.batch_size]
                yield [first + i for i in rows], function([own[i] for i in rows])
            first += len(own)

    def _grouped(self, texts: list[str], unit: str) -> list[WordVectors]:
        return [_words_of(text, tokens, unit) for text, tokens in zip(texts, self._forward(texts))]

    @torch.inference_mode()
    def _forward(self, texts: list[str]) -> list[TokenVectors]:
        model = self.encoder.model.eval()
        encoded = self.tokenized(texts)
        pooling, layers = model[1], [m for m in model if type(m).__name__ == "Dense"]
        inputs = {k: v.to(model.device) for k, v in encoded.items() if isinstance(v, torch.Tensor)}
        h = model[0](inputs)["token_embeddings"].float()
        mask = inputs["attention_mask"].float()
        position = mask.cumsum(dim=1)  # from 1, wherever the padding is
        if not getattr(pooling, "include_prompt", True) and self.prompt:
            mask = mask * (position > self._prompt_tokens)
        weight = mask * position if _pooling_mode(pooling) == "weightedmean" else mask
        total = weight.sum(dim=1, keepdim=True).clamp_min(1e-9)
        rows = h * (weight / (total.sqrt() if _pooling_mode(pooling) == "mean_sqrt_len_tokens" else total)).unsqueeze(2)
        constant = rows.new_zeros(rows.shape[2])
        for layer in layers:
            rows, constant = rows @ layer.linear.weight.float().T, constant @ layer.linear.weight.float().T
            constant = constant + (0 if layer.linear.bias is None else layer.linear.bias.float())
        vectors = rows.sum(dim=1) + constant
        cut = model.truncate_dim  # behind a normalisation that is a module, before one of the encoder's own
        lengths = torch.linalg.vector_norm(vectors[:, :cut] if self._unit else vectors, dim=1).clamp_min(1e-12)
        scale = 1 / lengths if self._scaled else torch.ones_like(lengths)
        rows, constant = rows[..., :cut], constant[:cut]
        rows = (rows * scale[:, None, None]).cpu().numpy()
        constants = (scale[:, None] * constant).cpu().numpy()
        return [_token_vectors(encoding, self.prompt, *one) for encoding, *one in zip(encoded.encodings, rows, constants)]

    def tokenized(self, texts: list[str]) -> Any:
        """The padded input of the model for these texts behind the prompt, cut to what it reads; a BatchEncoding of tensors."""
        model = self.encoder.model
        prompted = [self.prompt + text for text in texts]
        return model.tokenizer(
            prompted, padding=True, truncation="longest_first", max_length=model.max_seq_length, return_tensors="pt"
        )

    @cached_property
    def _prompt_tokens(self) -> int:
        """How many tokens the prompt has with those before it, as sentence-transformers counts them."""
        tokenizer = self.encoder.model.tokenizer
        ids = tokenizer(self.prompt)["input_ids"]
        return len(ids) - (ids[-1] in tokenizer.all_special_ids)

    def _leave_out(self, texts: list[str], unit: str) -> list[WordVectors]:
        found, stops = zip(*self._left_out(texts, unit))
        read = [text[:stop] for text, stop in zip(texts, stops)]  # else words from behind the cut would move in
        variants = [[text, *(text[:a] + text[b:] for a, b in own.tolist())] for text, own in zip(read, found)]
        vectors = np.asarray(self._encode([variant for of_text in variants for variant in of_text]), np.float32)
        parts = np.split(vectors, np.cumsum([len(of_text) for of_text in variants])[:-1])
        rest = np.zeros((3, vectors.shape[1]), np.float32)
        rows = [np.concatenate([own[0] - own[1:], rest]) for own in parts]
        return [WordVectors(of_text, own, False, stop) for of_text, own, stop in zip(found, rows, stops)]

    def _left_out(self, texts: list[str], unit: str) -> list[tuple[np.ndarray, int | None]]:
        """The spans to leave out of each text, and where the encoder stops reading it, as far as a tokenizer says it."""
        if not getattr(getattr(getattr(self.encoder, "model", None), "tokenizer", None), "is_fast", False):
            return [(spans(text, unit), None) for text in texts]
        out = []
        for text, encoding in zip(texts, self.tokenized(texts).encodings):
            places = _own_spans(encoding, self.prompt)
            read = np.array([sequence is not None for sequence in encoding.sequence_ids]) & (places[:, 1] > 0)
            found, _ = units(text, np.maximum(places[read], 0), unit)
            spoken = [any(map(str.isalnum, text[start:stop])) for start, stop in found.tolist()]  # no encoding for a comma
            out.append((found[np.array(spoken, bool)], _stop(encoding, places)))
        return out


def readers_of(encoder: Any) -> dict[str, TokenEncoder]:
    """The readers of both sides, ``"query"`` and ``"document"``."""
    return {side: TokenEncoder(encoder, side) for side in SIDES}


def _words_of(text: str, tokens: TokenVectors, unit: str) -> WordVectors:
    own = tokens.kinds == 0
    found, groups = units(text, tokens.spans[own], unit)
    places = len(found) + tokens.kinds.astype(np.int64) - 1  # behind the words: special tokens, the prompt, the constant
    places[own] = np.where(groups < 0, len(found), groups)
    rows = sum_rows(tokens.rows, places, len(found) + 3)
    rows[-1] = tokens.constant
    return WordVectors(found, rows, True, tokens.stopped_at)


def _token_vectors(encoding: Any, prompt: str, rows: np.ndarray, constant: np.ndarray) -> TokenVectors:
    """What is known of one text's tokens; encoding: a tokenizers.Encoding, rows and constant: of the padded text."""
    own = np.array(encoding.attention_mask, bool)
    places = _own_spans(encoding, prompt)
    special = np.array([sequence is None for sequence in encoding.sequence_ids], bool)
    # a token may begin with the space before its word, which the prompt may end with: the end decides
    kinds = np.where(special, 1, np.where(places[:, 1] <= 0, 2, 0)).astype(np.int8)
    return TokenVectors(rows[own], np.maximum(places, 0)[own], kinds[own], constant, _stop(encoding, places))


def _own_spans(encoding: Any, prompt: str) -> np.ndarray:
    """Where the tokens are in the text behind the prompt, int32 ``[n, 2]``; below 0 in the prompt."""
    return np.array(encoding.offsets, np.int32).reshape(-1, 2) - len(prompt)


def _stop(encoding: Any, places: np.ndarray) -> int | None:
    """The first character that was not read, None if all were."""
    return int(places[:, 1].max(initial=0)) if encoding.overflowing else None


def _in_order(n: int, batches: Iterator[tuple[list[int], list[T]]]) -> list[T]:
    found: list[Any] = [None] * n
    for rows, of_batch in batches:
        for i, one in zip(rows, of_batch):
            found[i] = one
    return found


def _pooling_mode(pooling: Any) -> str:
    # sentence-transformers up to 5 has a method for it
    return str(getattr(pooling, "pooling_mode", None) or pooling.get_pooling_mode_str())


def _is_linear(dense: Any) -> bool:
    """Whether a sentence-transformers Dense layer is W x + b of the pooled vector and nothing else."""
    plain = type(dense.activation_function).__name__ == "Identity" and not getattr(dense, "use_residual", False)
    names = {getattr(dense, f"module_{end}_name", "sentence_embedding") for end in ("input", "output")}
    return plain and names == {"sentence_embedding"}


def declared_prompt(encoder: Any, side: str) -> str:
    """What a sentence-transformers encoder says that it puts before a text of this side."""
    from .sentence_encoders import SentenceEncoder  # late: it loads pyterrier_dr

    method, names = SIDES[side]
    model, default = encoder.model, encoder.model.default_prompt_name
    if isinstance(encoder, SentenceEncoder):
        default = next((name for name in names if name in model.prompts), default)
    # pyterrier_dr's E5 has its prefix among the fixed arguments of its method
    fixed = getattr(inspect.getattr_static(type(encoder), method, None), "keywords", {})
    return (model.prompts.get(default) or "") + (fixed.get("prompt") or "")


def declared_prompts(encoder: Any) -> dict[str, str]:
    """:func:`declared_prompt` of both sides, ``query`` and ``document``; empty for an encoder of another library."""
    try:
        return {side: declared_prompt(encoder, side) for side in SIDES}
    except AttributeError:
        return {}
