"""How a feature's coefficient, and a view, are read off a document's vector by dot products with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .internalizer import Internalizer
from .sae import RIDGE, SparseAutoencoder


@dataclass(frozen=True)
class Secant:
    """A view as an affine function of the document's vector, ``v = L x + constant``, exact at one vector z.

    ``R_t(z) = (W2 tanh(a) + b2) / ‖u‖`` with ``a = W1 z + b1``. With ``tanh(a)/a`` held fixed for each hidden unit, and the
    length of ``u = W2 tanh(a) + b2`` as well, this is affine in z. A derivative would not do: R_t has unit length, its
    derivative says how the direction turns, and the parts it gives do not add up to the view.

    Attributes:
        inner, outer: float32 ``[h, m]`` and ``[m, h]``, W1 and W2; slopes: float32 ``[h]``, ``tanh(a) / (a ‖u‖)``.
        constant: float64 ``[m]``, what the biases make of it.
    """

    inner: np.ndarray
    outer: np.ndarray
    slopes: np.ndarray
    constant: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """``L x + constant``, float64 ``[m]``; the view where x is z."""
        return self.outer @ (self.slopes * (self.inner @ x.astype(np.float64))) + self.constant

    def pull_back(self, readings: np.ndarray) -> np.ndarray:
        """``Lᵀ r`` of each row: a dot product with the view as one with the document's vector, float32 ``[p, m]``."""
        return ((readings.astype(np.float32) @ self.outer) * self.slopes) @ self.inner


def secant(internalizer: Internalizer, z: np.ndarray) -> Secant:
    """The :class:`Secant` of ``R_t`` at float32 ``[m]``."""
    weights = (internalizer.layer1.weight, internalizer.layer1.bias, internalizer.layer2.weight, internalizer.layer2.bias)
    inner, inner_bias, outer, outer_bias = (w.detach().cpu().numpy() for w in weights)
    a = inner @ z.astype(np.float64) + inner_bias
    slopes = np.divide(np.tanh(a), a, out=np.ones_like(a), where=a != 0)
    length = np.linalg.norm(outer @ (slopes * a) + outer_bias)
    constant = (outer @ (slopes * inner_bias) + outer_bias) / length
    return Secant(inner, outer, (slopes / length).astype(np.float32), constant)


def activation_readings(
    sae: SparseAutoencoder, x: np.ndarray, ids: np.ndarray, values: np.ndarray, *, refit: bool, combine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How the coefficients of active features are read off their vector: ``c = rows · x + constants``.

    A refitted coefficient is a row of the (ridge) pseudo-inverse of the active directions, taken at unit length as in
    :meth:`SparseAutoencoder.refit`; any other is the encoder's row. The constants are the bias terms, and, of a refit, what
    it leaves when it stops at its tolerance.

    Args:
        x: float ``[m]``; ids: int64 ``[s]``, its active features, each once; values: float ``[s]``, their coefficients.
        refit: whether these are refitted.
        combine: float ``[p, s]``: the readings of these combinations of coefficients instead of each one's.

    Returns:
        float64 ``[p, m]`` and ``[p]``; without ``combine``, p is s.
    """
    places = torch.from_numpy(ids).to(sae.w_dec.device)

    def of_features(weights: torch.Tensor) -> np.ndarray:
        return weights.detach()[places].double().cpu().numpy()

    combine = np.eye(len(ids)) if combine is None else combine
    if refit:
        directions = of_features(sae.w_dec)
        lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30)
        directions, right = directions / lengths, combine / lengths.T
        if len(ids) <= sae.dim:
            rows = np.linalg.solve(directions @ directions.T + RIDGE * np.eye(len(ids)), right.T).T @ directions
        else:  # the same in m × m
            outer = directions.T @ directions + RIDGE * np.eye(sae.dim)
            rows = np.linalg.solve(outer, (right @ directions).T).T
    else:
        gain = of_features(sae.gain) if sae.activation == "gated" else 1.0
        rows = (combine * gain) @ of_features(sae.w_enc)
    return rows, combine @ values.astype(np.float64) - rows @ x.astype(np.float64)
