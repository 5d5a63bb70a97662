//! Requests as the driver writes them, and their answers.

use crate::engine::{Decoded, Loaded, Place};
use crate::{Failure, limits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use whipstaff_steering::ContrastSet;

/// One line of input.
#[derive(Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
enum Request {
    /// From token ids to the logits after the last, which go to a file if one is named.
    Prefill { ids: Vec<u32>, logits: Option<PathBuf> },
    /// `n` greedy tokens after the same prompt, once per steering, all side by side.
    Decode { ids: Vec<u32>, n: usize, vectors: PathBuf, steerings: Vec<Vec<Place>> },
    /// The mean vector of the first `n` contrasts of a file at every layer, to a file.
    Extract { contrasts: PathBuf, n: usize, out: PathBuf },
    /// Cosines of steered and plain `resid_post`, the vector of each layer injected alone.
    Figure { texts: Vec<Vec<u32>>, alphas: Vec<f32>, layers: Vec<usize>, skip: usize, vectors: PathBuf },
    /// What rounding activations costs: 1 − cosine of `resid_post` with that at `f32`, layer by layer.
    Rounding { texts: Vec<Vec<u32>> },
    /// What the machine could do.
    Limits,
}

/// Does what a line asks for. Reading and writing of files is not part of the seconds.
pub(crate) fn run(loaded: Option<&Loaded>, threads: usize, line: &str) -> Result<Value, Failure> {
    let request: Request = serde_json::from_str(line)?;
    if let Request::Limits = request {
        return Ok(limits::measure(threads));
    }
    let loaded = loaded.ok_or("no --model was given")?;
    match request {
        Request::Limits => unreachable!("answered above"),
        Request::Rounding { texts } => Ok(json!({ "seconds": 0, "lost": loaded.rounding(&texts)? })),
        Request::Prefill { ids, logits } => {
            let start = Instant::now();
            let got = loaded.prefill(&ids)?;
            let seconds = start.elapsed().as_secs_f64();
            logits.map_or(Ok(()), |path| write_floats(&path, &got))?;
            Ok(json!({ "seconds": seconds, "n": ids.len() }))
        }
        Request::Decode { ids, n, vectors, steerings } => {
            let vectors = read_floats(&vectors)?;
            let Decoded { first, rest, tokens } = loaded.decode(&ids, n, &vectors, &steerings)?;
            Ok(json!({ "prompt_seconds": first, "seconds": rest, "tokens": tokens }))
        }
        Request::Extract { contrasts, n, out } => {
            let mut set = ContrastSet::read(&contrasts)?;
            set.contrasts.truncate(n);
            let start = Instant::now();
            let vector = loaded.extract(&set)?;
            let seconds = start.elapsed().as_secs_f64();
            write_floats(&out, &vector)?;
            let (n_tokens, digest) = digest(&loaded.contrast_ids(&set)?);
            Ok(
                json!({ "seconds": seconds, "n": set.contrasts.len(), "n_tokens": n_tokens, "digest": digest }),
            )
        }
        Request::Figure { texts, alphas, layers, skip, vectors } => {
            let vectors = read_floats(&vectors)?;
            let start = Instant::now();
            let table = loaded.figure(&texts, &alphas, &layers, skip, &vectors)?;
            Ok(json!({ "seconds": start.elapsed().as_secs_f64(), "table": table }))
        }
    }
}

fn read_floats(path: &Path) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    let floats = bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    Ok(floats.collect())
}

fn write_floats(path: &Path, floats: &[f32]) -> Result<(), Failure> {
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    Ok(std::fs::write(path, bytes)?)
}

/// The number of ids, and 64-bit FNV-1a over the ids of each text with its length in front: two
/// engines that ran the same texts agree on it.
fn digest(texts: &[Vec<u32>]) -> (usize, String) {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for ids in texts {
        for word in std::iter::once(ids.len() as u32).chain(ids.iter().copied()) {
            for byte in word.to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    (texts.iter().map(Vec::len).sum(), format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_texts_and_their_borders_apart() {
        let check = |texts: &[&[u32]], n: usize, want: &str| {
            let texts: Vec<Vec<u32>> = texts.iter().map(|ids| ids.to_vec()).collect();
            assert_eq!(digest(&texts), (n, want.to_owned()));
        };
        // From bench/peers/common.py, which must agree.
        check(&[], 0, "cbf29ce484222325");
        check(&[&[1]], 1, "29c7dd317360ac35");
        check(&[&[1, 2], &[3]], 3, "384fc8ca1e2d77e6");
        check(&[&[1], &[2, 3]], 3, "a7e37a1a161c4256");
    }
}
