//! Packed weights, kept on disk from one start to the next.
//!
//! Packing reads every weight and writes it again into fresh memory: seconds, most of them spent on the
//! memory. A file of packed weights is mapped instead, so that the second start costs no more than what
//! the first token reads anyway, and its pages are shared by all processes that run the model.
//!
//! ```text
//! DIR/NAME.pack     every matrix, each from a multiple of 2 MB on (what lies between takes no disk)
//!                   ─ index: JSON {"format", "layout", "source", "matrices": {key: [start, dtype, n_out, n_in]}}
//!                   ─ length of the index, u64 little-endian
//! ```
//!
//! `NAME` is a digest of the model's files (place, size, time of change) and of the layout, so that a
//! file that changed has no pack. A pack appears under its name only when all of it is on the disk. What
//! goes wrong with packs costs time, never the model: weights are then packed into memory.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use whipstaff_disk::{hex, rename_synced, sha256};
use whipstaff_kernels::{Bytes, Cpu, Dtype, Matrix, PACKED_LAYOUT, Packed, Packer};

/// The number of the file's own format.
const FORMAT: u32 = 1;

/// An index is a few kilobytes; one that claims more is not ours.
const MAX_INDEX: u64 = 16 << 20;

/// A half-written pack that nobody has touched for so long belongs to a run that was stopped.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A folder of packs.
#[derive(Clone, Debug)]
pub struct PackCache {
    dir: PathBuf,
    least: u64,
    room: u64,
}

impl PackCache {
    /// Packs in `dir`, which is made when it is needed. Models of less than 64 MB get none: they are
    /// packed in no time.
    pub fn new(dir: impl Into<PathBuf>) -> PackCache {
        PackCache { dir: dir.into(), least: 64 << 20, room: u64::MAX }
    }

    /// Returns the cache with packs for models from `least` bytes on.
    pub fn for_models_from(self, least: u64) -> PackCache {
        PackCache { least, ..self }
    }

    /// Returns the cache told that the disk has `room` bytes left: no pack is written that would take more than
    /// half.
    pub fn with_room(self, room: u64) -> PackCache {
        PackCache { room, ..self }
    }

    /// Opens the pack of the model that these files hold: to read, if it is there; else to write.
    pub(crate) fn open(&self, files: &[PathBuf]) -> Option<Packs> {
        let source = Source::of(files).ok()?;
        if source.n_bytes < self.least {
            return None;
        }
        let path = self.dir.join(format!("{}.pack", source.name()));
        let state = match Reader::open(&path, &source) {
            Some(reader) => State::Reading(reader),
            None if source.n_bytes > self.room / 2 => return None,
            None => State::Writing(Writer::create(&self.dir, path, source).ok()?),
        };
        Some(Packs(Mutex::new(state)))
    }
}

/// The pack of one model while it loads, and until it is safely on the disk.
pub(crate) struct Packs(Mutex<State>);

enum State {
    Reading(Reader),
    Writing(Writer),
    Syncing(Option<JoinHandle<()>>),
    Off,
}

impl Packs {
    /// Returns the matrix `key` as it lies in a pack that was there, or `None` if the pack does not have it.
    pub(crate) fn get(
        &self,
        cpu: &Cpu,
        key: &str,
        dtype: Dtype,
        n_out: usize,
        n_in: usize,
    ) -> Option<Packed> {
        match &*self.state() {
            State::Reading(reader) => reader.packed(cpu, key, dtype, n_out, n_in),
            _ => None,
        }
    }

    /// Writes a matrix into a pack that is being made; it then lies there. None if the pack takes none.
    pub(crate) fn put(&self, cpu: &Cpu, key: &str, matrix: &Matrix) -> Option<Packed> {
        let mut state = self.state();
        let State::Writing(writer) = &mut *state else { return None };
        match writer.packed(cpu, key, matrix) {
            Ok(packed) => packed,
            Err(_) => {
                *state = State::Off;
                None
            }
        }
    }

    /// Returns true if matrices come from a pack that was there.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(*self.state(), State::Reading(_))
    }

    /// Says that every matrix has been asked for: a pack that was written goes to the disk, while the
    /// model runs.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        *state = match std::mem::replace(&mut *state, State::Off) {
            State::Writing(writer) => State::Syncing(Some(std::thread::spawn(move || {
                // Nothing is lost but the time of the next start.
                let _ = writer.finish();
            }))),
            other => other,
        };
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Packs {
    fn drop(&mut self) {
        if let State::Syncing(thread) = &mut *self.state()
            && let Some(thread) = thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// What a pack was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Source {
    files: Vec<(PathBuf, u64, u128)>,
    n_bytes: u64,
}

impl Source {
    fn of(files: &[PathBuf]) -> io::Result<Source> {
        let file = |path: &PathBuf| {
            let (path, of) = (path.canonicalize()?, fs::metadata(path)?);
            let changed = of.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Ok((path, of.len(), changed.as_nanos()))
        };
        let files = files.iter().map(file).collect::<io::Result<Vec<_>>>()?;
        Ok(Source { n_bytes: files.iter().map(|(_, len, _)| len).sum(), files })
    }

    fn name(&self) -> String {
        let json = serde_json::to_vec(&(FORMAT, PACKED_LAYOUT, self)).expect("plain data");
        hex(&sha256(&json)[..12])
    }
}

/// What stands behind the matrices.
#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    layout: u32,
    source: Source,
    /// Start, name of the type, `n_out`, `n_in`.
    matrices: BTreeMap<String, (u64, String, usize, usize)>,
}

impl Index {
    /// Reads the index of a file. Returns `None` if the file is not a whole pack of this format.
    fn read(file: &mut File) -> Option<Index> {
        let mut len = [0; 8];
        file.seek(SeekFrom::End(-8)).ok()?;
        file.read_exact(&mut len).ok()?;
        let len = Some(u64::from_le_bytes(len)).filter(|len| *len <= MAX_INDEX)?;
        file.seek(SeekFrom::End(-8 - len as i64)).ok()?;
        let mut json = vec![0; len as usize];
        file.read_exact(&mut json).ok()?;
        let index: Index = serde_json::from_slice(&json).ok()?;
        ((index.format, index.layout) == (FORMAT, PACKED_LAYOUT)).then_some(index)
    }
}

/// A pack that is there.
struct Reader {
    file: File,
    index: Index,
}

impl Reader {
    fn open(path: &Path, source: &Source) -> Option<Reader> {
        let mut file = File::open(path).ok()?;
        let index = Index::read(&mut file)?;
        (index.source == *source).then_some(Reader { file, index })
    }

    fn packed(&self, cpu: &Cpu, key: &str, dtype: Dtype, n_out: usize, n_in: usize) -> Option<Packed> {
        let (start, name, stored_out, stored_in) = self.index.matrices.get(key)?;
        let fits = (name.as_str(), *stored_out, *stored_in) == (dtype.name(), n_out, n_in);
        let fits = fits && start.is_multiple_of(Packer::PIECE as u64);
        fits.then(|| mapped(&self.file, *start, cpu, dtype, n_out, n_in))?
    }
}

/// Maps a matrix that lies packed in a file.
fn mapped(file: &File, start: u64, cpu: &Cpu, dtype: Dtype, n_out: usize, n_in: usize) -> Option<Packed> {
    let bytes = Bytes::map_part(file, start, Packed::bytes_of(dtype, n_out, n_in)).ok()?;
    Packed::from_bytes(cpu, bytes, dtype, n_out, n_in)
}

/// A pack in the making, under another name.
struct Writer {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    packer: Packer,
    end: u64,
    index: Index,
    finished: bool,
}

impl Writer {
    fn create(dir: &Path, path: PathBuf, source: Source) -> io::Result<Writer> {
        fs::create_dir_all(dir)?;
        tidy(dir, &source);
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&partial)?;
        let index = Index { format: FORMAT, layout: PACKED_LAYOUT, source, matrices: BTreeMap::new() };
        Ok(Writer { file, path, partial, packer: Packer::new(), end: 0, index, finished: false })
    }

    fn packed(&mut self, cpu: &Cpu, key: &str, matrix: &Matrix) -> io::Result<Option<Packed>> {
        let start = self.end.next_multiple_of(Packer::PIECE as u64);
        self.file.seek(SeekFrom::Start(start))?;
        self.packer.pack(cpu, matrix, |piece| self.file.write_all(piece))?;
        let (dtype, n_out, n_in) = (matrix.dtype(), matrix.n_out, matrix.n_in);
        self.end = start + Packed::bytes_of(dtype, n_out, n_in) as u64;
        self.index.matrices.insert(key.to_owned(), (start, dtype.name().to_owned(), n_out, n_in));
        Ok(mapped(&self.file, start, cpu, dtype, n_out, n_in))
    }

    fn finish(mut self) -> io::Result<()> {
        let json = serde_json::to_vec(&self.index).expect("plain data");
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&json)?;
        self.file.write_all(&(json.len() as u64).to_le_bytes())?;
        rename_synced(&self.file, &self.partial, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Removes packs that nothing can use any more: of earlier states of the same files, of files that are
/// gone, and what stopped runs have left.
fn tidy(dir: &Path, source: &Source) {
    let first = |it: &Source| it.files.first().map(|(file, ..)| file.clone());
    let is_useless = |path: &Path| match path.extension().and_then(|it| it.to_str()) {
        Some("partial") => {
            let changed = fs::metadata(path).and_then(|it| it.modified()).ok();
            changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > ABANDONED)
        }
        Some("pack") => match File::open(path).ok().and_then(|mut file| Index::read(&mut file)) {
            Some(Index { source: of, .. }) => {
                first(&of) == first(source) || of.files.iter().any(|(file, ..)| !file.exists())
            }
            None => true,
        },
        _ => false,
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_useless(path)).for_each(|path| drop(fs::remove_file(path)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a "model" of one file, and a cache for it.
    struct Bench {
        dir: tempfile::TempDir,
        cpu: Cpu,
    }

    impl Bench {
        fn new() -> Bench {
            let bench =
                Bench { dir: tempfile::tempdir().unwrap(), cpu: Cpu::new(whipstaff_kernels::Isa::best(), 2) };
            fs::write(bench.model(), [1; 100]).unwrap();
            bench
        }

        fn model(&self) -> PathBuf {
            self.dir.path().join("model.safetensors")
        }

        fn packs_dir(&self) -> PathBuf {
            self.dir.path().join("packs")
        }

        fn open(&self) -> Packs {
            let cache = PackCache::new(self.packs_dir()).for_models_from(0);
            cache.open(&[self.model()]).expect("the folder can be written")
        }

        /// Asks as a model does: for what is there, else to have it written.
        fn packed(&self, packs: &Packs, key: &str, matrix: &Matrix) -> Option<Packed> {
            let kept = packs.get(&self.cpu, key, matrix.dtype(), matrix.n_out, matrix.n_in);
            kept.or_else(|| packs.put(&self.cpu, key, matrix))
        }

        fn matrix(&self, n_out: usize, seed: f32) -> Matrix {
            let elements: Vec<f32> = (0..n_out * 33).map(|i| seed + i as f32).collect();
            Matrix::from_f32(&elements, n_out, 33)
        }

        /// Writes a pack of two matrices.
        fn fill(&self) {
            let packs = self.open();
            assert!(!packs.is_reading());
            for (key, n_out) in [("a", 20), ("b", 7)] {
                let packed = self.packed(&packs, key, &self.matrix(n_out, 0.5)).expect("there is room");
                assert_eq!(packed.n_out(), n_out);
            }
            packs.finish();
        }

        fn names(&self, extension: &str) -> usize {
            let entries = fs::read_dir(self.packs_dir()).unwrap().map(|it| it.unwrap().path());
            entries.filter(|it| it.extension().unwrap() == extension).count()
        }
    }

    #[test]
    fn the_second_start_maps_what_the_first_has_packed() {
        let bench = Bench::new();
        bench.fill();
        assert_eq!((bench.names("pack"), bench.names("partial")), (1, 0));
        let packs = bench.open();
        assert!(packs.is_reading());
        for (key, n_out) in [("a", 20), ("b", 7)] {
            // Other numbers, so that only the pack can have given those of the first start.
            let packed = bench.packed(&packs, key, &bench.matrix(n_out, 0.0)).expect("it is there");
            let fresh = Packed::new(&bench.cpu, &bench.matrix(n_out, 0.5));
            assert!(packed.as_bytes() == fresh.as_bytes());
        }
        assert!(bench.packed(&packs, "c", &bench.matrix(3, 0.0)).is_none(), "not in the pack");
        assert!(bench.packed(&packs, "a", &bench.matrix(3, 0.0)).is_none(), "of another shape");
    }

    #[test]
    fn a_model_that_changed_is_packed_again_and_the_old_pack_goes() {
        let bench = Bench::new();
        bench.fill();
        fs::write(bench.model(), [1; 101]).unwrap();
        bench.fill();
        assert_eq!(bench.names("pack"), 1);
        assert!(bench.open().is_reading());
    }

    #[test]
    fn a_pack_that_is_not_whole_is_made_again() {
        for damage in [0, 3, 60, 100] {
            let bench = Bench::new();
            bench.fill();
            let pack = fs::read_dir(bench.packs_dir()).unwrap().next().unwrap().unwrap().path();
            let len = fs::metadata(&pack).unwrap().len();
            let keep = if damage == 0 { 0 } else { len - damage };
            File::options().write(true).open(&pack).unwrap().set_len(keep).unwrap();
            bench.fill();
            assert!(bench.open().is_reading());
        }
    }

    #[test]
    fn a_start_that_is_cut_off_leaves_no_pack() {
        let bench = Bench::new();
        let packs = bench.open();
        bench.packed(&packs, "a", &bench.matrix(20, 0.5)).expect("there is room");
        drop(packs);
        assert_eq!((bench.names("pack"), bench.names("partial")), (0, 0));
    }

    #[test]
    fn small_models_full_disks_and_folders_that_cannot_be_written_have_no_packs() {
        let bench = Bench::new();
        assert!(PackCache::new(bench.packs_dir()).open(&[bench.model()]).is_none(), "small");
        let full = PackCache::new(bench.packs_dir()).for_models_from(0).with_room(199);
        assert!(full.open(&[bench.model()]).is_none(), "no room");
        let file = bench.model(); // a file where the folder should be
        assert!(PackCache::new(file.clone()).for_models_from(0).open(&[file]).is_none());
    }

    #[test]
    fn a_pack_is_named_after_the_type_of_its_numbers_too() {
        let bench = Bench::new();
        bench.fill();
        let bytes = Bytes::from(vec![0; 20 * 34 * 2]);
        let other = Matrix::new(&bytes, 0..20 * 33 * 2, Dtype::F16, 20, 33).unwrap();
        assert!(bench.packed(&bench.open(), "a", &other).is_none());
    }
}
