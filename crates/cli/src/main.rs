//! `whipstaff`: steer a language model by adding persona vectors to its activations.

#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // a program has no outside: `pub` means "for the other modules"

// Its doc comments are the help text of the program, not Markdown.
#[allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]
mod args;
mod commands;
mod embedded;
mod evaluation;
mod failure;
mod heatmap;
mod hub;
mod judge;
mod loaded;
mod memory;
mod output;
mod packs;
mod plan;
mod progress;
mod steer;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    // clap prints its own errors and exits with 2, the code for wrong usage.
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
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
        Command::Model(args::ModelCommand::Show(args)) => commands::show_model(args, on),
        Command::Vector(args::VectorCommand::Show(args)) => commands::show_vector(args),
        Command::Vector(args::VectorCommand::Convert(args)) => commands::convert(args),
        Command::Vector(args::VectorCommand::Compose(args)) => commands::compose(args, on),
        Command::Vector(args::VectorCommand::Tokens(args)) => commands::tokens(args, on),
        Command::Steering(args::SteeringCommand::Check(args)) => commands::check_steering(args),
        Command::Doctor { json } => commands::doctor(json, on),
        Command::Completions { shell } => commands::completions(shell),
    }
}
