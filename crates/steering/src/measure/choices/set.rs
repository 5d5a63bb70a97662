//! Multiple-choice questions, as CAA, Anthropic's evals and MMLU write them down.

use crate::error::Error;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use whipstaff_disk::sha256_hex;

/// A question with its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The question without the options.
    pub question: String,
    /// The text after the options, such as `Answer:`; mostly empty.
    pub ending: String,
    /// The options, at least two and at most 26.
    pub options: Vec<String>,
    /// The index of the option that matches the behaviour, or is correct.
    pub right: usize,
    /// The indices of the options that it is weighed against: the one that CAA names as not matching, or all others.
    pub against: Vec<usize>,
    /// The place in the file: `line 3` or `item 3`.
    pub place: String,
}

/// The questions of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceSet {
    /// The file's name without its extension.
    pub name: String,
    /// The path of the file.
    pub path: PathBuf,
    /// The SHA-256 of the file, in hex.
    pub sha256: String,
    /// The questions, at least one.
    pub choices: Vec<Choice>,
}

/// The letters of options.
const LETTERS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Choice {
    /// Returns the question as it is asked, its options moved on by `turn` letters. Over as many turns as there are
    /// options, each stands at each letter once.
    pub fn text(&self, turn: usize) -> String {
        let n = self.options.len();
        let mut text = format!("{}\n\nChoices:", self.question);
        for at in 0..n {
            text += &format!("\n ({}) {}", letter(at), self.options[(at + turn) % n]);
        }
        if self.ending.is_empty() { text } else { format!("{text}\n\n{}", self.ending) }
    }

    /// Returns the place among the letters that an option has after `turn` turns.
    pub(crate) fn place_of(&self, option: usize, turn: usize) -> usize {
        let n = self.options.len();
        (option + n - turn % n) % n
    }
}

impl ChoiceSet {
    /// Reads a JSON list or a JSONL file of objects with
    /// - `question`, `answer_matching_behavior`, `answer_not_matching_behavior` (CAA and Anthropic's evals: letters
    ///   of options that the question lists, or texts such as `Yes` and `No`), or `prompt`, `correct`, `incorrect`
    ///   (CAA's form of MMLU);
    /// - `question`, `choices`, `answer` (MMLU: an index from 0 or a letter).
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] for a line, [`Error::File`] for an item of a list that is not such an
    /// object, naming the field; [`Error::File`] if there is no question at all.
    pub fn read(path: &Path) -> Result<ChoiceSet, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::File { path: path.to_owned(), reason: "is not UTF-8 text".into() })?;
        ChoiceSet::parse(&text, path)
    }

    /// Reads the text of such a file; `path` names it in errors and gives the set its name.
    ///
    /// # Errors
    /// As for [`ChoiceSet::read`].
    pub fn parse(text: &str, path: &Path) -> Result<ChoiceSet, Error> {
        let body = text.trim_start_matches('\u{feff}');
        let is_list = body.trim_start().starts_with('[');
        let choices = if is_list { of_list(body, path)? } else { of_lines(body, path)? };
        if choices.is_empty() {
            let reason = "holds no question: a JSON list or one JSON object a line is expected, with the fields \
                          `question`, `answer_matching_behavior` and `answer_not_matching_behavior`, or `question`, \
                          `choices` and `answer`";
            return Err(Error::File { path: path.to_owned(), reason: reason.into() });
        }
        let name = path.file_stem().map_or("choices".into(), |stem| stem.to_string_lossy().into_owned());
        let sha256 = sha256_hex(text.as_bytes());
        Ok(ChoiceSet { name, path: path.to_owned(), sha256, choices })
    }

    /// Returns the first `n` questions, or all.
    pub fn first(&self, n: usize) -> ChoiceSet {
        ChoiceSet { choices: self.choices.iter().take(n).cloned().collect(), ..self.clone() }
    }
}

fn of_list(text: &str, path: &Path) -> Result<Vec<Choice>, Error> {
    let items: Vec<Value> = serde_json::from_str(text).map_err(|error| Error::Line {
        path: path.to_owned(),
        line: error.line(),
        reason: format!("is not a JSON list: {error}"),
    })?;
    let choice = |(i, item): (usize, &Value)| {
        let place = format!("item {}", i + 1);
        parse(item, &place)
            .map_err(|reason| Error::File { path: path.to_owned(), reason: format!("{place}: {reason}") })
    };
    items.iter().enumerate().map(choice).collect()
}

fn of_lines(text: &str, path: &Path) -> Result<Vec<Choice>, Error> {
    let choice = |(i, line): (usize, &str)| {
        let item = serde_json::from_str::<Value>(line).map_err(|error| format!("is not JSON: {error}"));
        item.and_then(|item| parse(&item, &format!("line {}", i + 1))).map_err(|reason| Error::Line {
            path: path.to_owned(),
            line: i + 1,
            reason,
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(choice).collect()
}

/// Returns the letter of an option.
pub(crate) fn letter(at: usize) -> char {
    char::from(LETTERS[at])
}

fn parse(item: &Value, place: &str) -> Result<Choice, String> {
    let Value::Object(fields) = item else { return Err("is not a JSON object".into()) };
    match ["choices", "answer_matching_behavior", "correct"].iter().find(|it| fields.contains_key(**it)) {
        Some(&"choices") => knowledge(fields, place),
        Some(&"correct") => behaviour(fields, ["prompt", "correct", "incorrect"], place),
        Some(_) => {
            behaviour(fields, ["question", "answer_matching_behavior", "answer_not_matching_behavior"], place)
        }
        None => Err("has neither `answer_matching_behavior` (as CAA) nor `choices` (as MMLU)".into()),
    }
}

/// Reads a question of MMLU's form.
fn knowledge(fields: &Map<String, Value>, place: &str) -> Result<Choice, String> {
    let question = text(fields, "question")?.trim().to_owned();
    let Value::Array(list) = &fields["choices"] else {
        return Err("`choices` is not a list of texts".into());
    };
    let option = |it: &Value| it.as_str().map(|it| it.trim().to_owned());
    let options: Option<Vec<String>> = list.iter().map(option).collect();
    let options = options.ok_or("`choices` has something in it that is no text")?;
    let n = countable(options.len(), "choices")?;
    let right = match fields.get("answer") {
        None => return Err("`answer` is missing".into()),
        Some(Value::Number(number)) => number.as_u64().map(|it| it as usize),
        Some(Value::String(text)) => place_of_letter(text),
        Some(_) => None,
    };
    let right = right.filter(|it| *it < n).ok_or_else(|| {
        let (answer, last) = (&fields["answer"], letter(n - 1));
        format!(
            "`answer` is {answer}, which is neither an index from 0 to {} nor a letter from A to {last}",
            n - 1
        )
    })?;
    let against = (0..n).filter(|it| *it != right).collect();
    Ok(Choice { question, ending: String::new(), options, right, against, place: place.into() })
}

/// Reads a question of CAA's form. `names` are the fields of the question, of the answer that matches and of the one
/// that does not.
fn behaviour(fields: &Map<String, Value>, names: [&str; 3], place: &str) -> Result<Choice, String> {
    let (matching, not_matching) = (answers(fields, names[1])?, answers(fields, names[2])?);
    let [matching] = &matching[..] else {
        return Err(format!("`{}` names {} answers; one is expected", names[1], matching.len()));
    };
    let asked = text(fields, names[0])?;
    let Listed { question, options, ending } = listed(asked);
    let (options, right, against) = if options.is_empty() {
        let texts = || std::iter::once(matching).chain(&not_matching);
        if texts().any(|it| place_of_letter(it).is_some()) {
            let lists = "has no lines that begin with (A) and (B)";
            return Err(format!("`{}` {lists}, but the answers are letters", names[0]));
        }
        let options: Vec<String> = texts().map(|it| it.trim().to_owned()).collect();
        let against = (1..options.len()).collect();
        (options, 0, against)
    } else {
        let n = options.len();
        let place = |name: &str, answer: &String| {
            place_of_letter(answer).filter(|it| *it < n).ok_or_else(|| {
                let last = letter(n - 1);
                format!("`{name}` is {answer:?}, which is no letter from (A) to ({last}) of `{}`", names[0])
            })
        };
        let right = place(names[1], matching)?;
        let against = not_matching.iter().map(|it| place(names[2], it)).collect::<Result<Vec<_>, _>>()?;
        (options, right, against)
    };
    countable(options.len(), names[0])?;
    if against.contains(&right) || options[right].is_empty() {
        return Err(format!("`{}` and `{}` are the same, or empty", names[1], names[2]));
    }
    Ok(Choice { question, ending, options, right, against, place: place.into() })
}

fn countable(n: usize, field: &str) -> Result<usize, String> {
    match n {
        0 | 1 => Err(format!("`{field}` has fewer than two options")),
        2..=26 => Ok(n),
        _ => Err(format!("`{field}` has {n} options, more than there are letters")),
    }
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    match fields.get(name) {
        None => Err(format!("`{name}` is missing")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{name}` is not a text")),
    }
}

/// Returns the texts of a field that holds a text or a list of texts.
fn answers(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(Value::Array(list)) = fields.get(name) else { return Ok(vec![text(fields, name)?.to_owned()]) };
    let texts: Option<Vec<String>> = list.iter().map(|it| it.as_str().map(str::to_owned)).collect();
    texts.filter(|it| !it.is_empty()).ok_or_else(|| format!("`{name}` is not a text or a list of texts"))
}

/// Returns the place of a letter: 1 for `B`, `(B)`, ` (B)`, `B.` and `B)`.
fn place_of_letter(text: &str) -> Option<usize> {
    let inner = text.trim().trim_start_matches('(').trim_end_matches([')', '.', ':', ',']);
    match inner.as_bytes() {
        [letter] => LETTERS.iter().position(|it| it == letter),
        _ => None,
    }
}

/// A question and the options that it lists.
struct Listed {
    question: String,
    options: Vec<String>,
    ending: String,
}

/// Takes a question apart whose options are lines that begin with `(A)`, `(B)` and so on. Without two such lines, the
/// whole text is the question.
fn listed(text: &str) -> Listed {
    let (mut before, mut options, mut after) = (Vec::new(), Vec::<String>::new(), Vec::new());
    for line in text.lines() {
        let next =
            if options.len() < LETTERS.len() { format!("({})", letter(options.len())) } else { "-".into() };
        match line.trim_start().strip_prefix(&next) {
            Some(option) if after.is_empty() => options.push(option.trim().to_owned()),
            _ if options.is_empty() => before.push(line),
            _ if line.trim().is_empty() || !after.is_empty() => after.push(line),
            _ => {
                let last = options.last_mut().expect("just seen not to be empty");
                *last = format!("{last} {}", line.trim());
            }
        }
    }
    if options.len() < 2 {
        return Listed { question: text.trim().into(), options: Vec::new(), ending: String::new() };
    }
    let question = before.join("\n");
    let question = question.trim().trim_end_matches("Choices:").trim().to_owned();
    Listed { question, options, ending: after.join("\n").trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(json: &str) -> Choice {
        ChoiceSet::parse(json, Path::new("c.json")).unwrap().choices.remove(0)
    }

    #[test]
    fn every_spelling_of_a_question_is_read_as_the_same_thing() {
        let check = |json: &str, options: &[&str], right: usize, against: &[usize]| {
            let got = one(json);
            let found = (got.options.iter().map(String::as_str).collect::<Vec<_>>(), got.right, got.against);
            assert_eq!(found, (options.to_vec(), right, against.to_vec()), "{json}");
            assert_eq!(got.question, "Q?", "{json}");
        };
        check(
            r#"[{"question": "Q?\n\nChoices:\n (A) Yes\n (B) No", "answer_matching_behavior": "(B)",
                "answer_not_matching_behavior": "(A)"}]"#,
            &["Yes", "No"],
            1,
            &[0],
        );
        check(
            r#"{"question": "Q?\n (A)one\n (B)two\n (C)three", "answer_matching_behavior": " (C)", "answer_not_matching_behavior": " (A)"}"#,
            &["one", "two", "three"],
            2,
            &[0],
        );
        check(
            r#"{"question": "Q?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}"#,
            &["Yes", "No"],
            0,
            &[1],
        );
        check(
            r#"{"question": "Q?\n (A) a\n (B) b\n (C) c", "answer_matching_behavior": "(A)", "answer_not_matching_behavior": ["(B)", "(C)"]}"#,
            &["a", "b", "c"],
            0,
            &[1, 2],
        );
        check(
            r#"[{"prompt": "Q?\n\nChoices:\n(A) x\n(B) y", "correct": "(A)", "incorrect": "(B)", "category": "c"}]"#,
            &["x", "y"],
            0,
            &[1],
        );
        check(
            r#"{"question": "Q?", "choices": ["w", "x", "y", "z"], "answer": 2, "subject": "s"}"#,
            &["w", "x", "y", "z"],
            2,
            &[0, 1, 3],
        );
        check(r#"{"question": "Q?", "choices": ["w", "x"], "answer": "B"}"#, &["w", "x"], 1, &[0]);
    }

    #[test]
    fn each_option_stands_at_each_letter_once() {
        let it = one(r#"{"question": "Q?", "choices": ["x", "y", "z"], "answer": 0}"#);
        assert_eq!(it.text(0), "Q?\n\nChoices:\n (A) x\n (B) y\n (C) z");
        assert_eq!(it.text(1), "Q?\n\nChoices:\n (A) y\n (B) z\n (C) x");
        assert_eq!([0, 1, 2].map(|turn| it.place_of(0, turn)), [0, 2, 1]);
        for (option, turn) in (0..3).flat_map(|option| (0..3).map(move |turn| (option, turn))) {
            let line = format!("({}) {}", letter(it.place_of(option, turn)), it.options[option]);
            assert!(it.text(turn).contains(&line), "{line}");
        }
    }

    #[test]
    fn what_stands_around_the_options_is_kept() {
        let json = r#"{"question": "Hello.\n\nQ?\n (A) one\nand more\n (B) two\n\nAnswer:",
            "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}"#;
        assert_eq!(
            one(&json.replace(",\n", ",")).text(1),
            "Hello.\n\nQ?\n\nChoices:\n (A) two\n (B) one and more\n\nAnswer:"
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_field() {
        let check = |text: &str, want: &str| {
            let error = ChoiceSet::parse(text, Path::new("c.json")).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        let good = r#"{"question": "Q?", "choices": ["x", "y"], "answer": 0}"#;
        check("", "holds no question");
        check("[]", "holds no question");
        check("{", "c.json:1: is not JSON");
        check(&format!("{good}\n\n{{\"question\": 1}}"), "c.json:3: has neither `answer_matching_behavior`");
        check(&format!("[{good}, 7]"), "c.json: item 2: is not a JSON object");
        check(&format!("[{good},\n}}]"), "c.json:2: is not a JSON list");
        check(r#"{"choices": ["x", "y"], "answer": 0}"#, "`question` is missing");
        check(r#"{"question": " ", "choices": ["x", "y"], "answer": 0}"#, "`question` is empty");
        check(r#"{"question": "Q", "choices": ["x"], "answer": 0}"#, "`choices` has fewer than two");
        check(r#"{"question": "Q", "choices": "x", "answer": 0}"#, "`choices` is not a list");
        check(r#"{"question": "Q", "choices": ["x", 1], "answer": 0}"#, "`choices` has something in it");
        check(r#"{"question": "Q", "choices": ["x", "y"]}"#, "`answer` is missing");
        check(r#"{"question": "Q", "choices": ["x", "y"], "answer": 2}"#, "`answer` is 2, which is neither");
        check(r#"{"question": "Q", "choices": ["x", "y"], "answer": -1}"#, "`answer` is -1");
        check(r#"{"question": "Q", "choices": ["x", "y"], "answer": "C"}"#, "`answer` is \"C\"");
        check(r#"{"question": "Q", "choices": ["x", "y"], "answer": null}"#, "`answer` is null");
        let caa = |question: &str, matching: &str, not: &str| {
            format!(
                r#"{{"question": "{question}", "answer_matching_behavior": {matching}, "answer_not_matching_behavior": {not}}}"#
            )
        };
        check(&caa("Q", "\"(A)\"", "\"(B)\""), "`question` has no lines that begin with (A) and (B)");
        check(&caa(r"Q\n(A) x\n(B) y", "\"(C)\"", "\"(B)\""), "`answer_matching_behavior` is \"(C)\"");
        check(&caa(r"Q\n(A) x\n(B) y", "\"(A)\"", "\"yes\""), "`answer_not_matching_behavior` is \"yes\"");
        check(&caa(r"Q\n(A) x\n(B) y", "\"(A)\"", "\"(A)\""), "are the same");
        check(&caa(r"Q\n(A) x\n(B) y", "[\"(A)\", \"(B)\"]", "\"(A)\""), "names 2 answers");
        check(&caa(r"Q\n(A) x\n(B) y", "7", "\"(A)\""), "`answer_matching_behavior` is not a text");
        check(&caa("Q", "\"Yes\"", "[]"), "`answer_not_matching_behavior` is not a text or a list");
    }
}
