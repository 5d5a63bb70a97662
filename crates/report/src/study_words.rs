//! The answers to the three questions of a study, in words.

use crate::study_figures::pair_name;
use crate::words::percent;
use std::collections::BTreeSet;
use whipstaff_steering::study::{Compared, Curve, Findings, MethodRow, PromptRow};
use whipstaff_steering::{Method, Verdict};

/// The questions of a study, as they stand above the answers.
pub const QUESTIONS: [&str; 3] = [
    "How do the methods compare on fidelity, consistency and side effects?",
    "Is there one best layer, relative to depth?",
    "Does steering reach what prompting reaches?",
];

/// Returns the answers to [`QUESTIONS`]. A blank line starts a paragraph.
pub fn answers(findings: &Findings) -> [String; 3] {
    [about_methods(findings), about_depth(findings), about_prompting(findings)]
}

fn about_methods(findings: &Findings) -> String {
    let of = |method: &Method| {
        let rows: Vec<_> = findings.of(*method).collect();
        if rows.is_empty() {
            return format!("`{method}` has no dose that costs so much.");
        }
        let over = |f: &dyn Fn(&MethodRow) -> f64| mean(&rows.iter().map(|it| f(it)).collect::<Vec<_>>());
        let halves: Vec<f64> = rows.iter().filter_map(|it| it.halves).collect();
        let halves = if halves.is_empty() {
            String::new()
        } else {
            format!(
                "; two halves of the training set agree on its direction with a cosine of {:.2}",
                mean(&halves)
            )
        };
        format!(
            "`{method}` moves the margin by {:+.3} nats per token, {} of the contrasts the right way, and makes neutral \
             text {:.2} times as perplexing{halves}.",
            over(&|it| it.judged.effect),
            percent(over(&|it| it.judged.right_way)),
            over(&|it| it.cost[0].perplexity_ratio),
        )
    };
    let mut text = format!("At {} nats per token, on average over {}: ", findings.kl, pairs_text(findings));
    text += &findings.methods.iter().map(of).collect::<Vec<_>>().join("\n\n");
    if let Some((first, others)) = findings.methods.split_first() {
        for method in others {
            let [more, less, alike] = findings.against_first(*method);
            text += &format!(
                "\n\nContrast by contrast, `{method}` does more than `{first}` in {more}, less in {less}, and cannot be told \
                 from it in {alike}."
            );
        }
    }
    text
}

fn about_depth(findings: &Findings) -> String {
    let Some(it) = &findings.depth else {
        return "No single layer moves the margin the right way, so there is nothing to compare.".into();
    };
    format!(
        "The best single layers lie at depths {:.2} to {:.2} (layer over number of layers). The one depth that serves \
         all of them best is {:.2}: there the effect is {} of what each reaches at its own best layer, on contrasts \
         that neither was picked on.",
        it.own[0],
        it.own[1],
        it.common,
        percent(it.share)
    )
}

fn about_prompting(findings: &Findings) -> String {
    let compared = findings.prompting.iter().filter(|it| it.prompting.is_some());
    let compared: Vec<&PromptRow> = compared.collect();
    if compared.is_empty() {
        return "No context had room for a prompt to compare with.".into();
    }
    let count = |what: Compared| compared.iter().filter(|it| it.compared() == what).count();
    let works = |it: &&PromptRow| matches!(it.verdict, Verdict::Works | Verdict::WorksAtACost);
    let working = findings.prompting.iter().filter(works).count();
    let of = |it: &&PromptRow| {
        let name = pair_name(findings, &it.model, &it.persona);
        let (_, prompting) = it.prompting.expect("only such are here");
        let share = it.share().map_or(String::new(), |it| format!(", {} of it", percent(it)));
        format!("{name}: {:+.3} by steering, {:+.3} by prompting{share}", it.steering.mean, prompting.mean)
    };
    format!(
        "At {} nats per token the best dose does more than prompting in {} of {}, less in {}, and cannot be told from it \
         in {} (intervals that meet). Against random directions and shuffled labels it works in {working} of {}. {}.",
        findings.kl,
        count(Compared::More),
        compared.len(),
        count(Compared::Less),
        count(Compared::Alike),
        findings.prompting.len(),
        compared.iter().map(of).collect::<Vec<_>>().join("; ")
    )
}

/// Counts the pairs: "3 personas on 1 model".
fn pairs_text(findings: &Findings) -> String {
    let distinct =
        |name: fn(&Curve) -> &String| findings.curves.iter().map(name).collect::<BTreeSet<_>>().len();
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} on {}",
        counted(distinct(|it| &it.persona), "persona"),
        counted(distinct(|it| &it.model), "model")
    )
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study_sample::{findings, prompt_row};

    #[track_caller]
    fn check(findings: &Findings, i: usize, part: &str) {
        let answer = &answers(findings)[i];
        assert!(answer.contains(part), "{answer}");
    }

    #[test]
    fn the_answers_are_told_in_words() {
        let it = findings();
        check(
            &it,
            0,
            "At 0.1 nats per token, on average over 2 personas on 1 model: `mean` moves the margin by +0.500",
        );
        check(&it, 0, "94 % of the contrasts the right way");
        check(&it, 0, "`pca` does more than `mean` in 0, less in 1, and cannot be told from it in 1");
        check(&it, 1, "The best single layers lie at depths 0.50 to 0.75");
        check(&it, 2, "does more than prompting in 1 of 2, less in 1, and cannot be told from it in 0");
        check(&it, 2, "verbose: +0.400 by steering, +0.800 by prompting, 50 % of it");
    }

    #[test]
    fn what_is_missing_is_said() {
        let bare = Findings {
            rows: Vec::new(),
            depth: None,
            prompting: vec![prompt_row("formal", [0.1, 0.2], None)],
            ..findings()
        };
        check(&bare, 0, "`mean` has no dose that costs so much.");
        check(&bare, 1, "No single layer");
        check(&bare, 2, "No context had room");
    }
}
