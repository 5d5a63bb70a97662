//! Several answers to each prompt: the tokens that answers share run once, unsteered and under every steering.

use super::replay::{Replay, Text, run_keeping};
use crate::error::Error;
use std::ops::Range;
use whipstaff_engine::{Batch, Model, NoTap, Rows, Session, Steering, log_probs};

/// Texts that have run unsteered, with what entered every block kept.
pub(crate) struct Branches<'m> {
    model: &'m Model,
    /// The texts that neighbours share: their prompts, or whole texts for a model whose arithmetic depends on their
    /// length.
    stems: Replay<'m>,
    texts: Vec<Branch>,
    /// The rows of all branches that entered block ℓ, `[n_rows, d_model]`; the last are those that left the last block.
    entering: Vec<Rows>,
}

/// The part of a text beyond its stem.
struct Branch {
    stem: usize,
    /// The length of the stem.
    from: usize,
    /// The tokens without the last one, which predicts nothing.
    ids: Vec<u32>,
    /// The rows of these tokens.
    rows: Range<usize>,
    /// The tokens of the answer.
    answer: Vec<u32>,
    /// The place in the text where the answer begins.
    n_prompt: usize,
}

impl<'m> Branches<'m> {
    /// Runs the texts unsteered. Neighbours with the same prompt share it.
    pub(crate) fn new(model: &'m Model, texts: &[Text]) -> Result<Branches<'m>, Error> {
        let (mut stems, mut branches): (Vec<Text>, Vec<Branch>) = (Vec::new(), Vec::new());
        for Text { ids, n_prompt } in texts {
            let from = if model.depends_on_length() { ids.len() } else { *n_prompt };
            if stems.last().is_none_or(|last| last.ids != ids[..from]) {
                stems.push(Text { ids: ids[..from].to_vec(), n_prompt: *n_prompt });
            }
            let own = ids[from..].split_last().map_or(&[][..], |(_, own)| own).to_vec();
            let start = branches.last().map_or(0, |last| last.rows.end);
            branches.push(Branch {
                stem: stems.len() - 1,
                from,
                rows: start..start + own.len(),
                ids: own,
                answer: ids[*n_prompt..].to_vec(),
                n_prompt: *n_prompt,
            });
        }
        let stems = Replay::new(model, &stems)?;
        let mut all = Branches { model, stems, texts: branches, entering: Vec::new() };
        let mut sessions = all.fork(all.stems.sessions());
        all.entering = run_keeping(model, &mut all.batch(&mut sessions))?;
        Ok(all)
    }

    /// Returns the log-probability of every token of every answer under `steering`, in nats. The blocks below the first
    /// place that the steering changes have run already.
    ///
    /// # Errors
    /// [`Error::Engine`] for a steering that does not fit the model.
    pub(crate) fn scores(&self, steering: &Steering) -> Result<Vec<Vec<f64>>, Error> {
        let n_stems = self.stems.sessions().len();
        let copies: Vec<_> = (0..n_stems).map(|stem| (stem, steering.clone())).collect();
        let stems = self.stems.run_sessions(&copies, &mut NoTap)?;
        // Nothing reads the blocks below again, so their keys and values of these rows may be missing.
        let mut sessions = self.fork(&stems.sessions);
        let mut batch = self.batch(&mut sessions);
        let entering = |level: usize| self.entering[level].clone();
        let own = stems.start.run(self.model, &mut batch, entering, &mut NoTap);
        drop(batch);

        let (mut in_stems, mut in_own) = (Vec::new(), Vec::new());
        for text in &self.texts {
            for (position, token) in (text.n_prompt..).zip(&text.answer) {
                // The row before a token is the one that predicts it.
                match (position - 1).checked_sub(text.from) {
                    None => in_stems.push((self.stems.span(text.stem).start + position - 1, *token)),
                    Some(at) => in_own.push((text.rows.start + at, *token)),
                }
            }
        }
        let mut in_stems = log_probs(self.model, &stems.leaving, &in_stems).into_iter();
        let mut in_own = log_probs(self.model, &own, &in_own).into_iter();
        let scores = |text: &Branch| {
            let n_in_stem = (text.from + 1 - text.n_prompt).min(text.answer.len());
            let n_own = text.answer.len() - n_in_stem;
            in_stems.by_ref().take(n_in_stem).chain(in_own.by_ref().take(n_own)).collect()
        };
        Ok(self.texts.iter().map(scores).collect())
    }

    /// Returns a session for each text that continues its stem.
    fn fork(&self, stems: &[Session]) -> Vec<Session> {
        self.texts.iter().map(|text| stems[text.stem].fork()).collect()
    }

    /// Returns a batch of the parts of the texts beyond their stems.
    fn batch<'a>(&self, sessions: &'a mut [Session]) -> Batch<'a> {
        let mut batch = Batch::new();
        for (session, text) in sessions.iter_mut().zip(&self.texts) {
            batch.push(session, &text.ids);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use whipstaff_engine::{Edit, Isa, Scope, Site, Span};

    /// The scores of texts that share a prompt are bit-identical to those of each text by itself.
    #[test]
    fn a_shared_prompt_changes_no_score() {
        for case in ["llama-gqa-tied-bf16", "families/phi3-longrope-within"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case);
            let model = Model::load(&dir, Isa::best()).unwrap();
            let (d_model, n_layers) = (model.config().d_model, model.config().n_layers);
            let direction = |x: f32| (0..d_model).map(|i| x * (i as f32).sin()).collect::<Vec<f32>>();
            let edit = |layer, site, span| Edit {
                scope: Scope { span, ..Scope::default() },
                ..Edit::add(layer, site, direction(0.5))
            };
            let prompts: [&[u32]; 3] = [&[5], &[1, 2, 3, 4, 5, 6, 7], &[9, 8]];
            let answers: [&[u32]; 2] = [&[11], &[12, 13, 14, 15, 16]];
            let texts: Vec<Text> =
                prompts.iter().flat_map(|prompt| answers.map(|answer| Text::new(prompt, answer))).collect();
            let branches = Branches::new(&model, &texts).unwrap();
            for steering in [
                Steering::default(),
                Steering::new([edit(0, Site::ResidPost, Span::All)]),
                Steering::new([edit(1, Site::AttnOut, Span::Answer)]),
                Steering::new([edit(0, Site::ResidPre, Span::Prompt), edit(1, Site::ResidPost, Span::All)]),
                Steering::new([edit(n_layers - 1, Site::ResidPost, Span::All)]),
            ] {
                let shared = branches.scores(&steering).unwrap();
                for (text, got) in texts.iter().zip(&shared) {
                    let replay = Replay::new(&model, std::slice::from_ref(text)).unwrap();
                    let resid = replay.run(&[(0, steering.clone())], &mut NoTap).unwrap();
                    let targets: Vec<(usize, u32)> =
                        (text.n_prompt..text.ids.len()).map(|at| (at - 1, text.ids[at])).collect();
                    assert_eq!(got, &log_probs(&model, &resid, &targets), "{case}: {text:?}");
                }
            }
        }
    }
}
