//! Memory, known before it is spent: what there is, what a command will take, and a refusal in numbers.

use crate::failure::Failure;
use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use whipstaff_engine::{Outline, ROW_BUDGET, Tokenizer};
use whipstaff_steering::{Contrast, ContrastSet, asked_together, passes};

/// How much may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// This share of what the machine or its control group has.
    Share(f64),
}

/// What a command will hold at once, besides the weights.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Tokens of each sequence that is held, for the cache.
    pub sequences: Vec<usize>,
    /// Rows of the largest pass; 0 runs nothing.
    pub rows: usize,
    /// Rows whose logits are held at once.
    pub logits: usize,
    /// Is what enters every block of a pass kept?
    pub replays: bool,
    /// Bytes of results.
    pub kept: u64,
    /// What could be asked for instead.
    pub instead: Option<String>,
}

/// What is at hand before a model is loaded.
pub struct Before<'a> {
    pub outline: &'a Outline,
    pub tokenizer: Option<&'a Tokenizer>,
}

/// Tokens that a frame puts around a text, at most.
pub const FRAME: usize = 32;

/// Where a block of the cache is shared, it is copied before it is written to.
const COPIED_BLOCK: usize = 32;

/// New tokens of a question that is asked while a dose is chosen, or by the demo.
const ASKED_TOKENS: usize = 64;

impl Before<'_> {
    /// Tokens of a text; without a tokenizer, no more than its bytes.
    pub fn tokens(&self, text: &str) -> usize {
        let ids = self.tokenizer.and_then(|it| it.encode(text).ok());
        ids.map_or(text.len(), |ids| ids.len())
    }

    /// Runs of `n` sequences from a prompt on.
    pub fn generation(&self, prompt: &str, n: usize, max_tokens: usize) -> Work {
        let prompt = self.tokens(prompt) + FRAME;
        let longest = prompt.saturating_add(max_tokens).min(self.outline.config().max_positions);
        Work {
            sequences: vec![longest; n],
            rows: (n * prompt).min(ROW_BUDGET),
            logits: n,
            instead: Some("give fewer --max-tokens".into()),
            ..Work::default()
        }
    }

    /// Texts of these lengths, run unsteered and, as many rows at a time, steered.
    pub fn replaying(&self, lens: &[usize]) -> Work {
        let rows = |pass: &Range<usize>| lens[pass.clone()].iter().sum::<usize>();
        let largest = passes(lens).into_iter().max_by_key(rows).unwrap_or_default();
        // Beside the texts themselves, a batch of copies: of short texts many, of long ones one.
        let copies = ROW_BUDGET.max(rows(&largest));
        let mut sequences = lens[largest].to_vec();
        sequences.push(copies + COPIED_BLOCK);
        let instead = Some("give shorter texts".into());
        Work { sequences, rows: copies, logits: 64, replays: true, kept: 0, instead }
    }

    /// Questions of these lengths asked side by side, for so many new tokens.
    pub fn asking(&self, questions: &[usize], max_tokens: usize) -> Work {
        let longest = questions.iter().max().map_or(0, |it| it.saturating_add(max_tokens));
        let longest = longest.min(self.outline.config().max_positions);
        let n = asked_together(self.outline.kv_bytes(longest) as usize);
        let instead = Some("give fewer --max-tokens".into());
        Work { sequences: vec![longest; n], rows: ROW_BUDGET, logits: n, instead, ..Work::default() }
    }

    /// The tokens of all that comes before an answer, each message in its frame.
    fn messages(&self, contrast: &Contrast) -> usize {
        contrast.messages.iter().map(|it| self.tokens(&it.content) + FRAME).sum()
    }

    /// A vector fitted on `set`, and its dose chosen on `heldout` (or a part of `set`) if `choose`.
    pub fn extraction(&self, set: &ContrastSet, heldout: Option<&ContrastSet>, choose: bool) -> Work {
        let instead = Some("give shorter or fewer contrasts, fewer --layers or --recommend 0".to_owned());
        let mut works = vec![self.fitting(&set.contrasts)];
        if choose {
            let contrasts = &heldout.unwrap_or(set).contrasts;
            works.push(self.margins(contrasts));
            let questions = contrasts.iter().map(|it| self.messages(it));
            works.push(self.asking(&questions.collect::<Vec<_>>(), ASKED_TOKENS));
        }
        Work { instead, ..self.largest(works) }
    }

    /// The work that takes most, of several done one after the other.
    pub fn largest(&self, works: impl IntoIterator<Item = Work>) -> Work {
        let total = |work: &Work| Estimate::new(self.outline, work).total();
        works.into_iter().max_by_key(total).unwrap_or_default()
    }

    /// The margins of contrasts, unsteered and steered.
    pub fn margins(&self, contrasts: &[Contrast]) -> Work {
        let lens = |it: &Contrast| {
            let prompt = self.messages(it);
            [prompt + self.tokens(&it.positive), prompt + self.tokens(&it.negative)]
        };
        self.replaying(&contrasts.iter().flat_map(lens).collect::<Vec<_>>())
    }

    /// The passes of an extraction: prompts, and two answers on each.
    fn fitting(&self, contrasts: &[Contrast]) -> Work {
        let mut most: (usize, Vec<usize>) = Default::default();
        let (mut pass, mut rows): ((usize, Vec<usize>), usize) = Default::default();
        for it in contrasts {
            let answers = [&it.positive, &it.negative].map(|text| self.tokens(text));
            let prompt = self.messages(it);
            if rows + answers[0] + answers[1] > ROW_BUDGET {
                (pass, rows) = Default::default();
            }
            rows += answers[0] + answers[1];
            let held = [prompt, answers[0] + COPIED_BLOCK, answers[1] + COPIED_BLOCK];
            pass.0 += held.iter().sum::<usize>();
            pass.1.extend(held);
            if pass.0 > most.0 {
                most = pass.clone();
            }
        }
        // A sum of doubles per answer and layer, and those of one layer as rows, twice.
        let config = self.outline.config();
        let sums = 2 * contrasts.len() * config.d_model * size_of::<f64>();
        let kept = (sums * (config.n_layers + 2)) as u64;
        Work { sequences: most.1, rows: ROW_BUDGET, kept, ..Work::default() }
    }
}

/// The parts of an estimate, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub weights: u64,
    pub cache: u64,
    /// Activations, logits and results.
    pub activations: u64,
    /// The program, its tokenizer, its stacks and what the allocator keeps.
    pub program: u64,
}

/// What the program takes on the smallest models, rounded up.
const PROGRAM: u64 = 32 << 20;

impl Estimate {
    pub fn new(outline: &Outline, work: &Work) -> Estimate {
        let rows = work.rows;
        let blocks = if work.replays { outline.config().n_layers + 2 } else { 0 };
        Estimate {
            weights: outline.weight_bytes(),
            cache: work.sequences.iter().map(|tokens| outline.kv_bytes(*tokens)).sum(),
            activations: outline.activation_bytes(rows)
                + outline.stream_bytes(rows) * blocks as u64
                + outline.logit_bytes(work.logits)
                + work.kept,
            program: PROGRAM + outline.tokenizer_bytes(),
        }
    }

    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations + self.program
    }
}

/// Refuses work that would take more than the limit.
pub fn check(name: &str, outline: &Outline, work: &Work, limit: Limit) -> Result<(), Failure> {
    check_against(name, outline, work, limit, machine(Path::new("/")))
}

fn check_against(
    name: &str,
    outline: &Outline,
    work: &Work,
    limit: Limit,
    machine: Option<Machine>,
) -> Result<(), Failure> {
    let Some((bytes, why)) = limit.resolve(machine) else { return Ok(()) };
    let estimate = Estimate::new(outline, work);
    if estimate.total() <= bytes {
        return Ok(());
    }
    let own = outline.weights().n_bytes() as u64;
    let smaller = outline.config().n_parameters() as u64 * 9 / 16; // Q4_K: 4.5 bits per weight
    let instead = match &work.instead {
        Some(instead) if estimate.weights + estimate.program < bytes => instead.clone(),
        _ if smaller < own * 3 / 4 => {
            format!("a Q4_K_M file of this model has about {}", Size(smaller))
        }
        _ => "use a smaller model".into(),
    };
    Err(Failure::Memory(format!(
        "{name} would take up to {} (weights {}, keys and values {}, activations and results {}, the program itself \
         {}), more than --max-memory allows: {} ({why}). {}{}; or raise --max-memory",
        Size(estimate.total()),
        Size(estimate.weights),
        Size(estimate.cache),
        Size(estimate.activations),
        Size(estimate.program),
        Size(bytes),
        instead[..1].to_uppercase(),
        &instead[1..],
    )))
}

impl Limit {
    /// The bytes, and where they come from; `None` if nobody knows what the machine has.
    pub fn bytes(self) -> Option<u64> {
        self.resolve(machine(Path::new("/"))).map(|(bytes, _)| bytes)
    }

    fn resolve(self, machine: Option<Machine>) -> Option<(u64, String)> {
        match self {
            Limit::Bytes(bytes) => Some((bytes, "as asked for".into())),
            Limit::Share(share) => {
                let Machine { bytes, what } = machine?;
                let why = format!("{} % of the {} of {what}", (share * 100.0).round(), Size(bytes));
                Some(((bytes as f64 * share) as u64, why))
            }
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    /// `8G`, `500M`, `80%`; G and M are powers of 1024, a plain number is bytes.
    fn from_str(text: &str) -> Result<Limit, String> {
        let wrong = || format!("`{text}` is no amount of memory: write 8G, 500M or 80%");
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
            _ => Err(wrong()),
        };
        if let Some(percent) = text.strip_suffix('%') {
            return match number(percent)? / 100.0 {
                share if share <= 1.0 => Ok(Limit::Share(share)),
                _ => Err(format!("`{text}` is more than there is: write 80%, or an amount such as 8G")),
            };
        }
        let plain = text.trim_end_matches(['B', 'b']).trim_end_matches('i');
        let unit = match plain.chars().last().map(|c| c.to_ascii_uppercase()) {
            Some('K') => 1 << 10,
            Some('M') => 1 << 20,
            Some('G') => 1u64 << 30,
            Some('T') => 1 << 40,
            _ => 1,
        };
        let digits = if unit == 1 { plain } else { &plain[..plain.len() - 1] };
        Ok(Limit::Bytes((number(digits)? * unit as f64) as u64))
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Bytes(bytes) => write!(f, "{bytes}"),
            Limit::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

/// Bytes for people: GB and MB are powers of 1000, as in the rest of the output.
pub struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 {
            n if n >= 1e9 => write!(f, "{:.2} GB", n / 1e9),
            n if n >= 1e6 => write!(f, "{:.1} MB", n / 1e6),
            n => write!(f, "{:.1} kB", n / 1e3),
        }
    }
}

/// How much memory there is, and whose.
#[derive(Clone, Debug, PartialEq)]
struct Machine {
    bytes: u64,
    what: &'static str,
}

/// The memory of the machine, or of the control group around this process where that is less. `root` is
/// `/`. `None` where the system does not say.
fn machine(root: &Path) -> Option<Machine> {
    let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    Some(match group_limit(root).filter(|limit| *limit < total) {
        Some(bytes) => Machine { bytes, what: "this control group" },
        None => Machine { bytes: total, what: "this machine" },
    })
}

/// The least limit of the process's control group and those around it, version 1 or 2.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next(), fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // Inside a container the path may be that of the host: then its root is the group's own folder.
        let mut folder = PathBuf::from(path.trim_start_matches('/'));
        loop {
            let file = root.join(mount).join(&folder).join(file);
            let limit = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
            least = [least, limit].into_iter().flatten().min();
            if !folder.pop() {
                break;
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_amounts_or_shares() {
        let check = |text: &str, want: Limit| assert_eq!(text.parse(), Ok(want), "{text}");
        check("8G", Limit::Bytes(8 << 30));
        check("8GiB", Limit::Bytes(8 << 30));
        check("500M", Limit::Bytes(500 << 20));
        check("1.5g", Limit::Bytes(3 << 29));
        check("4096", Limit::Bytes(4096));
        check("80%", Limit::Share(0.8));
        check("100%", Limit::Share(1.0));
        for text in ["", "G", "-1G", "0", "120%", "%", "nan", "8X", "inf"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    /// A machine of 1000 kB with these files.
    fn check_machine(files: &[(&str, &str)], bytes: u64, what: &str) {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in
            [&[("proc/meminfo", "MemFree: 1 kB\nMemTotal:       1000 kB\n")], files].concat()
        {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let found = machine(root.path()).unwrap();
        assert_eq!((found.bytes, found.what), (bytes, what), "{files:?}");
    }

    #[test]
    fn the_least_of_machine_and_control_groups_counts() {
        let (ours, group) = ("this machine", "this control group");
        check_machine(&[], 1_024_000, ours);
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        check_machine(&[v2, ("sys/fs/cgroup/a/b/memory.max", "max\n")], 1_024_000, ours);
        check_machine(&[v2, ("sys/fs/cgroup/a/b/memory.max", "5000\n")], 5000, group);
        check_machine(
            &[v2, ("sys/fs/cgroup/a/memory.max", "4000\n"), ("sys/fs/cgroup/a/b/memory.max", "5000\n")],
            4000,
            group,
        );
        // A container that sees its own group as the root.
        check_machine(&[v2, ("sys/fs/cgroup/memory.max", "3000\n")], 3000, group);
        let v1 = ("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/a\n0::/\n");
        check_machine(&[v1, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000\n")], 2000, group);
        check_machine(
            &[v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")],
            1_024_000,
            ours,
        );
        check_machine(&[v1, ("sys/fs/cgroup/cpu/x/memory.limit_in_bytes", "1\n")], 1_024_000, ours);
    }

    #[test]
    fn a_machine_that_does_not_say_has_no_limit_of_its_own() {
        assert_eq!(machine(Path::new("/nowhere")), None);
        assert_eq!(Limit::Share(0.8).resolve(None), None);
        assert_eq!(Limit::Bytes(7).resolve(None).unwrap().0, 7);
    }
}
