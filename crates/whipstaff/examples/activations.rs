//! A tap of one's own: the model hands it the stream, and goes on with what it returns.

use whipstaff::prelude::*;

/// Measures how long the last row of the stream is behind each block, and leaves it as it is.
#[derive(Default)]
struct Norms(Vec<(usize, f32)>);

impl Tap for Norms {
    fn reads(&self, _layer: usize, site: Site) -> bool {
        site == Site::ResidPost
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let rows = hook.host(&x);
        let last = rows.row(hook.rows.len() - 1);
        self.0.push((hook.layer, last.iter().map(|x| x * x).sum::<f32>().sqrt()));
        x
    }
}

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let ids = model.ask("Where is the printer?").prompt_ids()?;

    let mut norms = Norms::default();
    model.run(&ids, &Steering::default(), &mut norms)?;
    norms.0.iter().for_each(|(layer, norm)| println!("layer {layer}: norm {norm:.3}"));

    // Without a tap: every row at some sites and layers, `[n_tokens, d_model]` each.
    let rows = model.activations(&ids, &[0, 5], &[Site::AttnOut, Site::MlpOut], &Steering::default())?;
    for ((site, layer), elements) in &rows {
        println!(
            "{site}.{layer}: {} rows of {}",
            elements.len() / model.config().d_model,
            model.config().d_model
        );
    }
    Ok(())
}
