//! What all pages share: how they are rendered, and paragraphs of text in which names stand between backticks.

use askama::Template;

/// Returns a page as a complete HTML document.
pub(crate) fn render(page: &impl Template) -> String {
    page.render().expect("writing to a string")
}

/// A piece of a paragraph.
pub(crate) struct Span<'a> {
    pub(crate) text: &'a str,
    /// True if the piece stood between backticks.
    pub(crate) is_name: bool,
}

/// Cuts a text into paragraphs, which blank lines separate, and each of them into its pieces.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = Vec<Span<'_>>> {
    text.split("\n\n").map(str::trim).filter(|it| !it.is_empty()).map(spans)
}

fn spans(text: &str) -> Vec<Span<'_>> {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // A backtick without a partner is no markup.
        return vec![Span { text, is_name: false }];
    }
    parts.into_iter().enumerate().map(|(i, text)| Span { text, is_name: i % 2 == 1 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fall_into_paragraphs_and_names() {
        let check = |text: &str, want: &[&[(&str, bool)]]| {
            let got: Vec<Vec<(&str, bool)>> = paragraphs(text)
                .map(|spans| spans.iter().map(|it| (it.text, it.is_name)).collect())
                .collect();
            assert_eq!(got, want, "{text:?}");
        };
        check("", &[]);
        check("one\n\n\n\n two ", &[&[("one", false)], &[("two", false)]]);
        check("a `b` c", &[&[("a ", false), ("b", true), (" c", false)]]);
        check("a `b", &[&[("a `b", false)]]);
    }
}
