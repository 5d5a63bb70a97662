//! A receipt: what a dose does, against chance, and what it costs.

use crate::terminal::{Tone, paint, printable, wrap};
use whipstaff_report::percent;
use whipstaff_steering::{Arm, ArmKind, Cost, Receipt, Verdict, layers_text};

/// Returns a receipt for people: the verdict, the arms, the cost, what else the direction may be reading.
pub fn receipt_text(it: &Receipt) -> String {
    let tone = match it.verdict() {
        Verdict::Works => Tone::Plus,
        Verdict::WorksAtACost | Verdict::TooFew => Tone::Baseline,
        Verdict::NotWorking | Verdict::WrongWay => Tone::Minus,
    };
    let verdict = wrap(&it.in_words(), 86).join("\n               ");
    let mut text = format!("  {:12} {}\n\n", "receipt", paint(tone, &verdict));
    // Where there is one way, the effect is the shift itself.
    let sides = if it.has_one_way() { "" } else { "   at +alpha  at -alpha" };
    text += &format!("  arm          effect   95 % interval   {sides}  wrong way\n");
    text += &it.arms.iter().map(arm_line).collect::<String>();
    let columns = |first: &str, rest: Vec<String>| {
        format!(" {first:>9}") + &rest.iter().map(|it| format!(" {it:>9}")).collect::<String>() + "\n"
    };
    let heads =
        if it.has_one_way() { vec!["steered".into()] } else { vec!["+alpha".into(), "-alpha".into()] };
    text += &format!("\n  {:29}{}", "cost", columns("unsteered", heads));
    let mut row = |name: &str, unsteered: String, cell: fn(&Cost) -> String| {
        text += &format!("  {name:29}{}", columns(&unsteered, it.cost.iter().map(cell).collect()));
    };
    row("KL, nats per token", "0".into(), |it| format!("{:.3}", it.kl));
    row("perplexity of neutral text", "1 ×".into(), |it| format!("{:.2} ×", it.neutral_perplexity));
    row("perplexity of answers", "1 ×".into(), |it| format!("{:.2} ×", it.answer_perplexity));
    row("repeated runs of 4 tokens", percent(it.unsteered_repetition), |it| percent(it.repetition));
    let reads = format!(
        "at layer {} it tells held-out answers apart with AUC {:.3}; {} of the gap is there at their first token; \
         positive answers are {:+.1} tokens longer{}",
        it.best_layer,
        it.auc,
        percent(it.nuisance.first_token),
        it.nuisance.longer,
        it.nuisance
            .length
            .map_or(String::new(), |r| format!(", and length correlates with the projection by {r:+.2}")),
    );
    text += &format!("\n  {:12} {}\n", "reads", wrap(&reads, 86).join("\n               "));
    let dose = match &it.what {
        Some(what) => what.clone(),
        None => format!("alpha {} ({}) at layers {}", it.alpha, it.unit, layers_text(&it.layers)),
    };
    let measured = format!(
        "{dose}, on {} contrasts of `{}`; margin of positive over negative answers unsteered: \
         {:+.3} nats per token",
        it.n_contrasts, it.measured_on, it.margin
    );
    text + &format!("  {:12} {}\n", "measured", wrap(&printable(&measured), 86).join("\n               "))
}

fn arm_line(arm: &Arm) -> String {
    let it = &arm.effect;
    let name = match arm.kind {
        ArmKind::Random | ArmKind::Shuffled => format!("{} ×{}", arm.kind.name(), arm.seeds.len()),
        kind => kind.name().to_owned(),
    };
    let interval = it.interval.map_or("-".into(), |[low, high]| format!("{low:+.3} to {high:+.3}"));
    let sides = it.minus.map_or(String::new(), |minus| format!(" {:>+10.3} {minus:>+10.3}", it.plus));
    format!("  {name:11} {:>+7.3}   {interval:16}{sides} {:>10}\n", it.mean, percent(it.wrong_way))
}
