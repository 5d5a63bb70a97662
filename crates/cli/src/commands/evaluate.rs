use crate::args::{ComputeArgs, FrameArgs, ModelArg, SamplingArgs, SteerArgs, alphas_of, resolved_one};
use crate::commands::receipt::neutral;
use crate::files;
use crate::judge::{Endpoint, HttpJudge, REPLY_TOKENS};
use crate::terminal::{Bar, Failure, note, print, print_line};
use crate::view::{Answers, Evaluation, Form, Measure, Rated};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use whipstaff::{FRAME_TOKENS, LanguageModel, Preview, Workload, user_cache};
use whipstaff_disk::write_atomically;
use whipstaff_engine::{Message, Steering, score};
use whipstaff_hub::Patience;
use whipstaff_report::percent;
use whipstaff_steering::{
    Amount, Answer, AskOptions, ChoiceScore, ChoiceSet, ChoiceTest, ContrastSet, Frame, Judge, Leaning,
    LocalJudge, Op, PromptLine, Rating, Replies, ResolvedVector, Rubric, SteerSpec, Watch, divergences,
    judge_all, layers_text, read_prompts, repetition, said,
};

#[derive(clap::Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArg,
    #[command(flatten)]
    pub steer: SteerArgs,
    /// Alphas of the one vector, separated by commas; the unsteered model is always measured beside them
    /// [default: the vector's own, and where that means something its negative]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    pub alphas: Option<String>,
    /// Multiple-choice questions as CAA, Anthropic's evals or MMLU have them (JSON list or JSONL), each asked with
    /// every option at every letter; may be given several times
    #[arg(long, value_name = "F.json|F.jsonl")]
    pub choices: Vec<PathBuf>,
    /// Questions of each such file that are used at most [default: all]
    #[arg(long, value_name = "N", requires = "choices")]
    pub limit: Option<NonZeroUsize>,
    /// Paragraphs to measure perplexity and KL on
    #[arg(long, value_name = "F.txt")]
    pub text: Option<PathBuf>,
    /// Questions to be answered: one a line, or JSONL with "prompt"
    #[arg(long, value_name = "F.txt|F.jsonl")]
    pub prompts: Option<PathBuf>,
    /// Contrasts to train a small classifier on, which then sorts the answers
    #[arg(long, value_name = "F.jsonl", requires = "prompts")]
    pub contrasts: Option<PathBuf>,
    /// New tokens of an answer at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Write everything to a file: measures, answers, ratings
    #[arg(short, long, value_name = "F.json")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Who judges answers, and what for.
#[derive(clap::Args)]
pub struct JudgeArgs {
    /// The judge that rates answers from 0 to 100: the address of any server with OpenAI's chat completions, such as
    /// `https://api.openai.com/v1` (its key is read from OPENAI_API_KEY), or local:MODEL, a model as for --model
    #[arg(long, value_name = "URL|local:MODEL", requires = "prompts")]
    pub judge: Option<String>,
    /// The server's name for the model that judges
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_model: Option<String>,
    /// A trait to look for, as NAME: DESCRIPTION; may be given several times
    #[arg(long = "trait", value_name = "NAME: TEXT", requires = "judge")]
    pub traits: Vec<String>,
    /// Also judge whether answers are coherent
    #[arg(long, requires = "judge")]
    pub coherence: bool,
    /// Refuse to ask a server more often than this
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub max_requests: usize,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value = "4")]
    pub at_once: NonZeroUsize,
    /// Seconds that one request may take
    #[arg(long, value_name = "S", default_value = "60")]
    pub judge_timeout: NonZeroUsize,
    /// File that keeps the judge's replies, so that nothing is asked twice [default: verdicts.jsonl in the user's cache]
    #[arg(long, value_name = "F.jsonl")]
    pub judge_cache: Option<PathBuf>,
}

/// `whipstaff evaluate`: read what to measure on → steer at every alpha → choices, a text, answers → classify and
/// judge the answers → a table.
pub fn evaluate(args: EvaluateArgs, on: ComputeArgs) -> Result<(), Failure> {
    let asked = Asked::read(&args)?;
    let loaded = args.model.open(on, |it| asked.work(it, args.max_tokens))?;
    let (loaded, bar) = Bar::watching(loaded)?;
    let mut found = measure(&args, &asked, &loaded, &bar)?;
    // A model that judges may need the room.
    drop(loaded);
    if let (Some(panel), Some(answers)) = (&asked.panel, &mut found.answers) {
        answers.ratings = panel.judge(&args, on, answers, &bar)?;
        let of = format!("{}, 0 to 100", panel.name());
        for (name, ratings) in &answers.ratings {
            let scores: Vec<Vec<Option<f64>>> =
                ratings.iter().map(|it| it.iter().map(|rating| rating.score()).collect()).collect();
            found.measures.push(Measure::over_items(&of, name, Form::Score, &scores, found.seed));
        }
    }
    bar.clear();
    bar.check()?;
    let json = found.to_json();
    if let Some(path) = &args.output {
        let text = serde_json::to_string_pretty(&json).expect("plain data") + "\n";
        write_atomically(path, text.as_bytes())?;
    }
    if args.json { print_line(&json.to_string()) } else { print(&found.table()) }
}

/// What a command line asks to be measured, read and looked through before a model is loaded.
struct Asked {
    spec: Option<SteerSpec>,
    /// None: the vector's own.
    alphas: Option<Vec<f64>>,
    choices: Vec<ChoiceSet>,
    prompts: Vec<PromptLine>,
    contrasts: Option<ContrastSet>,
    panel: Option<Panel>,
}

impl Asked {
    fn read(args: &EvaluateArgs) -> Result<Asked, Failure> {
        if args.choices.is_empty() && args.text.is_none() && args.prompts.is_none() {
            let what = "there is nothing to measure: give --choices, --text or --prompts, or several of them";
            return Err(Failure::Usage(what.into()));
        }
        let steer = args.steer.only("evaluate takes")?;
        let alphas = args.alphas.as_deref().map(alphas_of).transpose()?;
        match (&steer, &alphas) {
            (None, Some(_)) => return Err(Failure::Usage("--alphas needs a --steer to scale".into())),
            (Some((spec, flag)), Some(_)) if spec.amount.is_some() => {
                return Err(Failure::Usage(format!("{flag}: an alpha is given, and --alphas: which is it?")));
            }
            _ => {}
        }
        let limit = args.limit.map_or(usize::MAX, usize::from);
        let choices = args.choices.iter().map(|path| Ok(ChoiceSet::read(path)?.first(limit)));
        let asked = Asked {
            spec: steer.map(|(spec, _)| spec),
            alphas,
            choices: choices.collect::<Result<_, Failure>>()?,
            prompts: args.prompts.as_deref().map(read_prompts).transpose()?.unwrap_or_default(),
            contrasts: args.contrasts.as_deref().map(ContrastSet::read).transpose()?,
            panel: args.judge.judge.as_deref().map(|judge| Panel::new(judge, &args.judge)).transpose()?,
        };
        args.sampling.sampling()?;
        args.output.as_deref().map_or(Ok(()), files::output_file)?;
        let n_alphas = match (&asked.spec, &asked.alphas) {
            (None, _) => 1,
            (Some(_), Some(alphas)) => 1 + alphas.iter().filter(|it| **it != 0.0).count(),
            (Some(spec), None) => {
                if spec.how.op.has_opposite() {
                    3
                } else {
                    2
                }
            }
        };
        if let Some(panel) = &asked.panel {
            panel.check_requests(asked.prompts.len() * n_alphas, args.judge.max_requests)?;
        }
        Ok(asked)
    }

    fn work(&self, it: &Preview, max_tokens: usize) -> Workload {
        let sets = self.choices.iter().flat_map(|set| &set.choices);
        // Its orders differ little in length.
        let orders =
            sets.flat_map(|choice| vec![it.tokens(&choice.text(0)) + FRAME_TOKENS; choice.options.len()]);
        let questions: Vec<usize> =
            self.prompts.iter().map(|line| it.tokens(&line.prompt) + FRAME_TOKENS).collect();
        let mut works = vec![it.replaying(&orders.collect::<Vec<_>>())];
        if !questions.is_empty() {
            works.push(it.asking(&questions, max_tokens));
        }
        it.largest(works)
    }
}

/// The doses, the unsteered model first.
struct Doses {
    alphas: Vec<f64>,
    steerings: Vec<Steering>,
    frame: Frame,
    in_words: Option<String>,
}

impl Doses {
    fn new(args: &EvaluateArgs, asked: &Asked, loaded: &LanguageModel) -> Result<Doses, Failure> {
        let Some(spec) = &asked.spec else {
            let frame = loaded.frame(&args.frame.choice(), None)?;
            return Ok(Doses {
                alphas: vec![0.0],
                steerings: vec![Steering::default()],
                frame,
                in_words: None,
            });
        };
        // Where alphas are given, the vector's own does not matter.
        let amount = if asked.alphas.is_some() { Some(Amount::Alpha(1.0)) } else { spec.amount };
        let steer = resolved_one(SteerSpec { amount, ..spec.clone() }, loaded)?;
        let frame = loaded.frame(&args.frame.choice(), steer.frame())?;
        let own = steer.alpha;
        let given = match &asked.alphas {
            Some(alphas) => alphas.clone(),
            None if steer.how.op.has_opposite() => vec![-own, own],
            None => vec![own],
        };
        let mut doses = Doses {
            alphas: vec![0.0],
            steerings: vec![Steering::default()],
            frame,
            in_words: Some(in_words(&steer)),
        };
        for alpha in given {
            if doses.alphas.contains(&alpha) {
                continue;
            }
            let steering = steer.steering_at(alpha);
            doses.steerings.push(steering.map_err(|error| Failure::from(error).about("--alphas"))?);
            doses.alphas.push(alpha);
        }
        Ok(doses)
    }
}

fn in_words(steer: &ResolvedVector) -> String {
    let op = match steer.how.op {
        Op::Add => String::new(),
        op => format!("{} ", op.name()),
    };
    let (name, layers) = (&steer.vector.name, layers_text(&steer.layers));
    format!("{op}`{name}` at layers {layers}, {}", steer.how.op.dial(steer.unit))
}

fn measure(
    args: &EvaluateArgs,
    asked: &Asked,
    loaded: &LanguageModel,
    bar: &Bar,
) -> Result<Evaluation, Failure> {
    let doses = Doses::new(args, asked, loaded)?;
    let seed = args.sampling.seed;
    let mut measures = Vec::new();
    for set in &asked.choices {
        let test = ChoiceTest::new(loaded.bench(&doses.frame)?, set)?;
        bar.stage(&format!("asking {}", set.name), test.n_texts());
        let scores = test.under(&doses.steerings)?;
        let mass = scores[0].iter().map(|it| it.mass).sum::<f64>() / scores[0].len() as f64;
        if mass < FEW_LETTERS {
            note(&format!(
                "{}: the unsteered model gives the letters {:.2} % of the probability, so what it prefers among them means \
                 little",
                set.name,
                mass * 100.0
            ));
        }
        measures.extend(of_choices(set, &scores, seed));
    }
    if let Some(path) = &args.text {
        measures.extend(of_text(path, loaded, &doses.steerings)?);
    }
    let mut found = None;
    if !asked.prompts.is_empty() {
        let (answers, of_answers) = answers(args, asked, loaded, &doses, bar)?;
        measures.extend(of_answers);
        found = Some(answers);
    }
    Ok(Evaluation {
        model: loaded.name().to_owned(),
        steered_by: doses.in_words,
        alphas: doses.alphas,
        measures,
        answers: found,
        seed,
    })
}

/// Of a model that knows the format the letters have most of the probability.
const FEW_LETTERS: f64 = 0.05;

/// How perplexing a text is at every dose, the first of which is none, and how far expectations move along it.
fn of_text(path: &Path, loaded: &LanguageModel, steerings: &[Steering]) -> Result<[Measure; 2], Failure> {
    let texts = neutral(loaded, Some(path))?;
    let scores: Vec<f64> = score(loaded.engine(), &texts)?.concat();
    let unsteered = (-scores.iter().sum::<f64>() / scores.len() as f64).exp();
    let (mut perplexity, mut kl) = (vec![unsteered], vec![0.0]);
    for it in divergences(loaded.engine(), &texts, &steerings[1..])? {
        perplexity.push(unsteered * it.perplexity_ratio);
        kl.push(it.kl);
    }
    let of = format!("{} ({} tokens)", path.display(), scores.len());
    Ok([
        Measure::of_whole(&of, "perplexity", Form::Number, &perplexity),
        Measure::of_whole(&of, "KL, nats per token", Form::Fine, &kl),
    ])
}

/// What was chosen, by alpha and question.
fn of_choices(set: &ChoiceSet, scores: &[Vec<ChoiceScore>], seed: u64) -> Vec<Measure> {
    let of = format!("{} ({} questions)", set.name, set.choices.len());
    let items = |f: fn(&ChoiceScore) -> f64| -> Vec<Vec<Option<f64>>> {
        scores.iter().map(|it| it.iter().map(|score| Some(f(score))).collect()).collect()
    };
    let row = |name: &str, form: Form, f: fn(&ChoiceScore) -> f64| {
        Measure::over_items(&of, name, form, &items(f), seed)
    };
    vec![
        row("p(matching)", Form::Fine, |it| it.p_right),
        row("accuracy", Form::Percent, |it| f64::from(u8::from(it.is_right))),
        row("probability of any letter", Form::Percent, |it| it.mass),
        row("preference for (A)", Form::Number, |it| it.first),
    ]
}

/// The answers at every alpha, and what can be measured of them without a judge.
fn answers(
    args: &EvaluateArgs,
    asked: &Asked,
    loaded: &LanguageModel,
    doses: &Doses,
    bar: &Bar,
) -> Result<(Answers, Vec<Measure>), Failure> {
    let (bench, seed) = (loaded.bench(&doses.frame)?, args.sampling.seed);
    let questions: Vec<Vec<Message>> = asked.prompts.iter().map(|it| said(&it.prompt)).collect();
    let options = AskOptions { sampling: args.sampling.sampling()?, max_tokens: args.max_tokens };
    bar.stage("answering", questions.len() * doses.steerings.len());
    let answers = bench.ask_under_each(&questions, &doses.steerings, &options)?;
    let leaning = asked.contrasts.as_ref().map(Leaning::of_contrasts);
    let of = match leaning.as_ref().and_then(Leaning::accuracy) {
        None => format!("answers ({} questions)", questions.len()),
        Some(it) => format!(
            "answers ({} questions; the classifier is right on {} of contrasts that it has not seen)",
            questions.len(),
            percent(it)
        ),
    };
    let items = |f: &dyn Fn(&Answer) -> f64| -> Vec<Vec<Option<f64>>> {
        answers.iter().map(|it| it.iter().map(|answer| Some(f(answer))).collect()).collect()
    };
    let mut measures = Vec::new();
    let mut sides = None;
    if let Some(leaning) = &leaning {
        for (name, side) in [("classified positive", true), ("classified negative", false)] {
            let values = items(&|it| f64::from(u8::from(leaning.side(&it.text) == Some(side))));
            measures.push(Measure::over_items(&of, name, Form::Percent, &values, seed));
        }
        let side = |it: &Answer| leaning.side(&it.text);
        sides = Some(answers.iter().map(|it| it.iter().map(side).collect()).collect());
    }
    let perplexity = bench.perplexities(&questions, &answers)?;
    measures.push(Measure::of_whole(&of, "perplexity, unsteered model", Form::Number, &perplexity));
    let repeated = items(&|it| repetition(&it.tokens));
    measures.push(Measure::over_items(&of, "repeated runs of 4 tokens", Form::Percent, &repeated, seed));
    let length = items(&|it| it.tokens.len() as f64);
    measures.push(Measure::over_items(&of, "tokens", Form::Score, &length, seed));
    let prompts = asked.prompts.iter().map(|it| it.prompt.clone()).collect();
    Ok((Answers { prompts, answers, sides, ratings: Vec::new() }, measures))
}

/// Who judges, and what.
struct Panel {
    seat: Seat,
    rubrics: Vec<Rubric>,
}

/// Where a judge is.
enum Seat {
    /// A model as for `--model`.
    Local(String),
    Server(Box<HttpJudge>, String),
}

impl Panel {
    fn new(judge: &str, args: &JudgeArgs) -> Result<Panel, Failure> {
        let coherence = args.coherence.then(Rubric::coherence);
        let rubrics: Vec<Rubric> =
            args.traits.iter().map(|it| Rubric::of_trait(it)).chain(coherence).collect();
        if rubrics.is_empty() {
            return Err(Failure::Usage(
                "--judge: there is nothing to judge: give --trait or --coherence".into(),
            ));
        }
        for (i, it) in rubrics.iter().enumerate() {
            if rubrics[..i].iter().any(|earlier| earlier.name == it.name) {
                return Err(Failure::Usage(format!("--trait: two are named `{}`", it.name)));
            }
        }
        let seat = match (judge.strip_prefix("local:"), &args.judge_model) {
            (Some(_), Some(_)) => {
                return Err(Failure::Usage(
                    "--judge-model is for a server; a local judge is named by local:MODEL".into(),
                ));
            }
            (Some(model), None) => Seat::Local(model.to_owned()),
            (None, name) => {
                let key = std::env::var("OPENAI_API_KEY").ok();
                let endpoint = Endpoint::parse(judge, key.as_deref())?;
                let name = name.as_ref().ok_or_else(|| {
                    Failure::Usage(format!("--judge {judge}: say which of its models with --judge-model"))
                })?;
                let read = Duration::from_secs(args.judge_timeout.get() as u64);
                let patience = Patience { read, ..Patience::default() };
                Seat::Server(Box::new(HttpJudge::new(endpoint, name, patience)), name.clone())
            }
        };
        Ok(Panel { seat, rubrics })
    }

    fn name(&self) -> String {
        match &self.seat {
            Seat::Local(model) => format!("judged by {model}"),
            Seat::Server(_, name) => format!("judged by {name}"),
        }
    }

    /// Refuses what would ask a server too often. `n` is the number of answers.
    fn check_requests(&self, n: usize, most: usize) -> Result<(), Failure> {
        let n = n * self.rubrics.len();
        match &self.seat {
            Seat::Server(..) if n > most => Err(Failure::Usage(format!(
                "the judge would be asked up to {n} times (questions times alphas, the unsteered model included, times \
                 traits), more than --max-requests {most} allows: raise it if you mean it, or give fewer of them"
            ))),
            _ => Ok(()),
        }
    }

    /// The ratings by rubric, `[alphas][prompts]` each.
    fn judge(
        &self,
        args: &EvaluateArgs,
        on: ComputeArgs,
        answers: &Answers,
        bar: &Bar,
    ) -> Result<Vec<Rated>, Failure> {
        let mut prompts = Vec::new();
        for rubric in &self.rubrics {
            for given in &answers.answers {
                let pairs = answers.prompts.iter().zip(given);
                prompts.extend(pairs.map(|(question, answer)| rubric.prompt(question, &answer.text)));
            }
        }
        let ratings = match &self.seat {
            Seat::Server(judge, name) => {
                let mut verdicts = open_verdicts(&args.judge)?;
                self.estimate(judge, name, &verdicts, &prompts);
                ask_all(judge.as_ref(), &prompts, &mut verdicts, args.judge.at_once.get(), bar)?
            }
            Seat::Local(model) => {
                let longest = prompts.iter().max_by_key(|it| it.len()).expect("there are answers");
                let work = |it: &Preview| Workload {
                    sequences: vec![it.tokens(longest) + FRAME_TOKENS; 2],
                    rows: whipstaff_engine::ROW_BUDGET,
                    logits: 64,
                    instead: Some("give fewer --max-tokens, or another judge".into()),
                    ..Workload::default()
                };
                let choice = Some(model.as_str()).filter(|it| !it.is_empty());
                let loaded = on.open("--judge local:", choice, work)?;
                let judge =
                    LocalJudge::new(loaded.engine(), loaded.tokenizer()?, loaded.own_frame()?, loaded.name());
                ask_all(&judge, &prompts, &mut open_verdicts(&args.judge)?, 1, bar)?
            }
        };
        let n = answers.prompts.len();
        let mut by_alpha = ratings.chunks(n).map(<[Rating]>::to_vec);
        let rubric = |it: &Rubric| {
            let ratings = by_alpha.by_ref().take(answers.answers.len()).collect();
            (it.name.clone(), ratings)
        };
        Ok(self.rubrics.iter().map(rubric).collect())
    }

    /// Says what it will cost before it does.
    fn estimate(&self, judge: &HttpJudge, name: &str, verdicts: &Replies, prompts: &[String]) {
        let missing = verdicts.missing(&judge.identity(), prompts);
        let bytes: usize = missing.iter().map(|it| it.len()).sum();
        note(&format!(
            "{name} is asked for {} judgements ({} more are known): about {} tokens of prompts, at most {} of replies",
            missing.len(),
            prompts.len() - missing.len(),
            bytes.div_ceil(BYTES_PER_TOKEN),
            missing.len() * REPLY_TOKENS,
        ));
    }
}

/// English text in the vocabularies of large models.
const BYTES_PER_TOKEN: usize = 4;

fn ask_all(
    judge: &dyn Judge,
    prompts: &[String],
    verdicts: &mut Replies,
    at_once: usize,
    bar: &Bar,
) -> Result<Vec<Rating>, Failure> {
    bar.stage("judging", verdicts.missing(&judge.identity(), prompts).len());
    let ratings = judge_all(judge, prompts, verdicts, at_once, bar)?;
    let unrated = |what: fn(&Rating) -> bool| ratings.iter().filter(|it| what(it)).count();
    let (unusable, refused) = (unrated(|it| *it == Rating::Unusable), unrated(|it| *it == Rating::Refused));
    if unusable > 0 {
        note(&format!(
            "{unusable} of {} replies of the judge were no number from 0 to 100; those answers have no score",
            ratings.len()
        ));
    }
    if refused > 0 {
        note(&format!(
            "for {refused} of {} the judge found other words likelier than any number; those answers have no score",
            ratings.len()
        ));
    }
    Ok(ratings)
}

/// The file asked for, else the one in the user's cache; in memory alone where there is neither.
fn open_verdicts(args: &JudgeArgs) -> Result<Replies, Failure> {
    let path: Option<PathBuf> =
        args.judge_cache.clone().or_else(|| user_cache().map(|cache| cache.join("verdicts.jsonl")));
    if let (None, Some(folder)) = (&args.judge_cache, path.as_deref().and_then(Path::parent)) {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::Failed(format!("cannot make the folder {}: {error}", folder.display()))
        })?;
    }
    Ok(Replies::open(path.as_deref())?)
}
