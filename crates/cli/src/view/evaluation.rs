//! What an evaluation found: measures by alpha, the answers that some of them come from, as a table and as JSON.

use crate::terminal::{Tone, paint, printable};
use serde_json::{Value, json};
use whipstaff_report::percent;
use whipstaff_steering::{Answer, Rating, ShiftEstimate, estimate_shift};

/// All that was measured.
pub struct Evaluation {
    pub model: String,
    /// What steers, in words; none without a vector.
    pub steered_by: Option<String>,
    /// The first is 0, the unsteered model.
    pub alphas: Vec<f64>,
    pub measures: Vec<Measure>,
    /// The answers, if questions were asked.
    pub answers: Option<Answers>,
    /// What random numbers came from.
    pub seed: u64,
}

/// One quantity at every alpha.
pub struct Measure {
    /// What it was measured on: measures of one thing stand together.
    pub of: String,
    pub name: String,
    pub form: Form,
    /// One per alpha.
    pub cells: Vec<Cell>,
}

/// How a number is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Three digits behind the point.
    Fine,
    /// Two.
    Number,
    /// One.
    Score,
    /// In hundredths.
    Percent,
}

/// A quantity at one alpha.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number for all of it.
    Whole(f64),
    /// A mean over items, with intervals.
    Mean(ShiftEstimate),
    /// There is none.
    Nothing,
}

impl Measure {
    /// A quantity of the same items at every alpha, the first of which is the unsteered model.
    pub fn over_items(of: &str, name: &str, form: Form, items: &[Vec<Option<f64>>], seed: u64) -> Measure {
        let cell =
            |it: &Vec<Option<f64>>| estimate_shift(&items[0], it, seed).map_or(Cell::Nothing, Cell::Mean);
        Measure { of: of.into(), name: name.into(), form, cells: items.iter().map(cell).collect() }
    }

    /// A quantity of the whole at every alpha.
    pub fn of_whole(of: &str, name: &str, form: Form, values: &[f64]) -> Measure {
        let cell = |it: &f64| if it.is_finite() { Cell::Whole(*it) } else { Cell::Nothing };
        Measure { of: of.into(), name: name.into(), form, cells: values.iter().map(cell).collect() }
    }
}

/// Questions, their answers at every alpha, and what was made of them.
pub struct Answers {
    pub prompts: Vec<String>,
    /// `[alphas][prompts]`.
    pub answers: Vec<Vec<Answer>>,
    /// What the classifier says of each: is it positive, negative, or neither?
    pub sides: Option<Vec<Vec<Option<bool>>>>,
    /// By rubric.
    pub ratings: Vec<Rated>,
}

/// The name of a rubric, and the ratings `[alphas][prompts]`.
pub type Rated = (String, Vec<Vec<Rating>>);

/// Columns of a number.
const COLUMN: usize = 11;

impl Evaluation {
    /// For people: a row per measure, a column per alpha.
    pub fn table(&self) -> String {
        let widest = self.measures.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
        let name_column = widest.max(20) + 4;
        let mut text = match &self.steered_by {
            Some(words) => format!("{} · {}\n", printable(&self.model), printable(words)),
            None => format!("{} · unsteered\n", printable(&self.model)),
        };
        let head = |alpha: &f64| {
            format!("{:>COLUMN$}", if *alpha == 0.0 { "0".into() } else { format!("{alpha:+}") })
        };
        text +=
            &format!("\n{:name_column$}{}\n", "  alpha", self.alphas.iter().map(head).collect::<String>());
        let mut of = None;
        for it in &self.measures {
            if of != Some(&it.of) {
                text += &format!("{}\n", paint(Tone::Heading, &printable(&it.of)));
                of = Some(&it.of);
            }
            let cells = it.cells.iter().map(|cell| cell_text(cell, it.form)).collect::<String>();
            text += format!("{:name_column$}{cells}", format!("  {}", printable(&it.name))).trim_end();
            text += "\n";
        }
        let marked = self.measures.iter().flat_map(|it| &it.cells).any(is_beyond_chance);
        if marked {
            text += "\n*: differs from the unsteered model by more than chance: the 95 % interval of the mean difference \
                     over the same items leaves out zero\n";
        }
        text
    }

    /// The same for programs, with every answer.
    pub fn to_json(&self) -> Value {
        json!({
            "model": self.model, "steered_by": self.steered_by, "alphas": self.alphas, "seed": self.seed,
            "measures": self.measures.iter().map(|it| measure_json(it, &self.alphas)).collect::<Vec<_>>(),
            "answers": self.answers.as_ref().map(|it| it.to_json(&self.alphas)),
        })
    }
}

fn cell_text(cell: &Cell, form: Form) -> String {
    let mark = if is_beyond_chance(cell) { "*" } else { " " };
    match cell {
        Cell::Whole(x) => format!("{:>COLUMN$}", format!("{} ", form.write(*x))),
        Cell::Mean(it) => format!("{:>COLUMN$}", format!("{}{mark}", form.write(it.mean))),
        Cell::Nothing => format!("{:>COLUMN$}", "- "),
    }
}

impl Form {
    fn write(self, x: f64) -> String {
        match self {
            Form::Fine => format!("{x:.3}"),
            Form::Number => format!("{x:.2}"),
            Form::Score => format!("{x:.1}"),
            Form::Percent => percent(x),
        }
    }
}

/// Does the interval of the shift leave out zero?
fn is_beyond_chance(cell: &Cell) -> bool {
    match cell {
        Cell::Mean(ShiftEstimate { shift_interval: Some([low, high]), .. }) => *low > 0.0 || *high < 0.0,
        _ => false,
    }
}

fn measure_json(it: &Measure, alphas: &[f64]) -> Value {
    let value = |(alpha, cell): (&f64, &Cell)| match cell {
        Cell::Whole(value) => json!({"alpha": alpha, "value": value}),
        Cell::Mean(it) => json!({
            "alpha": alpha, "value": it.mean, "n": it.n, "interval": it.interval, "shift": it.shift,
            "shift_interval": it.shift_interval,
        }),
        Cell::Nothing => json!({"alpha": alpha, "value": null}),
    };
    let values: Vec<Value> = alphas.iter().zip(&it.cells).map(value).collect();
    json!({"of": it.of, "name": it.name, "values": values})
}

impl Answers {
    fn to_json(&self, alphas: &[f64]) -> Value {
        let one = |a: usize, p: usize| {
            let answer = &self.answers[a][p];
            let rated = |(name, ratings): &Rated| (name.clone(), rating_json(ratings[a][p]));
            json!({
                "alpha": alphas[a], "prompt": self.prompts[p], "text": answer.text,
                "classified": self.sides.as_ref().map(|it| side_json(it[a][p])),
                "ratings": self.ratings.iter().map(rated).collect::<serde_json::Map<_, _>>(),
            })
        };
        let n = self.prompts.len();
        (0..alphas.len()).flat_map(|a| (0..n).map(move |p| one(a, p))).collect()
    }
}

fn side_json(side: Option<bool>) -> &'static str {
    match side {
        Some(true) => "positive",
        Some(false) => "negative",
        None => "neither",
    }
}

fn rating_json(rating: Rating) -> Value {
    match rating {
        Rating::Weighted { score, mass } => json!({"score": score, "mass": mass}),
        Rating::Said(score) => json!({"score": score}),
        Rating::Refused => json!({"score": null, "why": "refused"}),
        Rating::Unusable => json!({"score": null, "why": "no number"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> Evaluation {
        let items =
            |shift: f64| (0..20).map(|i| Some(0.4 + 0.002 * f64::from(i) + shift)).collect::<Vec<_>>();
        Evaluation {
            model: "m\u{1b}[31m".into(),
            steered_by: Some("`v` at layers 1-2".into()),
            alphas: vec![0.0, -1.0, 1.0],
            measures: vec![
                Measure::over_items(
                    "c (20 questions)",
                    "p(matching)",
                    Form::Fine,
                    &[items(0.0), items(0.0), items(0.1)],
                    0,
                ),
                Measure::of_whole("t.txt", "perplexity", Form::Number, &[12.5, f64::INFINITY, 13.0]),
                Measure::over_items(
                    "judge",
                    "evil",
                    Form::Score,
                    &[vec![Some(1.0)], vec![None], vec![Some(50.0)]],
                    0,
                ),
            ],
            answers: None,
            seed: 0,
        }
    }

    #[test]
    fn a_table_has_a_row_per_measure_and_a_column_per_alpha() {
        let want = "m\u{fffd}[31m · `v` at layers 1-2\n\n\
            \x20 alpha                           0         -1         +1\n\
            c (20 questions)\n\
            \x20 p(matching)                0.419      0.419      0.519*\n\
            t.txt\n\
            \x20 perplexity                 12.50          -      13.00\n\
            judge\n\
            \x20 evil                         1.0          -       50.0\n\
            \n*: differs";
        let got = evaluation().table();
        assert!(got.starts_with(want), "{got}");
    }

    #[test]
    fn what_cannot_be_said_is_null() {
        let json = evaluation().to_json();
        let value =
            |measure: usize, alpha: usize| json["measures"][measure]["values"][alpha]["value"].clone();
        assert_eq!([value(1, 1), value(2, 1)], [Value::Null, Value::Null]);
        assert_eq!(value(1, 0), 12.5);
        assert!(json["measures"][0]["values"][2]["shift"].as_f64().unwrap() > 0.09);
        assert_eq!(json["answers"], Value::Null);
    }
}
