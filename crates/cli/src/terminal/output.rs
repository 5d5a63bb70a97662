//! Standard output: text that survives a closed pipe, colour only for people, columns.

use super::failure::Failure;
use std::io::{self, IsTerminal, Write};
use unicode_width::UnicodeWidthStr;

/// Writes to standard output. A reader that has gone away ends the program quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    })
}

/// Writes a line to standard output.
pub fn print_line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// A remark that is not part of the result.
pub fn note(text: &str) {
    tell(&format!("note: {text}"));
}

/// Writes a line to standard error, where there is someone to read it. Names out of files may be in it.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// What a piece of output is, which decides its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Baseline,
    Plus,
    Minus,
    Heading,
}

/// Colours `text` if standard output is a terminal that wants colour.
pub fn paint(tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Baseline => "1;37",
        Tone::Plus => "1;33",
        Tone::Minus => "1;36",
        Tone::Heading => "1",
    };
    if colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Is standard output a terminal that wants colour?
pub fn colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (io::stdout().is_terminal() || set("CLICOLOR_FORCE"))
}

/// The width to lay text out in: the terminal's, or 100 columns for a pipe.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    terminal.filter(|_| io::stdout().is_terminal()).unwrap_or(100).clamp(40, 160)
}

/// Texts side by side under their headings, wrapped to `width`; below each other where columns
/// would be too narrow to read.
pub fn columns(cells: &[(Tone, String, String)], width: usize) -> String {
    const GAP: usize = 3;
    let n = cells.len().max(1);
    let each = (width + GAP) / n - GAP.min((width + GAP) / n);
    if each < 18 {
        let stack = |(tone, head, text): &(Tone, String, String)| {
            format!("{}\n{}\n", paint(*tone, head), wrap(text, width).join("\n"))
        };
        return cells.iter().map(stack).collect::<Vec<_>>().join("\n");
    }
    let texts: Vec<Vec<String>> = cells.iter().map(|(_, _, text)| wrap(text, each)).collect();
    let mut lines = vec![row(cells.iter().map(|(tone, head, _)| (Some(*tone), head.as_str())), each, GAP)];
    for i in 0..texts.iter().map(Vec::len).max().unwrap_or(0) {
        let cells = texts.iter().map(|lines| (None, lines.get(i).map_or("", |line| line)));
        lines.push(row(cells, each, GAP));
    }
    lines.join("\n") + "\n"
}

fn row<'a>(cells: impl Iterator<Item = (Option<Tone>, &'a str)>, each: usize, gap: usize) -> String {
    let mut line = String::new();
    for (tone, text) in cells {
        let fill = each.saturating_sub(text.width()) + gap;
        line += &tone.map_or_else(|| text.to_owned(), |tone| paint(tone, text));
        line += &" ".repeat(fill);
    }
    line.trim_end().to_owned()
}

/// Breaks text into lines of at most `width` columns, at spaces where it can.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for c in word.chars() {
                if line.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    lines
}

/// Text from a model, fit for a terminal: control characters could move the cursor or worse.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_words_and_cuts_only_what_cannot_fit() {
        let check = |text: &str, width, want: &[&str]| assert_eq!(wrap(text, width), want, "{text}");
        check("one two three", 7, &["one two", "three"]);
        check("one\n\ntwo", 10, &["one", "", "two"]);
        check("abcdefgh", 3, &["abc", "def", "gh"]);
        check("日本語", 4, &["日本", "語"]);
        check("", 10, &[]);
    }

    #[test]
    fn columns_line_up_and_stack_when_narrow() {
        let cell = |head: &str, text: &str| (Tone::Heading, head.to_owned(), text.to_owned());
        let cells = [cell("a", "one two three four five six"), cell("b", "x")];
        let wide = columns(&cells, 43);
        assert_eq!(wide, "a                      b\none two three four     x\nfive six\n");
        let narrow = columns(&cells, 30);
        assert_eq!(narrow, "a\none two three four five six\n\nb\nx\n");
    }
}
