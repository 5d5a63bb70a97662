//! Cosines per layer and alpha as a panel, and the words around it.

use whipstaff_figures::{Curve, Panel, Point};
use whipstaff_steering::{CosineCell, CosineTable};

/// Draws a table of cosines as a panel of a figure.
pub fn cosine_panel(table: &CosineTable, title: &str) -> Panel {
    let n_layers = table.n_layers();
    let point = |alpha: usize, layer: usize| {
        let CosineCell { mean, low, high } = table.cell(alpha, layer);
        Point { layer, mean, low, high }
    };
    let curve = |(i, alpha): (usize, &f64)| Curve {
        alpha: *alpha,
        points: (0..n_layers).map(|layer| point(i, layer)).collect(),
    };
    Panel {
        title: title.to_owned(),
        n_layers,
        injected: table.injected.clone(),
        curves: table.alphas.iter().enumerate().map(curve).collect(),
    }
}

/// Says what a figure of cosines was measured on and what its parts mean. `dial` says what alpha is.
pub fn cosine_subtitle(model: &str, dial: &str, n_texts: usize) -> String {
    format!(
        "{model} · {dial} · mean over {n_texts} text{}, teacher-forced · bands from the 10th to the 90th percentile",
        if n_texts == 1 { "" } else { "s" }
    )
}

/// Says where the vector is injected.
pub fn injected_at(layers: &[usize], n_layers: usize) -> String {
    match layers {
        _ if layers.len() == n_layers => "injected at every block".into(),
        [one] => format!("injected at block {one} only"),
        many => format!("injected at {} of {n_layers} blocks", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_becomes_a_line_per_alpha() {
        let per_prompt = vec![vec![vec![1.0, 1.0], vec![0.5, 0.7]], vec![vec![1.0, 1.0], vec![0.1, 0.3]]];
        let table = CosineTable { alphas: vec![0.5, 1.0], injected: vec![1], per_prompt };
        let panel = cosine_panel(&table, "one block");
        assert_eq!((panel.n_layers, panel.curves.len()), (2, 2));
        let point = panel.curves[1].points[1];
        assert!((point.mean - 0.2).abs() < 1e-12 && point.low < point.mean && point.mean < point.high);
    }

    #[test]
    fn the_words_say_where_and_over_how_much() {
        let check = |layers: &[usize], want: &str| assert_eq!(injected_at(layers, 3), want);
        check(&[0, 1, 2], "injected at every block");
        check(&[1], "injected at block 1 only");
        check(&[0, 1], "injected at 2 of 3 blocks");
        assert!(cosine_subtitle("m", "alpha", 1).contains("mean over 1 text, "));
    }
}
