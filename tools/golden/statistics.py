"""Intervals and correlations as scipy computes them, to hold Whipstaff's against.

    python tools/golden/statistics.py

Writes tests/golden/statistics.json.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "statistics.json"


def case(values: np.ndarray, other: np.ndarray) -> dict:
    chance = np.random.default_rng(1)
    found = stats.bootstrap((values,), np.mean, n_resamples=100_000, method="BCa", rng=chance).confidence_interval
    n, spread = len(values), values.std(ddof=1)
    reach = stats.t.ppf(0.975, n - 1) * spread * np.sqrt(1 + 1 / n)
    return {
        "values": values.tolist(),
        "other": other.tolist(),
        "interval": [found.low, found.high],
        "correlation": stats.pearsonr(values, other).statistic,
        "prediction": [values.mean() - reach, values.mean() + reach],
    }


def main() -> None:
    chance = np.random.default_rng(7)
    normal, skewed, small = chance.normal(size=20), chance.exponential(size=15), chance.normal(3, 2, size=6)
    pair = lambda values: case(np.round(values, 6), np.round(0.5 * values + chance.normal(size=len(values)), 6))
    OUT.write_text(json.dumps([pair(it) for it in (normal, skewed, small)]))


if __name__ == "__main__":
    main()
