//! Who is told of progress and remarks, from any thread.

use std::sync::Arc;
use whipstaff_steering::Watch;

/// A shared [`Watch`]: it is told of everything that is done with a model, from any thread, and may stop it.
pub type Watcher = Arc<dyn Watch + Send + Sync>;
