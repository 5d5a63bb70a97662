//! What becomes of texts that templates put on a page.

use askama::filters::Escaper;
use std::fmt::{self, Write};
use whipstaff_figures::escape;

/// The escaper of all templates, named in `askama.toml`: no text becomes markup, and no control character reaches
/// the page.
#[derive(Clone, Copy)]
pub(crate) struct Markup;

impl Escaper for Markup {
    fn write_escaped_str<W: Write>(&self, mut page: W, text: &str) -> fmt::Result {
        page.write_str(&escape(text))
    }
}
