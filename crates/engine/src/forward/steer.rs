//! Steering met by a batch: what each row's edits do to it.

use super::batch::Steered;
use super::tap::Hook;
use crate::steering::Placed;

/// Returns true if the steering of any sequence acts at this hook.
pub(crate) fn is_steered(hook: Hook) -> bool {
    hook.rows.steered().iter().any(|it| it.steering.at(hook.layer, hook.site).next().is_some())
}

/// Does to the values of one row, `[d_model]`, what the steering of its sequence does at this hook.
pub(crate) fn steer(hook: Hook, row: usize, values: &mut [f32]) {
    let row = hook.rows.row(row);
    let Steered { steering, n_prompt } = &hook.rows.steered()[row.sequence];
    for Placed { edit, length, everywhere } in steering.at(hook.layer, hook.site) {
        if *everywhere {
            values.iter_mut().zip(&edit.direction).for_each(|(x, add)| *x += add);
            continue;
        }
        let strength = edit.scope.strength(row.position, row.token, *n_prompt);
        if strength != 0.0 {
            edit.operator.apply(values, &edit.direction, *length, strength, edit.keeps_norm);
        }
    }
}
