"""What an encoder's vectors look like to its dictionary, and whether other vectors look alike.

Vectors of another encoder have the right dimension, and every feature that is read off them is nonsense. So are features of
vectors that were not normalised. Neither shows in a score. Two numbers tell: the length of a vector, and the share of it that
the dictionary leaves unexplained. A dictionary explains vectors of its own encoder far better than any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from .codes import ViewCodes, encode_view
from .sae import SparseAutoencoder

CHECKS = ("warn", "error", "off")
_SAMPLE = 4096  # vectors that are measured
_FACTOR = (
    1.75  # views folded into a vector, and most edits, change its length by less; the bundled encoder's raw output is longer
)
_SHARE = 0.75  # of the way from own vectors to foreign ones: where the limit is; odd texts of one's own come to 0.72 of it
_SPREADS = 6  # by which foreign vectors must differ from own ones, or the dictionary cannot tell them apart


@dataclass(frozen=True)
class VectorFacts:
    """Facts about the vectors that a dictionary was trained on.

    Attributes:
        length, length_spread: mean and standard deviation of their Euclidean lengths.
        unexplained, unexplained_spread: mean and standard deviation of the share of a vector, ``‖x − x̃‖² / ‖x‖²``, that the
            dictionary does not explain with its activations.
        foreign: the mean of that share for the same vectors with their coordinates shuffled, one order for all: these have
            the same lengths and similarities and belong to no encoder.
    """

    length: float
    length_spread: float
    unexplained: float
    unexplained_spread: float
    foreign: float

    @classmethod
    def measure(cls, sae: SparseAutoencoder, x: np.ndarray, *, seed: int = 0) -> VectorFacts:
        """The facts about float ``[n, m]`` vectors, of which at most 4,096 random ones are read.

        Raises:
            ValueError: no vectors.

        Example::

            >>> sae = SparseAutoencoder(dim=2, dict_size=2, k=1)
            >>> _ = sae.w_enc.data.copy_(torch.eye(2)), sae.w_dec.data.copy_(torch.eye(2))
            >>> facts = VectorFacts.measure(sae, np.float32([[2, 0], [2, 0]]))
            >>> facts.length, facts.unexplained
            (2.0, 0.0)
        """
        if not len(x):
            raise ValueError("VectorFacts.measure expects vectors, found none")
        rng = np.random.default_rng(seed)
        own = np.asarray(x[np.sort(rng.permutation(len(x))[:_SAMPLE])], np.float32)
        lengths = np.linalg.norm(own, axis=1)
        shares = unexplained(sae, own)
        foreign = unexplained(sae, own[:, rng.permutation(own.shape[1])])
        numbers = lengths.mean(), lengths.std(), shares.mean(), shares.std(), foreign.mean()
        return cls(*(round(float(number), 6) for number in numbers))

    @classmethod
    def from_dict(cls, facts: Mapping[str, float]) -> VectorFacts:
        """From what :meth:`to_dict` gave."""
        return cls(**{name: float(facts[name]) for name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, float]:
        """As an artifact's metadata keeps it."""
        return asdict(self)

    @property
    def unit(self) -> bool:
        """Whether the encoder normalises its vectors."""
        return abs(self.length - 1) < 1e-2 and self.length_spread < 1e-2

    @property
    def limit(self) -> float | None:
        """The mean unexplained share above which vectors are not the encoder's; None if the dictionary cannot tell."""
        apart = self.foreign - self.unexplained
        return self.unexplained + _SHARE * apart if apart > _SPREADS * self.unexplained_spread else None

    def wrong_length(self, x: np.ndarray) -> str | None:
        """What is wrong with the mean length of float32 ``[n, m]`` vectors, in words; None if nothing is.

        Example::

            >>> VectorFacts(1, 0, 0.2, 0.03, 0.6).wrong_length(np.full((3, 4), 50, np.float32))
            'of length 1, as its encoder gives them, found a mean length of 100'
        """
        found = float(np.sqrt(np.einsum("nm,nm->n", x, x)).mean()) if len(x) else self.length
        around = 3 * self.length_spread
        if (self.length - around) / _FACTOR <= found <= (self.length + around) * _FACTOR:
            return None
        expected = "1" if self.unit else f"about {self.length:.3g}"
        return f"of length {expected}, as its encoder gives them, found a mean length of {found:.3g}"

    def wrong_space(self, sae: SparseAutoencoder, x: np.ndarray, codes: ViewCodes) -> str | None:
        """Why float32 ``[n, m]`` vectors with these codes cannot be the encoder's, in words; None if they may be."""
        if self.limit is None or not len(x):
            return None
        found = float(_shares(sae, x, codes).mean())
        if found <= self.limit:
            return None
        return (
            f"the dictionary leaves {found:.0%} of them unexplained, as of vectors of another encoder ({self.foreign:.0%}) or of "
            f"texts unlike those that it was trained on; of its own encoder's it leaves {self.unexplained:.0%}"
        )


def unexplained(sae: SparseAutoencoder, x: np.ndarray) -> np.ndarray:
    """``‖x − x̃‖² / ‖x‖²`` of each row of float32 ``[n, m]``; float32 ``[n]``, 1 for a row of zeros."""
    return _shares(sae, x, encode_view(sae, x, refit=False, batch_size=512))


@torch.inference_mode()
def _shares(sae: SparseAutoencoder, x: np.ndarray, codes: ViewCodes) -> np.ndarray:
    device = sae.w_dec.device
    ids, activations = (torch.from_numpy(part).to(device) for part in (codes.ids, codes.activations))
    left = (sae.combine(ids, activations) + sae.b_dec).cpu().numpy() - x
    squares = np.einsum("nm,nm->n", x, x)
    return np.divide(np.einsum("nm,nm->n", left, left), squares, out=np.ones_like(squares), where=squares > 0)
