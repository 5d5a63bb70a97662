//! A template's text made ready: marks for the special tokens in it, and tags that only transformers know.

use super::marks::Marks;

/// Returns the text with marks for special tokens, in what is written out as it stands and in literals of the code;
/// names and operators of the code are left alone. `{% generation %}`, by which transformers find what a model has
/// said, becomes a block that does nothing.
pub(super) fn mark(source: &str, marks: &Marks) -> String {
    let mut ready = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((at, kind)) = next_tag(rest) {
        ready += &marks.mark(&rest[..at]);
        rest = &rest[at..];
        let len = tag_len(rest, kind);
        let (tag, behind) = rest.split_at(len);
        rest = behind;
        match kind {
            Kind::Comment => ready += tag,
            Kind::Block if word(tag) == "generation" => ready += &tag.replace("generation", "with"),
            Kind::Block if word(tag) == "endgeneration" => ready += &tag.replace("endgeneration", "endwith"),
            Kind::Block if word(tag) == "raw" => {
                let (data, tag_and_rest) = rest.split_at(end_of_raw(rest));
                ready += tag;
                ready += &marks.mark(data);
                rest = tag_and_rest;
            }
            Kind::Block | Kind::Expression => mark_code(tag, marks, &mut ready),
        }
    }
    ready + &marks.mark(rest)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Expression,
    Block,
    Comment,
}

/// Finds where the next tag begins.
fn next_tag(text: &str) -> Option<(usize, Kind)> {
    text.match_indices('{').find_map(|(at, _)| match text.as_bytes().get(at + 1)? {
        b'{' => Some((at, Kind::Expression)),
        b'%' => Some((at, Kind::Block)),
        b'#' => Some((at, Kind::Comment)),
        _ => None,
    })
}

/// Returns the length of the tag that `text` begins with: up to its end outside of literals and brackets.
fn tag_len(text: &str, kind: Kind) -> usize {
    if kind == Kind::Comment {
        return text.find("#}").map_or(text.len(), |at| at + 2);
    }
    let end: &[u8] = if kind == Kind::Block { b"%}" } else { b"}}" };
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (2, 0usize);
    while at < bytes.len() {
        if depth == 0 && bytes[at..].starts_with(end) {
            return at + 2;
        }
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'\'' | b'"' => at = end_of_literal(bytes, at) - 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Returns the place past the literal whose quote is at `start`.
fn end_of_literal(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != bytes[start] {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Finds where the `{% endraw %}` begins.
fn end_of_raw(text: &str) -> usize {
    let is_end =
        |at: &usize| text[*at..].find("%}").is_some_and(|len| word(&text[*at..*at + len + 2]) == "endraw");
    text.match_indices("{%").map(|(at, _)| at).find(is_end).unwrap_or(text.len())
}

/// Returns what a block's tag says, without the marks that trim white space.
fn word(tag: &str) -> &str {
    let inside = tag.strip_prefix("{%").and_then(|it| it.strip_suffix("%}")).unwrap_or("");
    inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim()
}

/// Appends a tag, with marks in its literals.
fn mark_code(tag: &str, marks: &Marks, ready: &mut String) {
    let bytes = tag.as_bytes();
    let mut from = 0;
    while let Some(quote) = (from..bytes.len()).find(|at| matches!(bytes[*at], b'\'' | b'"')) {
        let end = end_of_literal(bytes, quote);
        *ready += &tag[from..quote];
        *ready += &marks.mark(&tag[quote..end]);
        from = end;
    }
    *ready += &tag[from..];
}
