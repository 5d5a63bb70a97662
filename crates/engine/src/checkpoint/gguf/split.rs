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

/// GPT-4o: as Tekken, with contractions at the ends of words and numbers by threes.
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// DeepSeek Coder: line ends, words, marks, East Asian letters and digits, one kind after the other.
const DEEPSEEK_CODER: &[&str] = &[
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
    r"\p{N}",
];

/// DeepSeek 3: numbers by threes, Chinese and Japanese letters, then the rest.
const DEEPSEEK3: &[&str] = &[
    r"\p{N}{1,3}",
    "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
];

/// The ways to cut that are known, with the names that mean them.
const RULES: &[(&[&str], Rule)] = &[
    (&["gpt-2", "default", "phi-2", "mpt", "jais", "trillion", "granite-docling"], Rule::PLAIN),
    (&["olmo"], Rule { compose: true, ..Rule::PLAIN }),
    (
        &["llama-bpe", "llama3", "llama-v3", "falcon3"],
        Rule { cut: Cut::Patterns(&[LLAMA3]), ignore_merges: true, add_bos: true, ..Rule::PLAIN },
    ),
    (&["dbrx", "smaug-bpe"], Rule { cut: Cut::Patterns(&[LLAMA3]), ..Rule::PLAIN }),
    (
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        Rule { cut: Cut::DigitsThenGpt2, ..Rule::PLAIN },
    ),
    (&["qwen2", "deepseek-r1-qwen"], Rule { cut: Cut::Patterns(&[QWEN2]), compose: true, ..Rule::PLAIN }),
    (&["stablelm2"], Rule { cut: Cut::Patterns(&[QWEN2]), ..Rule::PLAIN }),
    (&["tekken"], Rule { cut: Cut::Patterns(&[TEKKEN]), ignore_merges: true, add_bos: true, ..Rule::PLAIN }),
    (&["gpt-4o", "llama4"], Rule { cut: Cut::Patterns(&[GPT4O]), ..Rule::PLAIN }),
    (&["deepseek-coder"], Rule { cut: Cut::Patterns(DEEPSEEK_CODER), ..Rule::PLAIN }),
    (&["deepseek-v3"], Rule { cut: Cut::Patterns(DEEPSEEK3), ..Rule::PLAIN }),
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
    /// Patterns that match piece after piece, each inside what those before have left.
    Patterns(&'static [&'static str]),
}

impl Rule {
    const PLAIN: Rule = Rule { cut: Cut::Gpt2, compose: false, ignore_merges: false, add_bos: false };

    /// Returns the rule of this name.
    pub(super) fn named(name: &str) -> Option<Rule> {
        let (_, rule) = RULES.iter().find(|(names, _)| names.contains(&name))?;
        Some(*rule)
    }

    /// Lists every name that is known.
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
            Cut::Patterns(patterns) => {
                let split = |pattern: &&str| {
                    let pattern = SplitPattern::Regex((*pattern).to_owned());
                    Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into())
                };
                let steps: tokenizers::Result<Vec<_>> = patterns.iter().map(split).collect();
                steps?.into_iter().chain([bytes(false)]).collect()
            }
        };
        Ok(Sequence::new(steps).into())
    }
}
