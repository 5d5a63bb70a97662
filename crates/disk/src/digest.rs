//! SHA-256 and hex.

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Returns bytes as lower-case hex digits, two for each byte.
///
/// ```
/// assert_eq!(whipstaff_disk::hex(&[0x00, 0xf1, 0x2a]), "00f12a");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns the SHA-256 of bytes in hex.
///
/// ```
/// assert!(whipstaff_disk::sha256_hex(b"abc").starts_with("ba7816bf"));
/// ```
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Returns the SHA-256 of a file in hex.
///
/// # Errors
///
/// Returns [`Error::Read`].
pub fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    Ok(sha256_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), empty);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"").unwrap();
        assert_eq!(sha256_of_file(&dir.path().join("f")).unwrap(), empty);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = sha256_of_file(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read no/such/file: "), "{error}");
    }
}
