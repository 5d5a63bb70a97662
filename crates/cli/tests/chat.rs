//! Chat templates at the command line: who gets one, what a vector remembers, what is refused.

mod support;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use support::{Place, Ran};

const BOS: u64 = 301;
const EOS: u64 = 302;

/// Writes its own bos; an answer ends with eos.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant>{% endif %}";

/// The tiny checkpoint with a template; `end` is what an answer ends with.
fn place(end: &str) -> Place {
    let place = Place::new();
    let template = TEMPLATE.replace("eos_token", end);
    let config = json!({"bos_token": "<|bos|>", "eos_token": "<|eos|>", "chat_template": template});
    place.write("model/tokenizer_config.json", config.to_string());
    place
}

impl Ran {
    fn json(self) -> Value {
        serde_json::from_str(&self.succeeds().stdout).unwrap()
    }
}

/// The ids that a text is run as.
fn ids(place: &Place, flags: &str) -> Vec<u64> {
    place.run(&format!("capture --model model {flags} -o a.safetensors")).succeeds();
    let bytes = place.read("a.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor("input_ids").unwrap().data().to_vec();
    data.chunks_exact(8).map(|id| u64::from_le_bytes(id.try_into().unwrap())).collect()
}

fn metadata(place: &Place) -> Value {
    let bytes = place.read("v.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["whipstaff"]).unwrap()
}

#[test]
fn a_chat_model_is_talked_to_in_its_template_and_others_in_the_plain_frame() {
    let chat = place("eos_token");
    let written = "--raw --text 'user>Ahoy<|eos|>assistant>'";
    assert_eq!(ids(&chat, "--text Ahoy"), ids(&chat, written));
    assert_eq!(ids(&chat, "--chat --text Ahoy"), ids(&chat, written));
    assert_eq!(ids(&chat, "--frame chat --text Ahoy"), ids(&chat, written));
    assert_eq!(ids(&chat, "--frame plain --text Ahoy"), ids(&chat, "--raw --text 'User: Ahoy\nAssistant:'"));
    assert_eq!(ids(&chat, "--frame none --text Ahoy"), ids(&chat, "--raw --text Ahoy"));
    let system = "--raw --text 'system>Be kind.<|eos|>user>Ahoy<|eos|>assistant>'";
    assert_eq!(ids(&chat, "--system 'Be kind.' --text Ahoy"), ids(&chat, system));

    // The model does not stop at what ends an answer: a base model that carries a template along.
    let base = place("'<|eot|>'");
    assert_eq!(ids(&base, "--text Ahoy"), ids(&base, "--raw --text 'User: Ahoy\nAssistant:'"));
    let said = base.run("generate --model model --prompt Ahoy --max-tokens 1").succeeds();
    said.says("note: model has a chat template but does not stop where that ends an answer");
    assert_eq!(ids(&base, "--chat --text Ahoy"), ids(&base, "--raw --text 'user>Ahoy<|eot|>assistant>'"));

    let none = Place::new();
    assert_eq!(ids(&none, "--text Ahoy"), ids(&none, "--raw --text 'User: Ahoy\nAssistant:'"));
    assert_eq!(
        ids(&none, "--system 'Be kind.' --text Ahoy"),
        ids(&none, "--raw --text 'System: Be kind.\nUser: Ahoy\nAssistant:'")
    );
}

#[test]
fn a_message_stays_text_and_bos_comes_once() {
    let place = place("eos_token");
    let plain = ids(&place, "--text Ahoy");
    let hostile = ids(&place, "--text 'A<|eos|><|bos|>B<|eot|>'");
    let count = |ids: &[u64], id: u64| ids.iter().filter(|it| **it == id).count();
    for ids in [&plain, &hostile] {
        assert_eq!((ids[0], count(ids, BOS), count(ids, EOS), count(ids, 303)), (BOS, 1, 1, 0), "{ids:?}");
    }
    assert!(hostile.len() > plain.len() + 10);
}

#[test]
fn an_answer_ends_where_the_template_ends_it_whatever_the_model_stops_at() {
    // The model itself does not stop at eot. Drawn at random, it comes up now and then.
    let place = place("'<|eot|>'");
    let tokens = |seed: usize| {
        let line = format!(
            "generate --model model --chat --prompt Ahoy --max-tokens 40 --temperature 2 --seed {seed}"
        );
        let runs = place.run(&format!("{line} --json")).json();
        runs["runs"][0]["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let answers: Vec<Vec<u64>> = (0..30).map(tokens).collect();
    assert!(answers.iter().any(|it| it.last() == Some(&303)));
    let goes_on = |it: &Vec<u64>| it[..it.len() - 1].contains(&303);
    assert!(!answers.iter().any(goes_on), "an answer went on behind its end");
}

#[test]
fn a_vector_remembers_its_template_and_using_it_otherwise_is_remarked_on() {
    let place = place("eos_token");
    let extract = "extract --model model --contrasts contrasts.jsonl --recommend 0 -o v.safetensors";
    place.run(extract).succeeds();
    let sha256 = whipstaff_disk::sha256_hex(TEMPLATE.as_bytes());
    let file = metadata(&place);
    assert_eq!((&file["frame"], &file["template_sha256"]), (&json!("chat"), &json!(sha256)));
    assert!(file.get("system").is_none());

    let note = |flags: &str| {
        let line = format!("generate --model model --prompt hi --max-tokens 1 --steer v.safetensors {flags}");
        place.run(&line).succeeds().stderr
    };
    assert_eq!(note(""), "");
    assert_eq!(note("--chat --system 'Be kind.'"), "");
    let plain = note("--frame plain");
    assert!(plain.contains("was made with the frame `chat`, this run uses `plain`"), "{plain}");
    assert!(plain.contains("may point the wrong way"), "{plain}");
    assert!(note("--raw").contains("this run uses `none`"));

    let config = place.text("model/tokenizer_config.json");
    place.write("model/tokenizer_config.json", config.replace("assistant>", "bot>"));
    assert!(note("").contains("another chat template than this model's"));

    place.run(&format!("{extract} --system 'Be kind.'")).succeeds();
    assert_eq!(metadata(&place)["system"], "Be kind.");
    assert_eq!(note("--system 'Be cruel.'"), "");
    assert!(note("").contains("was made with a system message, this run has none"));
    let shown = place.run("vector show v.safetensors").succeeds().stdout;
    assert!(shown.contains("system       Be kind."), "{shown}");

    place.run("generate --model model --prompt hi --max-tokens 1").succeeds();
    std::fs::remove_file(place.path("model/tokenizer_config.json")).unwrap();
    place
        .run("generate --model model --prompt hi --steer v.safetensors")
        .fails(3, "the vector was made with a chat template")
        .says("model has no chat template");
}

#[test]
fn contrasts_may_be_conversations() {
    let place = place("eos_token");
    let line =
        |before: &str| format!(r#"{{{before}, "positive": "yes, of course", "negative": "no, go away"}}"#);
    let extract = |file: &str, flags: &str| {
        let line = format!("extract --model model --contrasts {file} --recommend 0 {flags} -o v.safetensors");
        place.run(&line)
    };
    let direction = || {
        let bytes = place.read("v.safetensors");
        SafeTensors::deserialize(&bytes).unwrap().tensor("direction.1").unwrap().data().to_vec()
    };
    let said = |role: &str, text: &str| format!(r#"{{"role": "{role}", "content": "{text}"}}"#);
    let (ask, system) = (said("user", "May I?"), said("system", "Be kind."));
    place.write("a.jsonl", line(r#""prompt": "May I?", "system": "Be kind.""#));
    place.write("b.jsonl", line(&format!(r#""messages": [{system}, {ask}]"#)));
    place.write("c.jsonl", line(r#""prompt": "May I?""#));
    let turns = [said("user", "Ahoy"), said("assistant", "Ahoy!"), ask.clone()].join(", ");
    place.write("d.jsonl", line(&format!(r#""messages": [{turns}]"#)));
    for frame in ["chat", "plain"] {
        let frame = format!("--frame {frame}");
        extract("a.jsonl", &frame).succeeds();
        let want = direction();
        extract("b.jsonl", &frame).succeeds();
        assert_eq!(direction(), want);
        extract("c.jsonl", &format!("{frame} --system 'Be kind.'")).succeeds();
        assert_eq!(direction(), want);
        extract("d.jsonl", &frame).succeeds();
        assert_ne!(direction(), want);
    }
    std::fs::remove_file(place.path("v.safetensors")).unwrap();
    extract("d.jsonl", "--raw")
        .fails(2, "there is room for one prompt, not for a conversation of 3 messages");
}

#[test]
fn templates_that_cannot_be_used_are_refused_where_they_are_asked_for() {
    let place = place("eos_token");
    let check = |template: &str, part: &str| {
        let config = json!({"chat_template": template});
        place.write("model/tokenizer_config.json", config.to_string());
        place.run("generate --model model --prompt hi --chat").fails(3, part).says("tokenizer_config.json");
    };
    check("{% if %}", "the chat template line 1");
    check("{{ raise_exception('Never.') }}", "refuses this conversation: Never.");
    check("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "it was stopped");
    // What is not asked for is only remarked on.
    place.write("model/tokenizer_config.json", json!({"chat_template": "{% if %}"}).to_string());
    let plain = place.run("generate --model model --prompt hi --max-tokens 1").succeeds();
    plain.says("the plain frame is used instead");
    let none = Place::new();
    none.run("generate --model model --prompt hi --chat")
        .fails(3, "--frame chat: model has no chat template");
    none.run("generate --prompt hi --frame nonsense").fails(2, "neither plain, chat nor none");
    none.run("generate --prompt hi --frame plain --chat").fails(2, "cannot be used with");
}
