//! SentencePiece's table of characters that become others (`precompiled_charsmap`): a trie of what is replaced
//! in a double array, then the replacements.
//!
//! ```text
//! n             u32, bytes of the trie
//! trie          n / 4 units of u32 (as s-yata/darts-clone has them)
//! replacements  UTF-8, each ended by a zero; leaves of the trie have their offsets
//! ```
//!
//! The library walks over the trie without looking where it steps, so every step that a text could lead to is
//! looked at here.

use tokenizers::normalizers::Precompiled;

/// Reads a table; what is wrong with it otherwise.
pub(super) fn read(bytes: &[u8]) -> Result<Precompiled, String> {
    check(bytes)?;
    Precompiled::from(bytes).map_err(|error| format!("is no table of characters: {error}"))
}

fn check(bytes: &[u8]) -> Result<(), String> {
    let cut_off = || "is cut off".to_owned();
    let (len, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
    let len = u32::from_le_bytes(*len) as usize / 4 * 4;
    let (trie, replacements) = rest.split_at_checked(len).ok_or_else(cut_off)?;
    let replacements =
        std::str::from_utf8(replacements).map_err(|_| "has replacements that are not UTF-8".to_owned())?;
    let trie = trie.chunks_exact(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    let trie: Vec<Unit> = trie.map(Unit).collect();
    let root = trie.first().ok_or("has an empty trie")?.offset();
    let (mut seen, mut open) = (vec![false; trie.len()], vec![root]);
    while let Some(node) = open.pop() {
        // Any byte may come next, so all 256 units that it could lead to are read.
        if node | 0xff >= trie.len() {
            return Err(format!("has a trie that leads to unit {node} of {}", trie.len()));
        }
        if std::mem::replace(&mut seen[node], true) {
            continue;
        }
        for byte in 1..=0xff {
            let at = node ^ byte;
            let unit = &trie[at];
            if unit.label() != byte {
                continue;
            }
            let next = at ^ unit.offset();
            if unit.has_leaf() {
                let start = trie.get(next).map(Unit::value);
                if !start.is_some_and(|start| replacements.is_char_boundary(start)) {
                    return Err("has a trie that leads to no replacement".into());
                }
            }
            open.push(next);
        }
    }
    Ok(())
}

/// A unit of the double array.
struct Unit(u32);

impl Unit {
    fn has_leaf(&self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn value(&self) -> usize {
        (self.0 & 0x7fff_ffff) as usize
    }

    /// Returns the byte that leads here; for a leaf, a number above all bytes.
    fn label(&self) -> usize {
        (self.0 & 0x8000_00ff) as usize
    }

    fn offset(&self) -> usize {
        ((self.0 >> 10) << ((self.0 & 1 << 9) >> 6)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a table in which `a` becomes what stands at `start` of `replacements`.
    fn table(start: u32, n_units: u32, replacements: &str) -> Vec<u8> {
        let mut units = vec![0u32; n_units as usize];
        // The root's children are at 0 ^ byte; `a` has a leaf at 256.
        let a = usize::from(b'a');
        if let Some(unit) = units.get_mut(a) {
            *unit = u32::from(b'a') | 1 << 8 | (a as u32 ^ 256) << 10;
        }
        if let Some(unit) = units.get_mut(256) {
            *unit = 0x8000_0000 | start;
        }
        let units = units.iter().flat_map(|unit| unit.to_le_bytes());
        (4 * n_units).to_le_bytes().into_iter().chain(units).chain(replacements.bytes()).collect()
    }

    #[test]
    fn a_table_that_leads_out_of_itself_is_refused() {
        assert_eq!(read(&table(0, 512, "ä\0")).unwrap().transform("a"), Some("ä"));
        assert_eq!(read(&table(2, 512, "ä\0")).unwrap().transform("a"), Some(""));
        let check = |bytes: &[u8], part: &str| {
            let error = read(bytes).map(drop).unwrap_err();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        };
        check(&table(1, 512, "ä\0"), "leads to no replacement");
        check(&table(4, 512, "ä\0"), "leads to no replacement");
        check(&table(0, 257, "ä\0"), "leads to unit 256 of 257");
        check(&table(0, 100, "ä\0"), "leads to unit 0 of 100");
        check(&table(0, 0, ""), "empty trie");
        check(&[0xff, 0xff, 0xff, 0x7f, 1, 2], "cut off");
        check(&[1, 0], "cut off");
        check(&[&table(0, 512, "")[..], b"\xff"].concat(), "not UTF-8");
    }
}
