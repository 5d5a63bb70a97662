//! Findings as pages and pictures.
//!
//! Pages stand alone: they ask no server for anything, and a policy in their heads keeps it so whatever a model may
//! have written. They follow the reader's light or dark theme, fold to the width of a phone, and print. Equal findings
//! give equal bytes.
//!
//! Each page is a template in `templates/`, compiled into the program, over one frame and one style sheet.
//!
//! Reading order: `words`, `escape`, `page`, `demo`, `maps`, `study`, `study_figures`, `study_words`, `cosine_figure`, `heat_map`.

#![forbid(unsafe_code)]

mod cosine_figure;
mod demo;
mod escape;
mod heat_map;
mod maps;
mod page;
mod study;
mod study_figures;
#[cfg(test)]
mod study_sample;
mod study_words;
mod words;

pub use cosine_figure::{cosine_panel, cosine_subtitle, injected_at};
pub use demo::{Answers, LayerRow, Report, Run, Shares};
pub use heat_map::TokenMap;
pub use maps::maps_page;
pub use study::StudyPage;
pub use study_figures::{depth_figure, methods_figure, prompting_figure};
pub use study_words::{QUESTIONS, answers};
pub use words::percent;
