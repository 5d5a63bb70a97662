//! The view that a caller has of a running download.

/// A watcher of downloads. Several threads may call it at the same time.
pub trait Watch: Sync {
    /// Learns that files of `bytes` bytes in all are about to be downloaded.
    fn begins(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Learns that `bytes` more bytes are on disk. The number is negative if some had to be thrown away.
    fn moves(&self, bytes: i64) {
        let _ = bytes;
    }

    /// Learns that the downloads that began have ended.
    fn ends(&self) {}

    /// Returns true to stop the download. The part that has arrived is kept.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Receives a remark for a person.
    fn remark(&self, text: &str) {
        let _ = text;
    }
}

/// A watcher that ignores everything.
pub struct Silent;

impl Watch for Silent {}
