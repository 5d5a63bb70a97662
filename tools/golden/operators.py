"""What other tools' operators make of a few rows of activations.

    python tools/golden/operators.py              # writes tests/golden/operators.json

steering-vectors: addition, ablation, ablation then addition (which is `set`). repeng: addition with
`normalize` (which is `keep-norm`). The others have no counterpart in a package, so numpy says in float64
what their formulas give (docs/REFERENCE.md), each written in another way than the program does it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from repeng.control import BlockControlParams, ControlModule
from steering_vectors import ablation_operator, ablation_then_addition_operator, addition_operator

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "operators.json"
D_MODEL = 24

rng = np.random.default_rng(7)
direction = rng.normal(size=D_MODEL).astype(np.float32)
rows = (rng.normal(size=(5, D_MODEL)) * [[1.0], [0.1], [10.0], [1.0], [1.0]]).astype(np.float32)
rows[3] += 2 * direction
rows[4] -= 2 * direction
v, h = torch.tensor(direction), torch.tensor(rows)
unit = direction.astype(np.float64) / np.linalg.norm(direction.astype(np.float64))
p = rows.astype(np.float64) @ unit
cases = []


def case(source, want, operator, keep_norm=False, **numbers):
    want = np.asarray(want, dtype=np.float64)
    cases.append({"source": source, "operator": operator, "keep_norm": keep_norm, **numbers,
                  "want": [[float(np.float32(x)) for x in row] for row in want]})


# steering-vectors: an operator gives what is added to the activation.
for alpha in (1.0, -0.7):
    case("steering-vectors", h + addition_operator()(h, alpha * v), "add", alpha=alpha)
case("steering-vectors", h + ablation_operator()(h, v), "project", alpha=1.0)
for alpha in (1.0, -0.5):
    case("steering-vectors", h + ablation_then_addition_operator()(h, alpha * v), "set", alpha=1.0,
         target=alpha * float(np.linalg.norm(direction.astype(np.float64))))


# repeng: the module around a block, with a block that gives the rows as they are.
class Rows(torch.nn.Module):
    def forward(self, x):
        return x


for alpha in (1.0, -2.0):
    module = ControlModule(Rows())
    module.set_control(BlockControlParams(alpha * v, normalize=True))
    case("repeng", module(h[None])[0], "add", keep_norm=True, alpha=alpha)


# numpy: the row apart from its component, and the component that it gets.
def with_projection(new):
    return rows - np.outer(p, unit) + np.outer(new, unit)


def turned(angle):
    out = []
    for row in rows.astype(np.float64):
        # The plane's axes by a QR decomposition, and a rotation matrix in it.
        q, r = np.linalg.qr(np.stack([unit, row], axis=1))
        q = q * np.sign(np.diag(r))
        x = q.T @ row
        cos, sin = np.cos(-angle), np.sin(-angle)
        out.append(q @ (np.array([[cos, -sin], [sin, cos]]) @ x))
    return out


case("numpy", with_projection(0.6 * p), "project", alpha=0.4)
case("numpy", with_projection(np.clip(p, -1.5, 0.5)), "cap", alpha=1.0, low=-1.5, high=0.5)
case("numpy", with_projection(np.where(p < 2.0, 2.0, p)), "push", alpha=1.0, target=2.0)
case("numpy", with_projection(np.where(p < 2.0, np.minimum(2.0, p + 1.0), p)), "reach", alpha=1.0, target=2.0)
case("numpy", with_projection(np.where(p > -2.0, np.maximum(-2.0, p - 1.0), p)), "reach", alpha=-1.0, target=-2.0)
case("numpy", turned(0.2), "rotate", alpha=0.2)
case("numpy", turned(-0.1), "rotate", alpha=-0.1)
capped = with_projection(np.clip(p, -0.5, 0.5))
norms = np.linalg.norm(rows.astype(np.float64), axis=1) / np.linalg.norm(capped, axis=1)
case("numpy", capped * norms[:, None], "cap", keep_norm=True, alpha=1.0, low=-0.5, high=0.5)

# Scores of a gate on the same rows, CAST's by the matrices of its definition.
projector = np.outer(unit, unit)
cosine = lambda a, b: float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
scores = [{"cosine": cosine(row, unit), "projection": float(row @ unit),
           "cast": cosine(row, np.tanh(projector @ row))} for row in rows.astype(np.float64)]

as_list = lambda array: [float(x) for x in array]
OUT.write_text(json.dumps({"direction": as_list(direction), "rows": [as_list(row) for row in rows],
                           "cases": cases, "scores": scores}) + "\n")
print(f"{len(cases)} cases written to {OUT.name}")
