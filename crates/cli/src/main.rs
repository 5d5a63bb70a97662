//! `whipstaff`: steer a language model by adding persona vectors to its activations.

#![forbid(unsafe_code)]
#![allow(unreachable_pub)]
// a program has no outside: `pub` means "for the other modules"
// Doc comments on arguments are the help text of the program, not Markdown.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod args;
mod commands;
mod files;
mod judge;
mod terminal;
mod view;

use args::ComputeArgs;
use clap::{CommandFactory, Parser, Subcommand};
use commands::{
    CaptureArgs, CheckSteeringArgs, ComposeArgs, ConvertArgs, DemoArgs, EvaluateArgs, ExtractArgs,
    FigureArgs, GenerateArgs, ManArgs, MonitorArgs, QuantizeArgs, ReceiptArgs, ShowModelArgs, ShowVectorArgs,
    StudyArgs, SweepArgs, TokensArgs,
};
use std::process::ExitCode;
use terminal::{Failure, tell};

/// Steer a language model: extract a persona vector from contrasting answers, add it to the
/// activations while the model writes, and see what changes. The weights stay as they are.
///
/// Begin with `whipstaff demo`: it needs no model, no network and some seconds.
#[derive(Parser)]
#[command(name = "whipstaff", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    compute: ComputeArgs,
}

const AFTER_HELP: &str = "Examples:
  whipstaff demo
  whipstaff extract --model ./Llama-3.2-1B --contrasts librarian.jsonl -o librarian.safetensors
  whipstaff generate --model ./Llama-3.2-1B --steer librarian.safetensors --prompt 'Where is the printer?' --compare
  whipstaff figure --model ./Llama-3.2-1B --steer librarian.safetensors@all --alphas 0,0.1,0.2 --prompts questions.txt -o out

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad input file, 4 network or access,
5 not enough memory, 130 interrupted.
Environment: WHIPSTAFF_KERNELS=amx|avx512-bf16|avx512-vnni|avx512|avx2|i8mm|bf16|dotprod|neon|plain chooses the kernel set,
NO_COLOR turns colour off, CLICOLOR_FORCE turns it on. WHIPSTAFF_PACKS=FOLDER|off says where packed weights are kept for the
next start. Models of the hub: HF_HOME and HF_HUB_CACHE say where the cache is, HF_TOKEN is your access token,
HF_ENDPOINT is the hub's address; HF_HUB_OFFLINE=1 downloads nothing. OPENAI_API_KEY is for evaluate --judge.";

#[derive(Subcommand)]
enum Command {
    /// Try it offline: a vector, three answers side by side, a figure and a report
    Demo(DemoArgs),
    /// Make a persona vector from contrasts
    Extract(ExtractArgs),
    /// Measure whether a vector works better than chance, and what it costs
    Receipt(ReceiptArgs),
    /// Measure every layer and alpha (and method) on held-out contrasts, and pick a dose
    Sweep(SweepArgs),
    /// Compare methods, layers and prompting at equal cost, for a list of models and personas
    Study(StudyArgs),
    /// Measure how steering changes behaviour: choices, judged answers and side effects
    Evaluate(Box<EvaluateArgs>),
    /// Write text, steered or not
    Generate(GenerateArgs),
    /// Show where each token of a text or conversation stands on a vector
    Monitor(MonitorArgs),
    /// Draw how far steering turns the activations, per layer and alpha
    Figure(FigureArgs),
    /// Write activations to a safetensors file
    Capture(CaptureArgs),
    /// Make a small, fast .gguf file of a safetensors model
    Quantize(QuantizeArgs),
    /// Inspect a model
    #[command(subcommand)]
    Model(ModelCommand),
    /// Inspect, convert and combine vectors
    #[command(subcommand)]
    Vector(VectorCommand),
    /// Inspect the steering of a request
    #[command(subcommand)]
    Steering(SteeringCommand),
    /// Report what this machine offers, and which parts are used
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of a command, or write all of them to a folder
    Man(ManArgs),
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Print a model's family, shape and size
    Show(ShowModelArgs),
}

#[derive(Subcommand)]
enum VectorCommand {
    /// Print a vector's provenance and its statistics per layer
    Show(ShowVectorArgs),
    /// Convert a vector to a control vector for repeng and llama.cpp (.gguf), or back (.safetensors)
    Convert(ConvertArgs),
    /// Compare vectors, add them up to one, and measure whether they interfere
    Compose(ComposeArgs),
    /// Print the tokens that a vector pushes up and down, by the logit lens
    Tokens(TokensArgs),
}

#[derive(Subcommand)]
enum SteeringCommand {
    /// Read a steering file and its vectors, and describe in words what they will do
    Check(CheckSteeringArgs),
}

fn main() -> ExitCode {
    // clap prints its own errors and exits with 2, the code for wrong usage.
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let on = args.compute;
    match args.command {
        Command::Demo(args) => commands::demo(args, on),
        Command::Extract(args) => commands::extract(args, on),
        Command::Receipt(args) => commands::receipt(args, on),
        Command::Sweep(args) => commands::sweep(args, on),
        Command::Study(args) => commands::study(args, on),
        Command::Evaluate(args) => commands::evaluate(*args, on),
        Command::Generate(args) => commands::generate(args, on),
        Command::Monitor(args) => commands::monitor(args, on),
        Command::Figure(args) => commands::figure(args, on),
        Command::Capture(args) => commands::capture(args, on),
        Command::Quantize(args) => commands::quantize(args, on),
        Command::Model(ModelCommand::Show(args)) => commands::show_model(args, on),
        Command::Vector(VectorCommand::Show(args)) => commands::show_vector(args),
        Command::Vector(VectorCommand::Convert(args)) => commands::convert(args),
        Command::Vector(VectorCommand::Compose(args)) => commands::compose(args, on),
        Command::Vector(VectorCommand::Tokens(args)) => commands::tokens(args, on),
        Command::Steering(SteeringCommand::Check(args)) => commands::check_steering(args),
        Command::Doctor { json } => commands::doctor(json, on),
        Command::Completions { shell } => commands::completions(shell, Args::command()),
        Command::Man(args) => commands::man(args, Args::command()),
    }
}

/// Tells the user why the program ends early, and gives the exit code that scripts can rely on.
fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Failed(message)
        | Failure::Usage(message)
        | Failure::BadInput(message)
        | Failure::Access(message)
        | Failure::Memory(message) => tell(&format!("error: {message}")),
        Failure::Interrupted => tell("interrupted: nothing half-written was left behind"),
        Failure::BrokenPipe => {}
    }
    ExitCode::from(failure.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
