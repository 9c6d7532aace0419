"""The equations in a few lines of numpy and float64, by which answers are compared; nothing of the package computes here."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-6


class Oracle:
    """A TopK model's numbers, and what follows from them."""

    def __init__(self, model):
        def numbers(tensor):
            return tensor.detach().numpy().astype(np.float64)

        sae, self.weights = model.sae, dict(model.weights)
        self.w_enc, self.b_enc, self.w_dec, self.b_dec = map(numbers, (sae.w_enc, sae.b_enc, sae.w_dec, sae.b_dec))
        self.k, self.dict_size = sae.k, sae.dict_size
        self.layers = {
            aspect: tuple(map(numbers, (m.layer1.weight, m.layer1.bias, m.layer2.weight, m.layer2.bias)))
            for aspect, m in model.internalizers.items()
        }

    def view(self, aspect: str, z: np.ndarray) -> np.ndarray:
        """Eq. 7."""
        w1, b1, w2, b2 = self.layers[aspect]
        out = w2 @ np.tanh(w1 @ z + b1) + b2
        return out / np.linalg.norm(out)

    def folded(self, z: np.ndarray, views: dict[str, np.ndarray]) -> np.ndarray:
        return z + sum((self.weights[aspect] * view for aspect, view in views.items()), np.zeros_like(z))

    def code(self, x: np.ndarray) -> tuple[dict[int, float], bool]:
        """The active features with their activations, and whether it is close which features these are."""
        p = self.w_enc @ (x - self.b_dec) + self.b_enc
        order = np.argsort(-p)
        top = order[: self.k]
        close = 1e-5 * (1 + np.abs(p).max())
        edge = p[order[self.k - 1]] - p[order[self.k]] < close or np.abs(p[top]).min() < close
        return {int(j): p[j] for j in top if p[j] > 0}, bool(edge)

    def coefficients(self, x: np.ndarray, *, refit: bool) -> tuple[dict[int, float], bool]:
        code, close = self.code(x)
        if not refit or not code:
            return code, close
        found, *_ = np.linalg.lstsq(self.w_dec[list(code)].T, x - self.b_dec, rcond=None)
        return dict(zip(code, found)), close

    def decoded(self, x: np.ndarray, *, refit: bool) -> tuple[np.ndarray, bool]:
        """``W c + b``."""
        found, close = self.coefficients(x, refit=refit)
        return self.b_dec + sum((c * self.w_dec[j] for j, c in found.items()), np.zeros_like(x)), close

    def projected(self, x: np.ndarray, features) -> np.ndarray:
        """Eq. 24."""
        directions = self.w_dec[list(features)]
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        gram = directions @ directions.T + RIDGE * np.eye(len(directions))
        return directions.T @ np.linalg.solve(gram, directions @ (x - self.b_dec))

    def edited(self, x: np.ndarray, features, mode: str, alpha: float, maxima: np.ndarray) -> tuple[np.ndarray, bool]:
        """Eq. 25 and 26 at the distance from the bias that the vector had, and section 3.6.2."""
        features = sorted(set(features))
        if not features or (mode == "scale" and alpha == 1):
            return x, False
        if mode == "add":
            return x + alpha * maxima[features] @ self.w_dec[features], False
        if mode == "scale":
            code, close = self.code(x)
            return x + sum(((alpha - 1) * code.get(j, 0.0) * self.w_dec[j] for j in features), np.zeros_like(x)), close
        part = self.projected(x, features)
        out = x - part if mode == "erase" else self.b_dec + part
        apart = out - self.b_dec
        before, after = np.linalg.norm(x - self.b_dec), np.linalg.norm(apart)
        near_nothing = after < 3e-4 * before  # where the one rounds to zero, and the other does not
        return self.b_dec + (apart * before / after if after > 1e-4 * before else apart * 0), near_nothing

    def parts(self, q: np.ndarray, z: np.ndarray, views: dict[str, np.ndarray], *, refit: bool, threshold: float):
        """The score, the features of both sides with their contributions, bias; and whether it is close which these are.

        A feature is shared where it is active, above the threshold, in the query and in a view (Eq. 15).
        """
        weights = [1.0, *(self.weights[aspect] for aspect in views)]
        asked, close = self.code(q)
        active: set[int] = set()
        every: dict[int, float] = {}
        for weight, view in zip(weights, [z, *views.values()]):
            code, edge = self.code(view)
            close |= edge or any(abs(a - threshold) < 1e-5 * (1 + a) for a in code.values())
            active |= {j for j, a in code.items() if a > threshold}
            for j, c in self.coefficients(view, refit=refit)[0].items():
                every[j] = every.get(j, 0.0) + weight * c * (q @ self.w_dec[j])
        close |= any(abs(a - threshold) < 1e-5 * (1 + a) for a in asked.values())
        shared = {j for j in active if asked.get(j, 0.0) > threshold}
        score = q @ self.folded(z, views)
        return score, {j: every[j] for j in shared}, sum(every.values()), sum(weights) * (q @ self.b_dec), close


def ranks(qids, scores) -> list[int]:
    """From 0 within each query, highest first, equal scores in the order of the rows."""
    out = []
    for i, (qid, score) in enumerate(zip(qids, scores)):
        above = [j for j, (other, s) in enumerate(zip(qids, scores)) if other == qid and (s > score or (s == score and j < i))]
        out.append(len(above))
    return out
