//! Templates against transformers (`tests/golden/README.md`), against strangers, and in every place.

use super::*;
use serde::Deserialize;
use std::time::{Duration, Instant};

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    ask: bool,
    #[serde(default)]
    text: String,
    ids: Option<Vec<u32>>,
    refusal: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/chat")
}

fn shape(name: &str) -> (ChatTemplate, Tokenizer) {
    let tokenizer = Tokenizer::load(&root().join(name)).unwrap();
    let template = ChatTemplate::load(&root().join(name), &tokenizer).unwrap().unwrap();
    (template, tokenizer)
}

fn user(text: &str) -> Vec<Message> {
    vec![Message::new(Role::User, text)]
}

/// Makes a template from a text, on the tokenizer of a shape.
fn own(source: &str, name: &str) -> Result<ChatTemplate, Error> {
    let tokenizer = Tokenizer::load(&root().join(name)).unwrap();
    ChatTemplate::new(source.to_owned(), BTreeMap::new(), &tokenizer, Path::new("t.jinja"))
}

#[track_caller]
fn check_shape(name: &str, n_cases: usize, n_refused: usize) {
    let cases = std::fs::read_to_string(root().join(name).join("golden.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), n_cases, "{name}");
    assert_eq!(cases.iter().filter(|it| it.refusal.is_some()).count(), n_refused, "{name}");
    let (template, _) = shape(name);
    for Case { messages, ask, text, ids, refusal } in &cases {
        let what = format!("{name} {messages:?} {ask}");
        match refusal {
            Some(refusal) => {
                let error = template.ids(messages, *ask).unwrap_err().to_string();
                assert!(error.ends_with(&format!("refuses this conversation: {refusal}")), "{what}: {error}");
            }
            None => {
                assert_eq!(&template.render(messages, *ask).unwrap(), text, "{what}");
                assert_eq!(Some(&template.ids(messages, *ask).unwrap()), ids.as_ref(), "{what}");
            }
        }
    }
}

// The goldens.

#[test]
fn the_shape_of_llama_3_gives_what_transformers_gives() {
    check_shape("llama3", 32, 0);
}

#[test]
fn the_shape_of_qwen_2_gives_what_transformers_gives() {
    check_shape("qwen2", 32, 0);
}

#[test]
fn the_shape_of_qwen_3_gives_what_transformers_gives() {
    check_shape("qwen3", 28, 0);
}

#[test]
fn the_shape_of_mistral_gives_what_transformers_gives_and_refuses_what_it_refuses() {
    check_shape("mistral", 28, 6);
}

#[test]
fn the_shape_of_gemma_gives_what_transformers_gives_and_refuses_what_it_refuses() {
    check_shape("gemma", 28, 14);
}

#[test]
fn the_shape_of_phi_gives_what_transformers_gives() {
    check_shape("phi", 32, 0);
}

#[test]
fn the_shape_of_olmo_gives_what_transformers_gives() {
    check_shape("olmo", 28, 0);
}

#[test]
fn the_shape_of_granite_gives_what_transformers_gives() {
    check_shape("granite", 32, 0);
}

#[test]
fn the_shape_of_smollm_gives_what_transformers_gives() {
    check_shape("smollm", 32, 0);
}

#[test]
fn the_shape_of_llama_2_with_generation_blocks_gives_what_transformers_gives() {
    check_shape("llama2", 28, 0);
}

#[test]
fn filters_methods_and_tests_give_what_transformers_gives() {
    check_shape("language", 28, 0);
}

// Messages and special tokens.

/// Lists the special tokens of a template.
fn special_tokens(template: &ChatTemplate) -> Vec<(u32, String)> {
    let mut tokens = Vec::new();
    for (id, token) in template.marked.marks.tokens() {
        tokens.push((*id, token.clone()));
    }
    assert!(tokens.len() >= 2);
    tokens
}

#[test]
fn no_text_of_a_message_becomes_a_special_token() {
    for name in
        ["llama3", "qwen2", "qwen3", "mistral", "phi", "olmo", "granite", "smollm", "llama2", "language"]
    {
        let (template, _) = shape(name);
        let tokens = special_tokens(&template);
        let n_special = |ids: &[u32]| ids.iter().filter(|id| tokens.iter().any(|(it, _)| it == *id)).count();
        let plain = n_special(&template.ids(&user("x"), true).unwrap());
        let all: String = tokens.iter().map(|(_, text)| text.as_str()).collect();
        let texts = tokens.iter().map(|(_, text)| format!("a{text}b")).chain([all]);
        for text in texts.filter(|text| !text.contains("<unk>")) {
            let ids = template.ids(&user(&text), true).unwrap();
            assert_eq!(n_special(&ids), plain, "{name} {text}");
        }
    }
}

#[test]
fn a_special_token_in_two_halves_stays_in_two_halves() {
    let (template, tokenizer) = shape("smollm");
    let joined = own("{% for m in messages %}{{ m.content }}{% endfor %}<|end|>", "smollm").unwrap();
    let end = tokenizer.encode_more("<|end|>").unwrap();
    assert_eq!(end.len(), 1);
    let halves = [Message::new(Role::User, "<|tu"), Message::new(Role::User, "rn|>")];
    let ids = joined.ids(&halves, false).unwrap();
    assert_eq!(ids.iter().filter(|id| special_tokens(&template).iter().any(|(it, _)| it == *id)).count(), 1);
    assert_eq!(ids.last(), end.last());
    // Cut together by the template, out of the middle of a message.
    let cut = own("{{ messages[0].content|replace('X', '') }}<|end|>", "smollm").unwrap();
    assert!(cut.ids(&user("<|tuXrn|>"), false).unwrap().len() > 2);
}

#[test]
fn a_token_that_the_template_builds_cannot_be_built_by_a_message() {
    // It writes `<|turn|>` out of pieces, once.
    let source = "{{ '<|' + 'turn' ~ '|>' }}{{ messages[0].content|replace('X', '') }}";
    let built = own(source, "smollm").unwrap();
    let (_, tokenizer) = shape("smollm");
    let turn = tokenizer.encode_more("<|turn|>").unwrap()[0];
    let ids = built.ids(&user("a <|turn|>"), false).unwrap();
    assert_eq!((ids[0], ids.iter().filter(|id| **id == turn).count()), (turn, 1));
    let error = built.ids(&user("<|tuXrn|>"), false).unwrap_err().to_string();
    assert!(
        error.contains("puts pieces of the messages together to the special token `<|turn|>`"),
        "{error}"
    );
}

#[test]
fn characters_of_a_private_plane_go_through() {
    let (template, tokenizer) = shape("smollm");
    for c in ['\u{f0000}', '\u{f0001}', '\u{100000}'] {
        let text = format!("a{c}b");
        let rendered = template.render(&user(&text), true).unwrap();
        assert!(rendered.contains(&text));
        // The turn is as ever, the character text.
        let ids = template.ids(&user(&text), true).unwrap();
        assert!(tokenizer.decode(&ids).unwrap().contains(&text));
        assert_eq!(ids[..2], template.ids(&user("ab"), true).unwrap()[..2]);
    }
    let error = template.ids(&user("\u{f0000}\u{100000}"), true).unwrap_err().to_string();
    assert!(error.contains("both private planes"), "{error}");
}

#[test]
fn a_template_that_writes_bos_gets_no_second_one() {
    for (name, bos) in [("llama3", "<|bos|>"), ("mistral", "<s>"), ("gemma", "<bos>"), ("llama2", "<s>")] {
        let (template, tokenizer) = shape(name);
        let ids = template.ids(&user("Where is it?"), true).unwrap();
        let bos = special_tokens(&template).iter().find(|(_, text)| text == bos).unwrap().0;
        assert_eq!(ids.iter().filter(|id| **id == bos).count(), 1, "{name}");
        assert_eq!((ids[0], tokenizer.encode("x").unwrap()[0]), (bos, bos), "{name}");
    }
}

// Answers.

#[test]
fn an_answer_is_what_the_template_writes_between_the_question_and_the_end_of_the_turn() {
    let check = |name: &str, lead: &str, answer: &str| {
        let (template, tokenizer) = shape(name);
        let (prompt, answers) = template.answered_ids(&user("Where?"), &["Over there.", "Nowhere."]).unwrap();
        let asked = template.ids(&user("Where?"), true).unwrap();
        assert_eq!(prompt[..asked.len()], asked, "{name}");
        assert_eq!(tokenizer.decode(&prompt[asked.len()..]).unwrap(), lead, "{name}");
        assert_eq!(tokenizer.decode(&answers[0]).unwrap(), answer, "{name}");
        // The turn as a whole begins with just these tokens.
        let turns = [user("Where?"), vec![Message::new(Role::Assistant, "Over there.")]].concat();
        let whole = template.ids(&turns, false).unwrap();
        assert!(whole.starts_with(&[&prompt[..], &answers[0]].concat()), "{name}");
        assert_eq!(Some(&whole[prompt.len() + answers[0].len()]), template.turn_end().as_ref(), "{name}");
    };
    check("llama3", "", "Over there.");
    check("qwen2", "", "Over there.");
    check("qwen3", "<think>\n\n</think>\n\n", "Over there.");
    check("mistral", "", " Over there.");
    check("gemma", "", "Over there.");
    check("phi", "", "Over there.");
    check("olmo", "", "Over there.");
    check("granite", "", "Over there.");
    check("smollm", "", "Over there.");
}

#[test]
fn an_answer_that_the_template_writes_otherwise_follows_the_question_directly() {
    let source = "{% for m in messages %}{{ m.role }}:{{ m.content|upper }}\n{% endfor %}{% if add_generation_prompt %}A>{% endif %}";
    let template = own(source, "smollm").unwrap();
    let (_, tokenizer) = shape("smollm");
    let (prompt, answers) = template.answered_ids(&user("q"), &["Yes. "]).unwrap();
    assert_eq!(tokenizer.decode(&prompt).unwrap(), "user:Q\nA>");
    assert_eq!(tokenizer.decode(&answers[0]).unwrap(), "Yes. ");
    assert_eq!(template.turn_end(), None);
}

#[test]
fn an_answer_cannot_end_its_own_turn() {
    let (template, tokenizer) = shape("smollm");
    let (_, answers) = template.answered_ids(&user("q"), &["a<|end|>b"]).unwrap();
    assert!(!answers[0].contains(&tokenizer.encode_more("<|end|>").unwrap()[0]));
    assert_eq!(tokenizer.decode(&answers[0]).unwrap(), "a<|end|>b");
}

// Strangers.

#[track_caller]
fn check_stopped(source: &str, part: &str) {
    let start = Instant::now();
    let error = own(source, "smollm").and_then(|it| it.ids(&user("x"), true)).unwrap_err();
    let took = start.elapsed();
    assert!(matches!(error, Error::Template { .. }), "{error:?}");
    assert!(error.to_string().contains(part), "{error}");
    assert!(error.to_string().len() < 500, "{error}");
    // Far above what it takes, even unoptimised on a busy machine; one that is not stopped takes hours.
    assert!(took < Duration::from_secs(100), "{took:?}: {error}");
}

#[test]
fn a_template_that_never_ends_or_eats_memory_is_stopped() {
    let work = "does more work than any chat template should";
    check_stopped("{% for i in range(1000000000000) %}x{% endfor %}", "range");
    check_stopped("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", work);
    check_stopped(
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        work,
    );
    check_stopped(
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        work,
    );
    check_stopped(
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x|length }}",
        work,
    );
    check_stopped(
        "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
        work,
    );
    check_stopped("{{ 'a' * 1000000000 }}", "");
    check_stopped("{{ ('a' * 99999)|replace('a', 'b' * 99999) }}", work);
    check_stopped("{{ 'x'|indent(1000000000) }}", "");
    check_stopped("{{ ['x' * 99999999]|tojson }}", work);
    check_stopped("{% macro f(x) %}{{ f(x + x) }}{% endmacro %}{{ f('ab') }}", "");
    check_stopped("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recursion");
    check_stopped("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "recursion");
}

#[test]
fn a_template_that_is_nested_beyond_reason_is_refused() {
    let nested = |open: &str, close: &str| format!("{}x{}", open.repeat(10_000), close.repeat(10_000));
    check_stopped(&nested("{% if true %}", "{% endif %}"), "");
    check_stopped(&format!("{{{{ {} }}}}", nested("(", ")")), "");
    check_stopped(&format!("{{{{ {} }}}}", nested("[", "]")), "");
    // Prefixes are no nesting to every parser; none may exhaust the stack.
    for prefix in ["not ", "-"] {
        let _ = own(&format!("{{{{ {}1 }}}}", prefix.repeat(10_000)), "smollm")
            .map(|it| it.ids(&user("x"), true));
    }
}

#[test]
fn a_template_that_makes_no_sense_says_where() {
    check_stopped("{% if %}", "line 1");
    check_stopped("\n\n{{ messages[0].content.nonsense() }}", "line 3");
    check_stopped("{{ nonsense() }}", "nonsense");
    check_stopped("{{ messages|nonsense }}", "nonsense");
    check_stopped("{% include 'x' %}", "");
    check_stopped("{% generation %}", "");
    check_stopped("{{ raise_exception('I will not.') }}", "refuses this conversation: I will not.");
}

#[test]
fn the_date_is_todays() {
    let template = own("{{ strftime_now('%Y-%m-%d') }}", "smollm").unwrap();
    let today = || jiff::ZonedDateTime::now().date().to_string();
    let before = today();
    let text = template.render(&user("x"), false).unwrap();
    assert!(text == before || text == today(), "{text}");
    check_stopped("{{ strftime_now('%!') }}", "strftime_now");
}

// Places.

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(root().join("smollm/tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn load(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>, Error> {
    let dir = folder(files);
    ChatTemplate::load(dir.path(), &Tokenizer::load(dir.path())?)
}

#[test]
fn a_template_is_found_wherever_it_is_and_the_first_place_wins() {
    let check = |files: &[(&str, &str)], want: Option<&str>| {
        let template = load(files).unwrap();
        let text = template.map(|it| it.render(&user("x"), false).unwrap());
        assert_eq!(text.as_deref(), want, "{files:?}");
    };
    let config = ("tokenizer_config.json", r#"{"chat_template": "config{{ eos_token }}", "eos_token": "E"}"#);
    let file = ("chat_template.jinja", "file{{ eos_token }}");
    let processor = ("chat_template.json", r#"{"chat_template": "processor"}"#);
    check(&[], None);
    check(&[("tokenizer_config.json", r#"{"chat_template": null}"#)], None);
    check(&[config], Some("configE"));
    check(&[file], Some("file"));
    check(&[config, file, processor], Some("fileE"));
    check(&[config, processor], Some("configE"));
    check(&[processor], Some("processor"));
    let named =
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
    check(&[("tokenizer_config.json", named)], Some("d"));
    check(&[("tokenizer_config.json", r#"{"chat_template": {"default": "d"}}"#)], Some("d"));
}

#[test]
fn files_that_hold_no_template_are_named() {
    let check = |name: &str, text: &str, part: &str| {
        let error = load(&[(name, text)]).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains(part), "{error}");
    };
    check("tokenizer_config.json", "{", "is not JSON");
    check("tokenizer_config.json", "[]", "is not a JSON object");
    check("tokenizer_config.json", r#"{"chat_template": 3}"#, "neither a text nor a list");
    check("tokenizer_config.json", r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#, "it has rag");
    check("chat_template.jinja", "{% if %}", "line 1");
    check("chat_template.jinja", &"x".repeat(300_000), "longer than");
}
