//! Where results go, checked before any work is done for them.

use crate::terminal::Failure;
use std::path::Path;

/// Makes the folder for outputs before any work is done for it.
pub fn output_folder(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::Failed(format!("cannot make the folder {}: {error}", dir.display())))?;
    writable(dir)
}

/// Fails now rather than after minutes of work if the folder of an output file cannot be written to.
pub fn output_file(path: &Path) -> Result<(), Failure> {
    let fail = |reason: &str| Err(Failure::Failed(format!("cannot write {}: {reason}", path.display())));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return fail("it is a folder");
    }
    // Files are written by renaming, which would put a file in the place of a device such as /dev/null.
    if path.exists() && !path.is_file() {
        return fail("it is not an ordinary file");
    }
    writable(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn writable(dir: &Path) -> Result<(), Failure> {
    tempfile::Builder::new()
        .prefix(".whipstaff-")
        .tempfile_in(dir)
        .map(drop)
        .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", dir.display())))
}
