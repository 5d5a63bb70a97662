//! Files that are whole or absent, and digests in hex.

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::{io::Write, path::Path};

/// Writes a file so that readers see the old one or the new one, never half of either: a temporary
/// file in the same folder, flushed to disk, then renamed.
///
/// # Errors
/// [`Error::Write`]; the old file, if any, is untouched and the temporary one is gone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // Only the kind: the full error names the temporary file, which nobody asked for.
    let fail = |error: std::io::Error| Error::Write { path: path.to_owned(), source: error.kind().into() };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".whipstaff-");
    #[cfg(unix)]
    {
        // What an ordinary new file gets, less the umask; temporary files are private otherwise.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(dir).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Returns the SHA-256 of a file, in hex.
///
/// # Errors
/// [`Error::Read`].
pub fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(sha256_hex(&bytes))
}

/// Returns the SHA-256 of bytes, in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
