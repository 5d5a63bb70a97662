use crate::terminal::{Failure, print};

/// `whipstaff completions`: a script that completes the command line in a shell.
pub fn completions(shell: clap_complete::Shell, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "whipstaff", &mut script);
    print(&String::from_utf8_lossy(&script))
}
