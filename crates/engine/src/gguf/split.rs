//! How byte-level tokenizers cut text before they merge, by the names that GGUF files give them.

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior};

/// Llama 3: contractions, words with at most one leading mark, numbers by threes, runs of marks with
/// the line ends after them, line ends, other white space.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen 2: as Llama 3, but digit by digit.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Tekken (Mistral NeMo): words change where lower case ends, marks of combining belong to words.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The ways to cut that are known, with the names that mean them.
const RULES: &[(&[&str], Rule)] = &[
    (&["gpt-2", "default"], Rule { cut: Cut::Gpt2, ..Rule::PLAIN }),
    (
        &["llama-bpe", "llama3", "llama-v3"],
        Rule { cut: Cut::Pattern(LLAMA3), ignore_merges: true, add_bos: true, ..Rule::PLAIN },
    ),
    (&["smollm", "starcoder", "refact"], Rule { cut: Cut::DigitsThenGpt2, ..Rule::PLAIN }),
    (&["qwen2", "deepseek-r1-qwen"], Rule { cut: Cut::Pattern(QWEN2), compose: true, ..Rule::PLAIN }),
    (&["tekken"], Rule { cut: Cut::Pattern(TEKKEN), ignore_merges: true, add_bos: true, ..Rule::PLAIN }),
];

/// What comes before the merges of a byte-level tokenizer.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    cut: Cut,
    /// Characters are composed first (Unicode's NFC).
    compose: bool,
    /// A piece that is a token as it stands is not merged from bytes.
    pub(super) ignore_merges: bool,
    /// Texts begin with bos unless the file says otherwise.
    pub(super) add_bos: bool,
}

#[derive(Clone, Copy)]
enum Cut {
    /// GPT-2's pattern, which the byte-level step brings along.
    Gpt2,
    /// Every digit by itself, the rest as GPT-2.
    DigitsThenGpt2,
    /// A pattern that matches piece after piece.
    Pattern(&'static str),
}

impl Rule {
    const PLAIN: Rule = Rule { cut: Cut::Gpt2, compose: false, ignore_merges: false, add_bos: false };

    /// The rule of this name.
    pub(super) fn named(name: &str) -> Option<Rule> {
        let (_, rule) = RULES.iter().find(|(names, _)| names.contains(&name))?;
        Some(*rule)
    }

    /// Every name that is known.
    pub(super) fn names() -> String {
        let names: Vec<&str> = RULES.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        names.join(", ")
    }

    pub(super) fn normalizer(self) -> Option<NormalizerWrapper> {
        self.compose.then(|| NFC.into())
    }

    /// Cuts a text and writes its pieces in the alphabet of bytes; with `prefix_space`, a piece that
    /// begins with none gets a space.
    pub(super) fn pre_tokenizer(self, prefix_space: bool) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |use_regex| ByteLevel::new(prefix_space, true, use_regex).into();
        let steps: Vec<PreTokenizerWrapper> = match self.cut {
            Cut::Gpt2 => vec![bytes(true)],
            Cut::DigitsThenGpt2 => vec![Digits::new(true).into(), bytes(true)],
            Cut::Pattern(pattern) => {
                let pattern = SplitPattern::Regex(pattern.to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
                vec![split.into(), bytes(false)]
            }
        };
        Ok(Sequence::new(steps).into())
    }
}
