//! Taps that read: rows kept as they are, or summed on the fly.

use super::ops::Rows;
use super::tap::{Hook, Tap};
use crate::steering::Site;
use std::collections::BTreeMap;
use std::ops::Range;

/// Keeps every row at the sites and layers asked for.
pub struct KeepRows {
    layers: Vec<usize>,
    sites: Vec<Site>,
    kept: BTreeMap<(Site, usize), Vec<Rows>>,
}

impl KeepRows {
    /// Keeps all `sites` of all `layers`.
    pub fn new(layers: &[usize], sites: &[Site]) -> KeepRows {
        KeepRows { layers: layers.to_vec(), sites: sites.to_vec(), kept: BTreeMap::new() }
    }

    /// Returns what was kept of a site: one entry per pass, in order of passes.
    pub fn get(&self, site: Site, layer: usize) -> &[Rows] {
        self.kept.get(&(site, layer)).map_or(&[], |rows| rows)
    }
}

impl Tap for KeepRows {
    fn reads(&self, layer: usize, site: Site) -> bool {
        self.sites.contains(&site) && self.layers.contains(&layer)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        self.kept.entry((hook.site, hook.layer)).or_default().push(x.clone());
        x
    }
}

/// Sums the rows of each slot, and their squared norms, in `f64`: one slot per text, whatever
/// passes its rows come in. Memory is `n_slots * n_layers * d_model` doubles, however long the texts.
pub struct SumRows {
    site: Site,
    layers: Range<usize>,
    d_model: usize,
    /// For every sequence of the next pass, its slot and the positions that count.
    wanted: Vec<(usize, Range<usize>)>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    counts: Vec<usize>,
}

impl SumRows {
    /// Sums at one site of the blocks `layers` for `n_slots` texts.
    pub fn new(site: Site, layers: Range<usize>, d_model: usize, n_slots: usize) -> SumRows {
        let n = n_slots * layers.len();
        SumRows {
            site,
            layers,
            d_model,
            wanted: Vec::new(),
            sums: vec![0.0; n * d_model],
            squares: vec![0.0; n],
            counts: vec![0; n],
        }
    }

    /// Says, before a pass, which slot each of its sequences belongs to and which positions of it
    /// count.
    pub fn expect(&mut self, wanted: Vec<(usize, Range<usize>)>) {
        self.wanted = wanted;
    }

    /// Returns the mean of a slot's rows at a layer, `[d_model]`, or `None` if the slot had no rows.
    pub fn mean(&self, slot: usize, layer: usize) -> Option<Vec<f64>> {
        let at = self.index(slot, layer);
        let n = self.counts[at];
        let sum = &self.sums[at * self.d_model..][..self.d_model];
        (n > 0).then(|| sum.iter().map(|x| x / n as f64).collect())
    }

    /// Returns the sum of squared norms of a slot's rows at a layer, and their number.
    pub fn square_sum(&self, slot: usize, layer: usize) -> (f64, usize) {
        let at = self.index(slot, layer);
        (self.squares[at], self.counts[at])
    }

    fn index(&self, slot: usize, layer: usize) -> usize {
        slot * self.layers.len() + layer - self.layers.start
    }
}

impl Tap for SumRows {
    fn reads(&self, layer: usize, site: Site) -> bool {
        site == self.site && self.layers.contains(&layer)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let read = hook.host(&x);
        for (i, row) in hook.rows.iter().enumerate() {
            let (slot, positions) = &self.wanted[row.sequence];
            if !positions.contains(&row.position) {
                continue;
            }
            let at = self.index(*slot, hook.layer);
            let sums = &mut self.sums[at * self.d_model..][..self.d_model];
            for (sum, x) in sums.iter_mut().zip(read.row(i)) {
                *sum += f64::from(*x);
            }
            self.squares[at] += read.row(i).iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
            self.counts[at] += 1;
        }
        x
    }
}
