use crate::args::{ComputeArgs, ModelArg, resolved_one};
use crate::terminal::{Failure, Tone, paint, print, print_line, printable, width};
use serde_json::{Value, json};
use std::path::PathBuf;
use unicode_width::UnicodeWidthStr;
use whipstaff::{Preview, Workload};
use whipstaff_steering::{LayerSpec, Lens, SteerSpec, TokenPush, lens};

#[derive(clap::Args)]
pub struct TokensArgs {
    /// The vector file, or a control vector (.gguf)
    #[arg(value_name = "V.safetensors")]
    pub vector: PathBuf,
    #[command(flatten)]
    pub model: ModelArg,
    /// Layers: 8 or 8,10 or 8-11 or -1 or 50% or auto or all (that the vector has)
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Tokens on each side
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff vector tokens`: read the vector → load the model → read the directions by its head → print.
pub fn tokens(args: TokensArgs, on: ComputeArgs) -> Result<(), Failure> {
    let work = |_: &Preview| Workload { rows: 16, logits: 16, ..Workload::default() };
    let loaded = args.model.open(on, work)?;
    let steer = resolved_one(SteerSpec::new(&args.vector), &loaded)?;
    let layers = steer.layers_of(&args.layers, loaded.config().n_layers);
    let layers = layers.map_err(|error| Failure::from(error).about("--layers"))?;
    let found = lens(loaded.engine(), loaded.tokenizer()?, &steer.vector, &layers, args.top)?;
    if args.json {
        let layers: Vec<Value> = found.iter().map(layer_json).collect();
        return print_line(&json!({"vector": steer.vector.name, "layers": layers}).to_string());
    }
    let name = paint(Tone::Heading, &printable(&steer.vector.name));
    let about =
        "tokens pushed, with their logits less the mean of the vocabulary, in its standard deviations";
    print(&format!(
        "{name}\n  {about}\n{}",
        found.iter().map(|it| layer_text(it, width())).collect::<String>()
    ))
}

fn layer_json(it: &Lens) -> Value {
    let token =
        |it: &TokenPush| json!({"id": it.id, "text": it.text, "special": it.special, "logit": it.logit});
    let side = |tokens: &[TokenPush]| tokens.iter().map(token).collect::<Vec<_>>();
    json!({"layer": it.layer, "deviation": it.deviation, "up": side(&it.up), "down": side(&it.down)})
}

/// A layer's tokens, each with its logit in standard deviations of the vocabulary.
fn layer_text(it: &Lens, width: usize) -> String {
    let side = |head: &str, tokens: &[TokenPush]| {
        let items: Vec<String> = tokens.iter().map(|token| item(token, it.deviation)).collect();
        let lines = fill(&items, width.saturating_sub(15)).join("\n               ");
        format!("    {head:10} {lines}\n")
    };
    format!("\n  layer {}\n{}{}", it.layer, side("up", &it.up), side("down", &it.down))
}

/// ` library` +4.1: quoted, since spaces belong to tokens, and escaped.
fn item(token: &TokenPush, deviation: f64) -> String {
    let mut item = format!("{:?}", token.text);
    // Of a token that holds a part of a character, the text alone does not say which it is.
    if token.text.contains('\u{fffd}') || token.text.is_empty() {
        item += &format!("#{}", token.id);
    }
    if token.special {
        item += " (special)";
    }
    format!("{item} {:+.1}", token.logit / deviation)
}

/// Items in lines of at most `width` columns, none broken.
fn fill(items: &[String], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for item in items {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.width() + 3 + item.width() > width {
            lines.push(item.clone());
        } else {
            *line += if line.is_empty() { "" } else { "   " };
            *line += item;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_fill_lines_and_are_not_broken() {
        let check = |items: &[&str], width, want: &[&str]| {
            let items: Vec<String> = items.iter().map(|it| it.to_string()).collect();
            assert_eq!(fill(&items, width), want);
        };
        check(&["a b", "c", "d"], 7, &["a b   c", "d"]);
        check(&["a very long one", "c"], 4, &["a very long one", "c"]);
        check(&[], 4, &[""]);
    }

    #[test]
    fn tokens_are_quoted_escaped_and_marked() {
        let check = |text: &str, special: bool, want: &str| {
            let token = TokenPush { id: 7, text: text.into(), special, logit: 3.0 };
            assert_eq!(item(&token, 2.0), want);
        };
        check(" book", false, "\" book\" +1.5");
        check("\x1b[2J\n\"", false, "\"\\u{1b}[2J\\n\\\"\" +1.5");
        check("<|end|>", true, "\"<|end|>\" (special) +1.5");
        check("\u{fffd}", false, "\"\u{fffd}\"#7 +1.5");
        check("\u{202e}x", false, "\"\\u{202e}x\" +1.5");
    }
}
