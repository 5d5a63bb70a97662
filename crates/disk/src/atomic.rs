//! Files that appear whole under their names: made under another name in the same folder, then renamed.

use crate::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file so that readers see the old one or the new one, never half of either: a temporary file in the same
/// folder, flushed to the disk, then renamed.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("notes.txt");
/// whipstaff_disk::write_atomically(&path, b"whole")?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"whole");
/// # Ok::<(), whipstaff_disk::Error>(())
/// ```
///
/// # Errors
///
/// Returns [`Error::Write`]; the old file, if any, is untouched and the temporary one is gone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = temporary().tempfile_in(folder_of(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| Error::write_kind(path, &error))
}

/// Makes something at a free name beside `path`, such as a link, and renames it to `path`.
///
/// `make` is called with another name if the one that it was given is taken.
///
/// # Errors
///
/// Returns [`Error::Write`] if `make` fails or `path` cannot be replaced; nothing is left behind.
pub fn make_beside<T>(path: &Path, make: impl FnMut(&Path) -> io::Result<T>) -> Result<(), Error> {
    let made = temporary().make_in(folder_of(path), make).map_err(|error| Error::write_kind(path, &error))?;
    made.into_temp_path().persist(path).map_err(|error| Error::write_kind(path, &error.error))
}

/// Flushes the file at `partial` to the disk and renames it to `path`: the end of a file that grew under another
/// name.
///
/// # Errors
///
/// Returns [`Error::Write`], naming the file that could not be flushed or replaced.
pub fn rename_synced(file: &File, partial: &Path, path: &Path) -> Result<(), Error> {
    file.sync_all().map_err(|source| Error::write(partial, source))?;
    std::fs::rename(partial, path).map_err(|source| Error::write(path, source))
}

/// Returns a maker of files that have the permissions of ordinary new files, less the umask; temporary files are
/// private otherwise.
pub(crate) fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".whipstaff-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Returns the folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries.map(|it| it.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for text in ["one", "two"] {
            write_atomically(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        make_beside(&path, |at| fs::write(at, "three")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        let partial = dir.path().join("f.partial");
        fs::write(&partial, "four").unwrap();
        rename_synced(&File::open(&partial).unwrap(), &partial, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four");
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file_and_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("f"), "old").unwrap();
        for error in [
            write_atomically(&taken, b"new").unwrap_err(),
            make_beside(&taken, |at| fs::write(at, "new")).unwrap_err(),
            make_beside(&taken, |_| Err::<(), _>(io::ErrorKind::Unsupported.into())).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("taken: ") && !text.contains(".whipstaff-"), "{text}");
        }
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_may_be_read_by_whom_an_ordinary_one_may() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let [ours, ordinary] = ["ours", "ordinary"].map(|name| dir.path().join(name));
        write_atomically(&ours, b"x").unwrap();
        fs::write(&ordinary, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&ordinary));
    }
}
