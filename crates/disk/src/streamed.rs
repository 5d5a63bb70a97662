//! A large file that is written piece by piece: it is whole under its name, or not there at all.

use crate::atomic::{folder_of, temporary};
use crate::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A file that has no name yet.
///
/// Where the system can (Linux), the file has no temporary name either, so that not even a killed program leaves a
/// part of it behind.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("large.bin");
/// let mut file = whipstaff_disk::Streamed::create(&path)?;
/// file.write(b"one ")?;
/// file.write(b"two")?;
/// assert!(!path.exists());
/// file.finish(false)?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"one two");
/// # Ok::<(), whipstaff_disk::Error>(())
/// ```
#[derive(Debug)]
pub struct Streamed<'a> {
    path: &'a Path,
    dir: &'a Path,
    file: Kind,
}

#[derive(Debug)]
enum Kind {
    #[cfg(target_os = "linux")]
    Nameless(File),
    Temporary(tempfile::NamedTempFile),
}

impl<'a> Streamed<'a> {
    /// Begins the file that is going to be `path`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn create(path: &'a Path) -> Result<Streamed<'a>, Error> {
        let dir = folder_of(path);
        let file = create_in(dir).map_err(|error| Error::write_kind(path, &error))?;
        Ok(Streamed { path, dir, file })
    }

    /// Appends a piece.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = match &mut self.file {
            #[cfg(target_os = "linux")]
            Kind::Nameless(file) => file.write_all(bytes),
            Kind::Temporary(file) => file.write_all(bytes),
        };
        written.map_err(|error| Error::write_kind(self.path, &error))
    }

    /// Flushes the file to the disk and gives it its name. A file that has that name by now is replaced only if
    /// `replace` says so.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn finish(self, replace: bool) -> Result<(), Error> {
        let (path, dir) = (self.path, self.dir);
        let finish = match self.file {
            #[cfg(target_os = "linux")]
            Kind::Nameless(file) => name(&file, path, dir, replace),
            Kind::Temporary(file) => file.as_file().sync_all().and_then(|()| {
                let named = if replace { file.persist(path) } else { file.persist_noclobber(path) };
                named.map(drop).map_err(|error| error.error)
            }),
        };
        finish.map_err(|error| Error::write_kind(path, &error))
    }
}

fn create_in(dir: &Path) -> io::Result<Kind> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        // A file system without such files gets a temporary one.
        if let Ok(file) = open(dir, flags, Mode::from_raw_mode(0o666)) {
            return Ok(Kind::Nameless(File::from(file)));
        }
    }
    temporary().tempfile_in(dir).map(Kind::Temporary)
}

/// Names a nameless file. Its name must be free, so a file that replaces another one is linked under a temporary
/// name first and then renamed.
#[cfg(target_os = "linux")]
fn name(file: &File, path: &Path, dir: &Path, replace: bool) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    file.sync_all()?;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| linkat(CWD, &open, CWD, to, AtFlags::SYMLINK_FOLLOW);
    if !replace {
        return Ok(link(path)?);
    }
    let free = temporary().make_in(dir, |path| Ok(link(path)?))?;
    free.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries.map(|it| it.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_whole_under_its_name_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = Streamed::create(&path).unwrap();
        file.write(b"one ").unwrap();
        assert_eq!(names(dir.path()).iter().filter(|name| !name.starts_with(".whipstaff-")).count(), 0);
        file.write(b"two").unwrap();
        file.finish(false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");

        let mut abandoned = Streamed::create(&path).unwrap();
        abandoned.write(b"half").unwrap();
        drop(abandoned);
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn a_file_that_came_meanwhile_is_only_replaced_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let write = |replace| {
            let mut file = Streamed::create(&path).unwrap();
            std::fs::write(&path, b"theirs").unwrap();
            file.write(b"ours").unwrap();
            file.finish(replace)
        };
        assert!(write(false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        write(true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ours");
        assert_eq!(names(dir.path()), ["f"]);
    }
}
