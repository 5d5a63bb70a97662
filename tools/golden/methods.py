"""Directions that other packages fit to the same rows, to hold Whipstaff's methods against.

    python tools/golden/methods.py

Writes tests/golden/methods.json: cases of rows (positives, negatives) and, per method, the unit direction that
scikit-learn, repeng and steering-vectors compute from them in their own code.
"""

import json
from pathlib import Path

import numpy as np
import repeng.extract
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from steering_vectors import aggregators

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "methods.json"
EXACT = {"tol": 1e-12, "max_iter": 100_000}


def rows(seed: int, n: int, d: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """What rows of a model are like: contrasts differ among themselves, elements in scale, sides by a shift."""
    chance = np.random.default_rng(seed)
    scale = np.exp(chance.normal(size=d))
    shared = 3 * chance.normal(size=(n, d))
    axis = shift * chance.normal(size=d)
    side = lambda sign: (shared + sign * axis * (1 + 0.3 * chance.normal(size=(n, 1))) + chance.normal(size=(n, d))) * scale
    return np.round(side(1), 6), np.round(side(-1), 6)


def unit(direction: np.ndarray, pos: np.ndarray, neg: np.ndarray) -> list[float]:
    direction = np.asarray(direction, dtype=np.float64).ravel()
    direction = direction / np.linalg.norm(direction)
    return (direction * (1 if ((pos - neg) @ direction).mean() >= 0 else -1)).tolist()


def repeng_direction(method: str, pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    """repeng's own code on given rows: its model is asked for nothing but the number of layers."""
    hiddens = np.empty((2 * len(pos), pos.shape[1]))
    hiddens[::2], hiddens[1::2] = pos, neg
    repeng.extract.batched_get_hiddens = lambda *_: {0: hiddens}
    repeng.extract.model_layer_list = lambda _: [None]
    entries = [repeng.extract.DatasetEntry("", "")] * len(pos)
    found = repeng.extract.read_representations(None, None, entries, [0], method=method)
    return found[0]


def sklearn_logistic(pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    x, y = np.concatenate([pos, neg]), np.repeat([1, 0], len(pos))
    scaler = StandardScaler().fit(x)
    return LogisticRegression(C=1.0, **EXACT).fit(scaler.transform(x), y).coef_[0] / scaler.scale_


def sklearn_lda(pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    x, y = np.concatenate([pos, neg]), np.repeat([1, 0], len(pos))
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y).coef_[0]


def case(seed: int, n: int, d: int, shift: float) -> dict:
    pos, neg = rows(seed, n, d, shift)
    of = lambda direction: unit(direction, pos, neg)
    tensors = torch.tensor(pos), torch.tensor(neg)
    steering_vectors_logistic = aggregators.logistic_aggregator(EXACT)
    directions = {
        "mean": of(aggregators.mean_aggregator()(*tensors).numpy()),
        "pca": of(np.linalg.svd(pos - neg)[2][0]),
        "pca-centered": of(PCA(n_components=1, svd_solver="full").fit(pos - neg).components_[0]),
        "logistic": of(sklearn_logistic(pos, neg)),
        "lda": of(sklearn_lda(pos, neg)),
        "repeng pca_center": of(repeng_direction("pca_center", pos, neg)),
        "repeng pca_diff": of(repeng_direction("pca_diff", pos, neg)),
        "steering-vectors pca": of(aggregators.pca_aggregator()(*tensors).numpy()),
        "steering-vectors logistic": of(steering_vectors_logistic(*tensors).numpy()),
    }
    scores = np.concatenate([pos, neg]) @ np.array(directions["mean"])
    return {
        "positives": pos.tolist(),
        "negatives": neg.tolist(),
        "directions": directions,
        "auc_of_mean": roc_auc_score(np.repeat([1, 0], n), scores),
    }


def main() -> None:
    # Fewer rows than elements, as in life; as many; more; and sides that hardly differ.
    cases = [case(1, 12, 40, 1.0), case(2, 5, 64, 2.0), case(3, 30, 9, 0.5), case(4, 24, 24, 0.05)]
    OUT.write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
