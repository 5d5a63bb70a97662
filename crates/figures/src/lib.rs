//! Numbers in, SVG and PNG out.
//!
//! A drawing is a pure function of its data: equal figures give equal bytes, on every machine. Text is drawn from a
//! bundled font, so that neither the PNG nor the SVG needs one installed. Both stand on a light card of their own
//! and can be placed on any page; `svg_inline` follows the page into the dark. Each drawing describes its findings
//! in words for readers who cannot see it.
//!
//! | type | what it shows |
//! |---|---|
//! | [`Figure`] | lines with bands along the layers of a model, in panels |
//! | [`DepthPlot`] | lines along the depth of models of any number of layers |
//! | [`HeatMap`] | numbers over two lists, as colours |
//! | [`Intervals`] | numbers with their intervals, a row each |
//!
//! ```
//! use whipstaff_figures::{IntervalGroup, IntervalRow, Intervals};
//!
//! let row = IntervalRow {
//!     name: "first".into(),
//!     series: 0,
//!     value: 0.3,
//!     interval: Some([0.2, 0.4]),
//!     note: "24 items".into(),
//! };
//! let figure = Intervals {
//!     title: "Effects".into(),
//!     subtitle: "95 % intervals".into(),
//!     x_title: "effect".into(),
//!     groups: vec![IntervalGroup { title: "all".into(), rows: vec![row] }],
//! };
//! assert!(figure.svg().starts_with("<svg "));
//! assert!(figure.png(2.0)?.starts_with(b"\x89PNG"));
//! # Ok::<(), whipstaff_figures::FigureError>(())
//! ```
//!
//! Reading order: `canvas`, `font`, `look`, `curves`, `axis`, `depth`, `heat`, `intervals`.

#![forbid(unsafe_code)]

mod axis;
mod canvas;
mod curves;
mod depth;
mod font;
mod heat;
mod intervals;
mod look;

pub use canvas::{FigureError, escape};
pub use curves::{Curve, Figure, Panel, Point};
pub use depth::{DepthLine, DepthPanel, DepthPlot};
pub use heat::{HeatMap, HeatPanel, Tint};
pub use intervals::{IntervalGroup, IntervalRow, Intervals};
