//! A page of heat maps, such as those of a sweep.

use crate::page::render;
use askama::Template;
use whipstaff_figures::HeatMap;

/// A page of maps under a few paragraphs.
#[derive(Template)]
#[template(path = "maps.html")]
struct Page<'a> {
    title: &'a str,
    intro: &'a str,
    version: &'a str,
    maps: &'a [&'a HeatMap],
}

/// Returns a page of maps as a complete HTML document. In `intro` a blank line starts a paragraph.
pub fn maps_page(title: &str, intro: &str, maps: &[&HeatMap]) -> String {
    render(&Page { title, intro, version: env!("CARGO_PKG_VERSION"), maps })
}
