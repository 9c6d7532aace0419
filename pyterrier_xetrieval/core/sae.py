"""The sparse autoencoder: a dictionary of feature directions and the codes that use it (Cai et al. 2026, section 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .batches import in_whole_blocks
from .checks import found_value
from .top_k import top_k

RIDGE = 1e-6  # λ of Eq. 24


@dataclass(frozen=True)
class SparseCodes:
    """The features of ``n`` vectors, ``k`` slots each, never a dense ``[n, D]`` matrix.

    A slot whose value is not above zero is empty: a TopK code with fewer than ``k`` positive activations has
    fewer than ``k`` active features, and the feature id that such a slot carries means nothing.

    Attributes:
        ids: int64 tensor ``[n, k]``, feature ids in ``0 … D-1``, no order.
        values: float32 tensor ``[n, k]``, activations ``c_j >= 0``.

    Example::

        codes = sae.encode(x)
        codes.ids[0][codes.active()[0]]            # the active features of the first vector
    """

    ids: torch.Tensor
    values: torch.Tensor

    def __len__(self) -> int:
        return self.ids.shape[0]

    def __getitem__(self, rows: slice | torch.Tensor) -> SparseCodes:
        return SparseCodes(self.ids[rows], self.values[rows])

    def active(self, threshold: float = 0.0) -> torch.Tensor:
        """Which slots hold an active feature: ``a_j = I[c_j > τ]`` (Eq. 4), bool ``[n, k]``."""
        return self.values > threshold

    def dense(self, dict_size: int) -> torch.Tensor:
        """The same codes as a float32 matrix ``[n, dict_size]``; for small ``n``."""
        out = torch.zeros(len(self), dict_size, dtype=self.values.dtype, device=self.values.device)
        return out.scatter_add_(1, self.ids, self.values)  # empty slots may repeat the id of another


ACTIVATIONS = ("topk", "threshold", "gated")


class SparseAutoencoder(nn.Module):
    """Sparse autoencoder: ``c = g(x)``, ``x̃ = W c + b`` (Eq. 9), with one of three inference rules ``g``.

    With ``p = W_e (x − b) + b_e``:

    - ``"topk"``: ``c = TopK_k(ReLU(p))``, k over all features of the dictionary (Gao et al. 2024).
    - ``"threshold"``: ``c_j = p_j`` where ``p_j > θ_j``, else 0. All zero: a ReLU autoencoder; one number for all
      features: BatchTopK (Bussmann et al. 2024); one each: JumpReLU (Rajamanoharan et al. 2024).
    - ``"gated"``: ``c_j = ReLU(gain_j (p_j − b_e,j) + b_mag,j)`` where ``p_j > 0``, else 0 (Gated SAE,
      Rajamanoharan et al. 2024).

    Weights are stored row-major by feature, so that both the encoder row and the decoder direction of a feature are
    one contiguous line of memory.

    Args:
        dim: ``m``, the dimension of the encoder's vectors.
        dict_size: ``D``, the number of features.
        k: how many features may be active for one vector; for ``"topk"`` and only there.
        activation: the inference rule.

    Attributes:
        w_enc: float32 ``[D, m]``; b_enc: float32 ``[D]``; w_dec: float32 ``[D, m]``, row ``j`` is the direction
            ``w_j`` (a column of ``W`` in the paper); b_dec: float32 ``[m]``; threshold: float32 ``[D]`` of
            ``"threshold"``; gain, b_mag: float32 ``[D]`` of ``"gated"``.

    Raises:
        ValueError: an unknown rule, or a k that does not fit it.

    Example::

        sae = SparseAutoencoder(dim=384, dict_size=6144, k=96)
        codes = sae.encode(x)                      # x: float32 [n, 384]
        x_hat = sae.decode(codes)                  # float32 [n, 384]
    """

    def __init__(self, dim: int, dict_size: int, k: int | None = None, *, activation: str = "topk"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"SparseAutoencoder expects activation to be one of {ACTIVATIONS}, found {found_value(activation)}")
        if activation == "topk" and not (k and 0 < k <= dict_size):
            raise ValueError(f"SparseAutoencoder expects 0 < k <= dict_size, got k={k}, dict_size={dict_size}")
        if activation != "topk" and k is not None:
            raise ValueError(f"SparseAutoencoder expects k with activation 'topk' only, found k={k} with {activation!r}")
        self.dim, self.dict_size, self.k, self.activation = dim, dict_size, k, activation
        self.w_enc = nn.Parameter(torch.empty(dict_size, dim))
        self.b_enc = nn.Parameter(torch.zeros(dict_size))
        self.w_dec = nn.Parameter(torch.empty(dict_size, dim))
        self.b_dec = nn.Parameter(torch.zeros(dim))
        if activation == "threshold":
            self.threshold = nn.Parameter(torch.zeros(dict_size))
        if activation == "gated":
            self.gain, self.b_mag = nn.Parameter(torch.ones(dict_size)), nn.Parameter(torch.zeros(dict_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Random unit directions, the encoder their transpose: the untrained dictionary of the "random SAE" baseline."""
        with torch.no_grad():
            self.w_dec.copy_(F.normalize(torch.randn(self.dict_size, self.dim, generator=generator), dim=1))
            self.w_enc.copy_(self.w_dec)
            self.b_enc.zero_()
            self.b_dec.zero_()

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``p = W_e (x − b) + b_e``, float32 ``[n, D]``."""
        return torch.addmm(self.b_enc, x - self.b_dec, self.w_enc.T)

    def encode(self, x: torch.Tensor) -> SparseCodes:
        """Codes of ``x`` (float32 ``[n, m]``). The caller batches; one ``[n, D]`` matrix is made.

        On a CPU, the code of a row does not depend on the rows beside it.

        ``"topk"`` gives ``k`` slots; the other rules as many as the row with the most active features needs.
        """
        pre = self.pre_activations(in_whole_blocks(x))[: len(x)]
        if self.k is not None:
            values, ids = top_k(pre, self.k)
            return SparseCodes(ids, values.relu_())
        if self.activation == "threshold":
            values = torch.where(pre > self.threshold, pre, 0.0).relu_()
        else:
            values = torch.where(pre > 0, self.gain * (pre - self.b_enc) + self.b_mag, 0.0).relu_()
        return _packed(values)

    def decode(self, codes: SparseCodes, coefficients: torch.Tensor | None = None) -> torch.Tensor:
        """``W c + b``, float32 ``[n, m]``; ``coefficients`` ``[n, k]`` stand in for the codes' own values if given."""
        values = codes.values if coefficients is None else coefficients
        return self.combine(codes.ids, values) + self.b_dec

    def combine(self, ids: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        """``Σ_j c_j w_j`` of the listed features, without the bias: ids int64 and coefficients float32 ``[n, k]``."""
        return F.embedding_bag(ids, self.w_dec, per_sample_weights=coefficients, mode="sum")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x))

    def project(self, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, ridge: float = RIDGE) -> torch.Tensor:
        """``P_S(x − b) = W_S (W_Sᵀ W_S + λI)⁻¹ W_Sᵀ (x − b)`` for one feature set per row (Eq. 24), float32 ``[n, m]``.

        Directions are taken at unit length: what they span does not depend on it, but how much λ matters would.

        Args:
            x: float32 ``[n, m]``.
            ids: int64 ``[n, s]``, feature ids, each at most once a row among the masked ones.
            mask: bool ``[n, s]``, which of them belong to the row's set S; a row without any projects to zero.
        """
        if ids.shape[1] > self.dim:  # more directions than dimensions: the same projection in m × m
            return self._project_many(x, ids, mask, ridge)
        # float64: near-parallel directions make the Gram matrix ill-conditioned at λ = 1e-6
        directions = F.normalize(self.w_dec[ids].double(), dim=2) * mask.unsqueeze(2)
        gram = directions @ directions.mT
        gram.diagonal(dim1=1, dim2=2).add_(ridge)  # a masked slot keeps only λ: its coefficient is exactly 0
        right = directions @ (x - self.b_dec).double().unsqueeze(2)
        solution = torch.cholesky_solve(right, torch.linalg.cholesky(gram))
        return (directions.mT @ solution).squeeze(2).to(x.dtype)

    def _project_many(self, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, ridge: float) -> torch.Tensor:
        """``W_S (W_Sᵀ W_S + λI)⁻¹ W_Sᵀ = (W_S W_Sᵀ + λI)⁻¹ W_S W_Sᵀ``, once for each distinct set."""
        out = torch.empty_like(x)
        known: dict[tuple[int, ...], list[int]] = {}
        for i, own in enumerate(mask):
            known.setdefault(tuple(ids[i][own].tolist()), []).append(i)
        eye = ridge * torch.eye(self.dim, dtype=torch.float64, device=x.device)
        for features, rows in known.items():
            directions = F.normalize(self.w_dec[list(features)].double(), dim=1)
            outer = directions.T @ directions
            right = outer @ (x[rows] - self.b_dec).double().T
            out[rows] = torch.cholesky_solve(right, torch.linalg.cholesky(outer + eye)).T.to(x.dtype)
        return out

    def refit(self, x: torch.Tensor, codes: SparseCodes, tolerance: float = 1e-3) -> torch.Tensor:
        """Least-squares coefficients of ``x − b`` on the directions of its own active features, float32 ``[n, k]``.

        The features stay those that the encoder chose; only how much of each is refitted, so that
        ``decode(codes, refit(x, codes))`` is ``b + P_S(x − b)``, the closest the chosen features come to ``x``, but for
        ``tolerance``. Coefficients may be negative; empty slots get 0. Conjugate gradients on the normal equations, from
        the activations as the start, until every gradient is ``tolerance`` of what it is at zero, or 4k steps: neither
        the directions ``[n, k, m]`` nor a Gram matrix is ever laid out in memory. Among directions that are nearly
        parallel it stops early: their sum is right long before their shares of it are. All of it is done with directions
        of unit length: what they span does not depend on their lengths.
        """
        with torch.inference_mode(False):  # which would forbid the gradient; its tensors have to be copied out of it
            return self._conjugate_gradients(x.clone(), codes.ids.clone(), codes.values.clone(), tolerance)

    @torch.no_grad()
    def _conjugate_gradients(
        self, x: torch.Tensor, ids: torch.Tensor, coefficients: torch.Tensor, tolerance: float
    ) -> torch.Tensor:
        out, rows = torch.empty_like(coefficients), torch.arange(len(x), device=x.device)
        lengths = torch.linalg.vector_norm(self.w_dec, dim=1).clamp_min(1e-30)[ids]
        unit = (coefficients > 0) / lengths  # and 0 in empty slots
        coefficients = coefficients * lengths
        correlate = self._correlation(ids, unit)
        target = x - self.b_dec
        goal = tolerance**2 * _squares(correlate(target))
        residual = target - self.combine(ids, coefficients * unit)
        direction = correlate(residual)
        power = _squares(direction)
        for _ in range(4 * ids.shape[1]):
            left = (power > goal).squeeze(1)
            if not left.any():
                break
            if 2 * left.sum() < len(left):  # few are left: on with them alone
                out[rows] = coefficients * unit
                rows, ids, unit, coefficients = rows[left], ids[left], unit[left], coefficients[left]
                goal, power, residual, direction = goal[left], power[left], residual[left], direction[left]
                correlate, left = self._correlation(ids, unit), left[left]
            step = self.combine(ids, direction * unit)
            length = power / _squares(step).clamp_min(1e-30) * left.unsqueeze(1)  # a row that is done stays as it is
            coefficients.addcmul_(length, direction)
            residual.addcmul_(length, step, value=-1)
            gradient = correlate(residual)
            before, power = power, _squares(gradient)
            direction = torch.addcmul(gradient, power / before.clamp_min(1e-30), direction)
        out[rows] = coefficients * unit
        return out

    def _correlation(self, ids: torch.Tensor, unit: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """``W_Sᵀ r`` of the listed features, times ``unit``: the gradient of a gather-and-sum is this gather-and-dot."""
        directions = self.w_dec.detach()
        if directions.is_inference():  # read inside torch.inference_mode: no graph may hold it
            directions = directions.clone()
        with torch.enable_grad():
            leaf = torch.zeros_like(ids, dtype=directions.dtype, requires_grad=True)
            linear = F.embedding_bag(ids, directions, per_sample_weights=leaf, mode="sum")
        return lambda residual: torch.autograd.grad(linear, leaf, residual, retain_graph=True)[0].mul_(unit)

    def directions(self, ids: np.ndarray | None = None) -> np.ndarray:
        """The directions ``w_j`` of these features (int ``[n]``; None for all), float32 ``[n, m]``, on the CPU."""
        w = self.w_dec.detach()
        return (w if ids is None else w[torch.from_numpy(ids.astype(np.int64)).to(w.device)]).cpu().numpy()

    @property
    def bias(self) -> np.ndarray:
        """``b``, float32 ``[m]``, on the CPU."""
        return self.b_dec.detach().cpu().numpy()


def _squares(x: torch.Tensor) -> torch.Tensor:
    """``|x_i|²`` of each row, ``[n, 1]``."""
    return torch.linalg.vector_norm(x, dim=1, keepdim=True).square_()


def _packed(values: torch.Tensor) -> SparseCodes:
    """The positive entries of ``[n, D]`` in as many slots as the fullest row needs, ids ascending."""
    rows, ids = (values > 0).nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(values))
    slots = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    width = max(1, int(counts.amax())) if len(values) else 1
    packed = torch.zeros(len(values), width, dtype=torch.int64, device=rows.device)
    codes = SparseCodes(packed, torch.zeros_like(packed, dtype=values.dtype))
    codes.ids[rows, slots] = ids
    codes.values[rows, slots] = values[rows, ids]
    return codes
