//! What a caller may see of a download while it runs.

/// Told what happens, from several threads.
pub trait Watch: Sync {
    /// Files of `bytes` bytes together are about to be downloaded.
    fn begins(&self, bytes: u64) {
        let _ = bytes;
    }

    /// So many bytes more are on disk; fewer, if some had to be thrown away.
    fn moves(&self, bytes: i64) {
        let _ = bytes;
    }

    /// All of them are there.
    fn ends(&self) {}

    /// Returns true to stop the download; what has arrived is kept.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Something worth telling a person.
    fn remark(&self, text: &str) {
        let _ = text;
    }
}

/// Watches nothing.
pub struct Silent;

impl Watch for Silent {}
