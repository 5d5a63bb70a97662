//! Asking a judge for many ratings, side by side.

use super::rating::{Judge, JudgeReply, Rating};
use super::replies::Replies;
use crate::error::Error;
use crate::progress::Watch;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Asks a judge all prompts, `at_once` of them side by side, and no prompt twice. Replies that are known are not asked
/// for again, and new ones are kept as they come. Ratings are in the order of the prompts.
///
/// # Errors
/// The first [`Error::Judge`]; [`Error::Interrupted`]; [`Error::Write`]. Replies that have come by then are kept.
pub fn judge_all(
    judge: &dyn Judge,
    prompts: &[String],
    known: &mut Replies,
    at_once: usize,
    watch: &dyn Watch,
) -> Result<Vec<Rating>, Error> {
    let identity = judge.identity();
    let missing = known.missing(&identity, prompts);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, replies) = mpsc::channel();
        for _ in 0..at_once.clamp(1, missing.len().max(1)) {
            let (sender, next, missing) = (sender.clone(), &next, &missing);
            scope.spawn(move || ask_missing(judge, missing, next, &sender));
        }
        drop(sender);
        let kept = keep(&identity, &replies, known, watch);
        // Workers that are not done stop before their next prompt.
        next.store(missing.len(), Ordering::Relaxed);
        kept
    })?;
    let reply = |prompt: &String| known.get(&identity, prompt).expect("all missing ones were asked for");
    Ok(prompts.iter().map(|prompt| Rating::of(reply(prompt))).collect())
}

/// Asks what is missing, prompt by prompt, until nothing is left or nobody listens any more, because something went
/// wrong.
fn ask_missing<'p>(
    judge: &dyn Judge,
    missing: &[&'p str],
    next: &AtomicUsize,
    replies: &mpsc::Sender<(&'p str, Result<JudgeReply, Error>)>,
) {
    while let Some(prompt) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
        if replies.send((*prompt, judge.reply(prompt))).is_err() {
            return;
        }
    }
}

type ReplyReceiver<'p> = mpsc::Receiver<(&'p str, Result<JudgeReply, Error>)>;

/// How long a judge may be silent before the watcher is asked whether to go on.
const GLANCE: Duration = Duration::from_millis(200);

/// Takes replies until there are no more.
fn keep(
    identity: &str,
    replies: &ReplyReceiver<'_>,
    known: &mut Replies,
    watch: &dyn Watch,
) -> Result<(), Error> {
    loop {
        match replies.recv_timeout(GLANCE) {
            Ok((prompt, reply)) => {
                known.append(identity, prompt, reply?)?;
                watch.advance(1)?;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => watch.advance(0)?,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Unwatched;
    use std::sync::Mutex;

    /// Says the length of the prompt, and fails at one of them.
    struct Counting {
        asked: Mutex<Vec<String>>,
        fails_at: Option<&'static str>,
    }

    impl Judge for Counting {
        fn identity(&self) -> String {
            "counting".into()
        }

        fn reply(&self, prompt: &str) -> Result<JudgeReply, Error> {
            self.asked.lock().unwrap().push(prompt.to_owned());
            if self.fails_at == Some(prompt) {
                return Err(Error::Judge { judge: "counting".into(), reason: "has had enough".into() });
            }
            Ok(JudgeReply { text: prompt.len().to_string(), alternatives: Vec::new() })
        }
    }

    fn counting(fails_at: Option<&'static str>) -> Counting {
        Counting { asked: Mutex::default(), fails_at }
    }

    fn prompts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn no_prompt_is_asked_twice_and_ratings_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdicts.jsonl");
        let prompts = prompts(&["a", "bb", "a", "ccc", "bb"]);
        for (at_once, n_asked) in [(3, 3), (1, 0)] {
            let judge = counting(None);
            let mut verdicts = Replies::open(Some(&path)).unwrap();
            let ratings = judge_all(&judge, &prompts, &mut verdicts, at_once, &Unwatched).unwrap();
            let scores: Vec<f64> = ratings.iter().filter_map(|it| it.score()).collect();
            assert_eq!(scores, [1.0, 2.0, 1.0, 3.0, 2.0]);
            assert_eq!(judge.asked.lock().unwrap().len(), n_asked);
        }
    }

    #[test]
    fn what_was_judged_before_a_failure_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdicts.jsonl");
        let prompts = prompts(&["a", "bb", "ccc", "dddd"]);
        let mut verdicts = Replies::open(Some(&path)).unwrap();
        let error = judge_all(&counting(Some("ccc")), &prompts, &mut verdicts, 1, &Unwatched).unwrap_err();
        assert!(error.to_string().contains("has had enough"), "{error}");
        let judge = counting(None);
        let mut verdicts = Replies::open(Some(&path)).unwrap();
        judge_all(&judge, &prompts, &mut verdicts, 1, &Unwatched).unwrap();
        assert_eq!(*judge.asked.lock().unwrap(), ["ccc", "dddd"]);
    }
}
