//! The short form of a spec, `V[:ALPHA][@LAYERS][,KEY=VALUE…]`, taken apart from the right, so that a path may hold
//! colons, at signs and commas.
//!
//! A text that names an existing file is that file, whatever it looks like.

use super::spec::{Amount, Entry, FieldError, SteerSpec, field};
use crate::vector::{LayerSpec, Unit};
use std::path::Path;
use std::str::FromStr;

impl FromStr for SteerSpec {
    type Err = FieldError;

    /// Reads `V[:ALPHA][@LAYERS][,KEY=VALUE…]`. ALPHA is a number, perhaps with its unit (`0.3rms`), or a budget in nats
    /// (`0.1nat`). A KEY is a field of a steering file, `gate.KEY` one of its gate.
    fn from_str(text: &str) -> Result<SteerSpec, FieldError> {
        let (head, options) = if is_file(text) { (text, Vec::new()) } else { split_options(text) };
        let mut entry = entry_of(head)?;
        for (key, value) in options {
            entry.set(key, value)?;
        }
        SteerSpec::from_entry(entry)
    }
}

/// Reads `V[:ALPHA][@LAYERS]`.
fn entry_of(head: &str) -> Result<Entry, FieldError> {
    if is_file(head) {
        return Ok(Entry::new(head, None, None));
    }
    let (rest, layers) = split_layers(head)?;
    let Some((vector, alpha)) = rest.rsplit_once(':') else { return Ok(Entry::new(rest, None, layers)) };
    match amount(alpha) {
        Ok(amount) => Ok(Entry::new(vector, Some(amount), layers)),
        Err(_) if is_file(rest) => Ok(Entry::new(rest, None, layers)),
        Err(error) => Err(error),
    }
}

/// Splits the layers off. An at sign before a slash, or within an existing file's name, belongs to the path.
fn split_layers(head: &str) -> Result<(&str, Option<LayerSpec>), FieldError> {
    let Some((rest, layers)) = head.rsplit_once('@').filter(|(_, layers)| !layers.contains('/')) else {
        return Ok((head, None));
    };
    match layers.parse() {
        Ok(layers) => Ok((rest, Some(layers))),
        Err(_) if head.rsplit_once(':').is_some_and(|(file, _)| file.len() > rest.len() && is_file(file)) => {
            Ok((head, None))
        }
        Err(error) => Err(field("layers", error.to_string())),
    }
}

/// Reads `0.5`, `0.5rms` or `0.1nat`.
fn amount(text: &str) -> Result<(Amount, Option<Unit>), FieldError> {
    let number = |digits: &str| digits.parse::<f64>().ok().filter(|x| x.is_finite());
    let wrong = || field("alpha", format!("`{text}` is not a finite number"));
    if let Some(digits) = text.strip_suffix("nats").or_else(|| text.strip_suffix("nat")) {
        return number(digits).map(|nats| (Amount::Nats(nats), None)).ok_or_else(wrong);
    }
    let units = [Unit::Gap, Unit::Rms, Unit::Unit];
    let suffixed = units.into_iter().find_map(|unit| Some((text.strip_suffix(unit.name())?, Some(unit))));
    let (digits, unit) = suffixed.unwrap_or((text, None));
    number(digits).map(|alpha| (Amount::Alpha(alpha), unit)).ok_or_else(wrong)
}

/// Splits off the pairs that begin at the first `,KEY=`. Other commas are part of a value.
fn split_options(text: &str) -> (&str, Vec<(&str, &str)>) {
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
    let starts: Vec<usize> = text
        .match_indices(',')
        .map(|(at, _)| at)
        .filter(|at| text[at + 1..].split_once('=').is_some_and(|(key, _)| is_key(key)))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pair =
        |(start, end): (&usize, usize)| text[start + 1..end].split_once('=').expect("found with its sign");
    let head = starts.first().map_or(text, |at| &text[..*at]);
    (head, starts.iter().zip(ends).map(pair).collect())
}

fn is_file(text: &str) -> bool {
    Path::new(text).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_begin_at_the_first_key() {
        let check = |text: &str, head: &str, pairs: &[(&str, &str)]| {
            assert_eq!(split_options(text), (head, pairs.to_vec()), "{text}");
        };
        check("v:0.5@8,10", "v:0.5@8,10", &[]);
        check("v:0.5@8,10,op=cap,lo=-1", "v:0.5@8,10", &[("op", "cap"), ("lo", "-1")]);
        check("v,tokens=a,b|c=d,scope=answer", "v", &[("tokens", "a,b|c=d"), ("scope", "answer")]);
        check("a,b/v,gate=c,gate.above=1", "a,b/v", &[("gate", "c"), ("gate.above", "1")]);
    }

    #[test]
    fn vector_alpha_and_layers_are_taken_apart_from_the_right() {
        let check = |text: &str, vector: &str, amount: Option<Amount>, layers: Option<&str>| {
            let layers = layers.map(|layers| layers.parse().unwrap());
            let want = SteerSpec { amount, layers, ..SteerSpec::new(vector) };
            assert_eq!(text.parse(), Ok(want), "{text}");
        };
        let (alpha, nats) = (|x| Some(Amount::Alpha(x)), |x| Some(Amount::Nats(x)));
        check("v.safetensors", "v.safetensors", None, None);
        check("v.safetensors:0.3", "v.safetensors", alpha(0.3), None);
        check("v.safetensors:-0.5@8-11", "v.safetensors", alpha(-0.5), Some("8-11"));
        check("v.safetensors@-1", "v.safetensors", None, Some("-1"));
        check("v.safetensors@8,10", "v.safetensors", None, Some("8,10"));
        check("a:b/v.safetensors:1", "a:b/v.safetensors", alpha(1.0), None);
        check("a@b/v.safetensors", "a@b/v.safetensors", None, None);
        check("v.safetensors:0.1nat", "v.safetensors", nats(0.1), None);
        check("v:-2nats@8-11", "v", nats(-2.0), Some("8-11"));
        check("a:b@c/v:1nat@8", "a:b@c/v", nats(1.0), Some("8"));
    }

    #[test]
    fn an_alpha_may_carry_its_unit() {
        let check = |text: &str, alpha: f64, unit: Unit| {
            let want =
                SteerSpec { amount: Some(Amount::Alpha(alpha)), unit: Some(unit), ..SteerSpec::new("v") };
            assert_eq!(text.parse(), Ok(want), "{text}");
        };
        check("v:0.5gap", 0.5, Unit::Gap);
        check("v:-1e-1rms", -0.1, Unit::Rms);
        check("v:2unit", 2.0, Unit::Unit);
    }

    #[test]
    fn a_file_that_exists_is_a_file_whatever_it_looks_like() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["a@1", "b:0.5", "c,op=cap", "d:x", "e@x"] {
            std::fs::write(at(name), "").unwrap();
            assert_eq!(at(name).parse(), Ok(SteerSpec::new(at(name))), "{name}");
        }
        let check = |text: &str, name: &str, alpha: f64| {
            let want = SteerSpec { amount: Some(Amount::Alpha(alpha)), ..SteerSpec::new(at(name)) };
            assert_eq!(at(text).parse(), Ok(want), "{text}");
        };
        check("e@x:2", "e@x", 2.0);
        check("d:x:2", "d:x", 2.0);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let check = |text: &str, field: &str, part: &str| {
            let error = text.parse::<SteerSpec>().unwrap_err();
            assert!(error.field == field && error.reason.contains(part), "{text}: {error:?}");
        };
        for text in
            ["v:nan", "v:-inf@1", "v:x", "v:", "v:nat", "v:nannat", "v:infnats", "v:rms", "v:x,op=cap"]
        {
            check(text, "alpha", "is not a finite number");
        }
        check("v:1@y", "layers", "`y` does not name layers");
        check("v@", "layers", "`` does not name layers");
        check("v:1,alpha=2", "alpha", "is given twice");
        check("v:1nat,alpha=2", "nats", "give one of them");
        check("v:1rms,unit=gap", "unit", "is given twice");
        check("v,vector=w", "vector", "is given twice");
        check("v,op=x", "op", "operators:");
        check("", "vector", "is missing");
        check(":1", "vector", "is missing");
    }
}
