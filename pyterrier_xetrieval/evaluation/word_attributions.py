"""Other ways to say which words carry a feature, to compare exact evidence with: leave-one-out, and gradient × input."""

from __future__ import annotations

import numpy as np
import torch

from ..token_vectors import TokenEncoder
from ..words import units


def without(text: str, spans: np.ndarray) -> str:
    """The text without these stretches: int ``[n, 2]``, ascending and apart.

    Example::

        >>> without("sort a list", np.array([[5, 6]]))
        'sort  list'
    """
    bounds = [0, *spans.ravel().tolist(), len(text)]
    return "".join(text[start:stop] for start, stop in zip(bounds[::2], bounds[1::2]))


def alone(text: str, spans: np.ndarray) -> str:
    """These stretches of the text and nothing else: int ``[n, 2]``, with spaces between them.

    Example::

        >>> alone("sort a list", np.array([[0, 4], [7, 11]]))
        'sort list'
    """
    return " ".join(text[start:stop] for start, stop in spans.tolist())


def each_left_out(text: str, spans: np.ndarray) -> list[str]:
    """The text without each of its words in turn, ``w`` texts: what leave-one-out has to encode."""
    return [without(text, spans[i : i + 1]) for i in range(len(spans))]


def gradient_times_input(reader: TokenEncoder, text: str, direction: np.ndarray) -> np.ndarray:
    """``∂⟨v, direction⟩/∂e · e`` of each word, where e are the input embeddings of its tokens and v is the text's vector.

    It costs a forward and a backward pass. The sum over the words has no meaning: the encoder is not linear in e.

    Args:
        reader: of a sentence-transformers model that averages its token vectors.
        text: one that the encoder reads to its end.
        direction: float32 ``[m]``, e.g. the encoder row of a feature.

    Returns:
        float64 ``[w]``, in the order of ``reader.words([text])[0].spans``.

    Raises:
        ValueError: an encoder whose vector is no sum over tokens.
    """
    tokens, model = reader.tokens([text])[0], reader.encoder.model.eval()
    inputs = {k: v.to(model.device) for k, v in reader.tokenized([text]).items() if isinstance(v, torch.Tensor)}
    embedded: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _given: object, made: torch.Tensor) -> torch.Tensor:
        embedded.append(made.detach().requires_grad_())
        return embedded[-1]

    hook = model[0].auto_model.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            vector = model(inputs)["sentence_embedding"][0].float()
            reads = vector @ torch.from_numpy(direction).to(vector)
            gradient = torch.autograd.grad(reads, embedded[0])[0]
    finally:
        hook.remove()
    by_token = (gradient * embedded[0].detach())[0].sum(dim=1).double().cpu().numpy()
    own = tokens.kinds == 0
    found, groups = units(text, tokens.spans[own])
    return np.bincount(groups, weights=by_token[own], minlength=len(found))
