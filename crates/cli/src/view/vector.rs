//! A persona vector: where it came from, its statistics per layer, its receipt.

use super::receipt::receipt_text;
use crate::terminal::{Failure, Tone, paint, print, printable};
use serde_json::{Value, json};
use whipstaff_steering::{PersonaVector, layers_text};

/// Prints what a vector is, for people.
pub fn print_vector(vector: &PersonaVector) -> Result<(), Failure> {
    let from = &vector.provenance;
    let mut text = format!("{}\n", paint(Tone::Heading, &printable(&vector.name)));
    let mut line = |name: &str, value: String| text += &format!("  {name:12} {}\n", printable(&value));
    line(
        "model",
        match from.model.n_layers {
            0 => format!("{} (d_model {})", from.model.name, from.model.d_model),
            n => format!("{} (d_model {}, {n} layers)", from.model.name, from.model.d_model),
        },
    );
    if let Some(recipe) = &from.recipe {
        line("composed of", format!("{recipe}, at {}", from.site));
        line("contrasts", format!("{} of all that it is composed of", from.n_contrasts));
    } else if vector.is_foreign() {
        line("origin", "another tool, which kept no more than the directions".into());
    } else {
        line("method", format!("{} of `{}` tokens at {}", from.method, from.tokens, from.site));
        line("contrasts", format!("{} of `{}`", from.n_contrasts, from.contrasts));
    }
    line("frame", from.frame.name.escape_debug().to_string());
    if let Some(system) = &from.frame.system {
        line("system", system.escape_debug().to_string());
    }
    match &vector.recommended {
        Some(it) => {
            line(
                "recommended",
                format!(
                    "alpha {} (gap) at layers {}; best single layer {}",
                    it.alpha,
                    layers_text(&it.layers),
                    it.best_layer
                ),
            );
            let [plain, plus, minus] = it.margin;
            line(
                "measured",
                format!(
                    "margin of positive over negative answers, nats per token: {plain:+.3} unsteered, \
                     {plus:+.3} at +alpha, {minus:+.3} at -alpha; steered answers are {:.2} times as perplexing as \
                     unsteered ones ({} held-out contrasts of `{}`)",
                    it.perplexity_ratio, it.n_contrasts, it.measured_on
                ),
            );
        }
        None if vector.is_foreign() => {
            line("recommended", "nothing; all its layers at a coefficient of 1 are used".into());
        }
        None => line("recommended", "nothing was measured; the middle layer at alpha 1 is used".into()),
    }
    if let Some(receipt) = &vector.receipt {
        text += &receipt_text(receipt);
    }
    let heads = ["gap", "rms", "gap/rms", "AUC", "coherence"];
    text += &format!(
        "\n  {:>5} {:>10} {:>10} {:>8} {:>6} {:>10}\n",
        "layer", heads[0], heads[1], heads[2], heads[3], heads[4]
    );
    for (layer, it) in &vector.layers {
        let auc = it.auc.map_or("-".into(), |auc| format!("{auc:.3}"));
        let number = |x: Option<f64>, places: usize| x.map_or("-".into(), |x| format!("{x:.places$}"));
        let ratio = it.gap.zip(it.rms).map(|(gap, rms)| gap / rms);
        let (gap, rms, ratio) = (number(it.gap, 4), number(it.rms, 4), number(ratio, 3));
        let coherence = number(it.coherence, 3);
        text += &format!("  {layer:>5} {gap:>10} {rms:>10} {ratio:>8} {auc:>6} {coherence:>10}\n");
    }
    print(&text)
}

/// Returns what a vector is, for programs.
pub fn vector_json(vector: &PersonaVector) -> Value {
    let from = &vector.provenance;
    let layers: Vec<Value> = vector
        .layers
        .iter()
        .map(|(layer, it)| {
            json!({"layer": layer, "gap": it.gap, "rms": it.rms, "auc": it.auc, "coherence": it.coherence})
        })
        .collect();
    let recommended = vector.recommended.as_ref().map(|it| {
        json!({
            "layers": it.layers, "alpha": it.alpha, "unit": "gap", "best_layer": it.best_layer,
            "measured_on": it.measured_on, "n_contrasts": it.n_contrasts,
            "margin": {"unsteered": it.margin[0], "plus": it.margin[1], "minus": it.margin[2]},
            "perplexity_ratio": it.perplexity_ratio,
        })
    });
    let recipe = from.recipe.as_ref().map(|it| serde_json::from_str::<Value>(&it.to_json()).expect("JSON"));
    let receipt =
        vector.receipt.as_ref().map(|it| serde_json::from_str::<Value>(&it.to_json()).expect("JSON"));
    json!({
        "name": vector.name, "method": from.method, "tokens": from.tokens, "site": from.site.name(),
        "frame": from.frame.name, "template_sha256": from.frame.template_sha256, "system": from.frame.system,
        "contrasts": {"name": from.contrasts, "sha256": from.contrasts_sha256, "n": from.n_contrasts},
        "model": {"name": from.model.name, "weights_sha256": from.model.weights_sha256,
                  "d_model": from.model.d_model, "n_layers": from.model.n_layers},
        "recipe": recipe, "recommended": recommended, "receipt": receipt, "layers": layers, "tool": from.tool,
    })
}
