use crate::files;
use crate::terminal::{Failure, print, print_line};
use clap_mangen::Man;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct ManArgs {
    /// The command, such as `generate` or `vector compose` [default: the program itself]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    pub command: Vec<String>,
    /// Write the pages of all commands to this folder instead
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `whipstaff man`: the manual page of one command, or of all in a folder.
pub fn man(args: ManArgs, command: clap::Command) -> Result<(), Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &args.output {
        files::output_folder(folder)?;
        let n = write(&command, folder)?;
        return print_line(&format!("{n} manual pages written to {}", folder.display()));
    }
    let mut chosen = &command;
    for name in &args.command {
        chosen = chosen.find_subcommand(name).ok_or_else(|| {
            Failure::Usage(format!(
                "{} has no command `{name}`",
                chosen.get_bin_name().unwrap_or_else(|| chosen.get_name())
            ))
        })?;
    }
    print(&String::from_utf8_lossy(&page(chosen)?))
}

/// Writes the pages of a command and of those below it; returns their number.
fn write(command: &clap::Command, folder: &Path) -> Result<usize, Failure> {
    let path = folder.join(format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name())));
    std::fs::write(&path, page(command)?)
        .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
    let below = command.get_subcommands().filter(|it| !it.is_hide_set());
    below.map(|it| write(it, folder)).try_fold(1, |n, more| Ok(n + more?))
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Failure::Failed(format!("cannot write a manual page: {error}")))?;
    Ok(page)
}
