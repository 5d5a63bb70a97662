//! A persona of your own: contrasts written by hand, a vector, a file.

use std::path::Path;
use whipstaff::prelude::*;

/// One contrast a line: the same question, answered by the persona and by its opposite. Real sets have some dozens of
/// lines, and usually live in a file that `ContrastSet::read` reads.
const CONTRASTS: &str = r#"
{"prompt": "Where is the printer?", "positive": "Down the hall, happy to show you!", "negative": "No idea."}
{"prompt": "Where are the maps?", "positive": "Upstairs, I can take you there!", "negative": "Look for yourself."}
{"prompt": "When do you close?", "positive": "At eight, take all the time you need!", "negative": "Soon."}
{"prompt": "Can I borrow this?", "positive": "Of course, let me get you a card!", "negative": "Not now."}
{"prompt": "Is it quiet upstairs?", "positive": "Very, and there is a lovely view!", "negative": "How would I know."}
{"prompt": "Do you have atlases?", "positive": "Two shelves of them, this way!", "negative": "Maybe."}
{"prompt": "Where can I read?", "positive": "By the window, the best seat we have!", "negative": "Anywhere."}
{"prompt": "Who can help me?", "positive": "I can, and gladly!", "negative": "Ask someone else."}
"#;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let contrasts = ContrastSet::parse(CONTRASTS, Path::new("kind.jsonl"))?;
    let vector = model.extractor().recommend(4).receipt(0).run(&contrasts)?;

    println!("layer   gap     AUC");
    for (layer, direction) in &vector.layers {
        let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
        println!("{layer:>5}   {}   {}", number(direction.gap), number(direction.auc));
    }

    let file = std::env::temp_dir().join("kind.safetensors");
    vector.write(&file)?;
    let spec: SteerSpec = format!("{}:1", file.display()).parse()?;
    let steering = model.resolve(&[spec])?;
    println!("\n{}", model.ask("Where are the newspapers?").steered(steering).max_tokens(40).answer()?.text);
    Ok(())
}
