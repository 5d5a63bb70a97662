//! What a server of chat completions answers, read with care.

use serde_json::Value;
use whipstaff_steering::JudgeReply;

/// The most of a text that is looked at, in characters: a number is shorter, an error's first sentence no longer.
const MOST: usize = 200;

/// Reads a chat completion.
///
/// # Errors
/// What is wrong with it, to follow "its answer".
pub fn parse(text: &str) -> Result<JudgeReply, String> {
    let answer: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let choice = answer.pointer("/choices/0").ok_or("has no `choices[0]`")?;
    let text = match choice.pointer("/message/content") {
        Some(Value::String(text)) => text.chars().take(MOST).collect(),
        // So do models that refuse in a field of their own.
        Some(Value::Null) => String::new(),
        _ => return Err("has no text in `choices[0].message.content`".into()),
    };
    let alternatives = match choice.pointer("/logprobs/content/0") {
        None => Vec::new(),
        Some(first) => alternatives(first, &text)?,
    };
    Ok(JudgeReply { text, alternatives })
}

/// What could have been said instead of the first token; nothing if the number that was said goes on behind it.
fn alternatives(first: &Value, text: &str) -> Result<Vec<(String, f64)>, String> {
    let token = first.get("token").and_then(Value::as_str);
    let token = token.ok_or("has no text in `logprobs.content[0].token`")?;
    let listed = first.get("top_logprobs").and_then(Value::as_array);
    let listed = listed.ok_or("has no list in `logprobs.content[0].top_logprobs`")?;
    let alternative = |it: &Value| {
        let (token, log_prob) = (it.get("token")?.as_str()?, it.get("logprob")?.as_f64()?);
        Some((token.chars().take(MOST).collect(), log_prob))
    };
    let read: Option<Vec<(String, f64)>> = listed.iter().take(MOST).map(alternative).collect();
    let read = read
        .ok_or("has something else in `top_logprobs` than a `token` and a `logprob`, a text and a number")?;
    let text = text.trim_start();
    let digits = &text[..text.bytes().take_while(u8::is_ascii_digit).count()];
    let goes_on = !digits.is_empty() && token.trim() != digits;
    Ok(if goes_on { Vec::new() } else { read })
}

/// The message of an error, whatever form it has, without what could move a cursor.
pub fn error_message(text: &str) -> String {
    let answer: Option<Value> = serde_json::from_str(text).ok();
    let paths = ["/error/message", "/message", "/detail", "/error"];
    let of = |answer: &Value| paths.iter().find_map(|path| answer.pointer(path)?.as_str().map(str::to_owned));
    let message = answer.as_ref().and_then(of).unwrap_or_default();
    message.chars().filter(|c| !c.is_control()).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(content: Value, first: Value) -> String {
        let logprobs = if first.is_null() { Value::Null } else { json!({"content": [first]}) };
        json!({"choices": [{"message": {"role": "assistant", "content": content}, "logprobs": logprobs}]})
            .to_string()
    }

    fn token(text: &str, top: &[(&str, f64)]) -> Value {
        let top: Vec<Value> = top.iter().map(|(token, p)| json!({"token": token, "logprob": p})).collect();
        json!({"token": text, "logprob": 0.0, "top_logprobs": top})
    }

    #[test]
    fn alternatives_count_where_the_first_token_is_the_whole_number() {
        let check = |content: &str, first: Value, want: &[(&str, f64)]| {
            let want: Vec<(String, f64)> = want.iter().map(|(text, p)| ((*text).into(), *p)).collect();
            let got = parse(&answer(json!(content), first)).unwrap();
            assert_eq!(got, JudgeReply { text: content.into(), alternatives: want }, "{content}");
        };
        check("85", Value::Null, &[]);
        check("85", token("85", &[("85", -0.1), ("90", -2.0)]), &[("85", -0.1), ("90", -2.0)]);
        check(" 85\nbecause", token(" 85", &[(" 85", -0.1)]), &[(" 85", -0.1)]);
        check("REFUSAL", token("REF", &[("REF", -0.1), ("0", -3.0)]), &[("REF", -0.1), ("0", -3.0)]);
        // Digits that are tokens of their own: the first says nothing of the number.
        check("85", token("8", &[("8", -0.1), ("9", -2.0)]), &[]);
        check("85", token("85", &[]), &[]);
    }

    #[test]
    fn what_is_no_completion_is_said_by_field() {
        let check = |text: &str, want: &str| {
            let got = parse(text).unwrap_err();
            assert!(got.contains(want), "{text}: {got}");
        };
        check("", "is not JSON");
        check("<html>", "is not JSON");
        check(r#"{"choices": [{"message": {"content": NaN}}]}"#, "is not JSON");
        check("[]", "`choices[0]`");
        check(r#"{"choices": []}"#, "`choices[0]`");
        check(r#"{"choices": {"0": 1}}"#, "`choices[0].message.content`");
        check(&answer(json!(85), Value::Null), "`choices[0].message.content`");
        check(&answer(json!(["85"]), Value::Null), "`choices[0].message.content`");
        check(&answer(json!("85"), json!(7)), "`logprobs.content[0].token`");
        check(&answer(json!("85"), json!({"token": "85"})), "`logprobs.content[0].top_logprobs`");
        let wrong = json!({"token": "85", "top_logprobs": [{"token": "85", "logprob": "-0.1"}]});
        check(&answer(json!("85"), wrong), "`top_logprobs`");
        let null = json!({"token": "85", "top_logprobs": [{"token": "85", "logprob": null}]});
        check(&answer(json!("85"), null), "`top_logprobs`");
        check(&"[".repeat(100_000), "is not JSON");
    }

    #[test]
    fn a_refusal_in_a_field_of_its_own_is_no_number() {
        assert_eq!(parse(&answer(Value::Null, Value::Null)).unwrap(), JudgeReply::default());
    }

    #[test]
    fn a_long_text_is_cut() {
        let got = parse(&answer(json!("8".repeat(5000)), Value::Null)).unwrap();
        assert_eq!(got.text.len(), MOST);
    }

    #[test]
    fn the_message_of_an_error_is_found_in_every_form() {
        let check = |text: &str, want: &str| assert_eq!(error_message(text), want, "{text}");
        check(r#"{"error": {"message": "no such model", "code": 1}}"#, "no such model");
        check(r#"{"error": "overloaded"}"#, "overloaded");
        check(r#"{"detail": "no"}"#, "no");
        check(r#"{"message": "a\u001b[31mb\nc"}"#, "a[31mbc");
        check("<html>", "");
        check("7", "");
    }
}
