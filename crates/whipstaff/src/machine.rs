//! How much memory there is, and how much of it may be used.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How much memory may be used.
///
/// ```
/// use whipstaff::MemoryLimit;
///
/// assert_eq!("8G".parse(), Ok(MemoryLimit::Bytes(8 << 30)));
/// assert_eq!("80%".parse(), Ok(MemoryLimit::default()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryLimit {
    /// A number of bytes.
    Bytes(u64),
    /// A share of what the machine or its control group has.
    Share(f64),
}

/// A text that is no [`MemoryLimit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// The text is no amount.
    #[error("`{0}` is no amount of memory: write 8G, 500M or 80%")]
    NoAmount(String),
    /// The text is a share above one.
    #[error("`{0}` is more than there is: write 80%, or an amount such as 8G")]
    TooMuch(String),
}

impl Default for MemoryLimit {
    /// 80 % of what there is.
    fn default() -> MemoryLimit {
        MemoryLimit::Share(0.8)
    }
}

impl MemoryLimit {
    /// Returns the limit in bytes; none if the system does not say how much there is.
    pub fn bytes(self) -> Option<u64> {
        self.resolve(machine(Path::new("/"))).map(|(bytes, _)| bytes)
    }

    /// Returns the bytes and where they come from; none if the machine's memory is not known.
    pub(crate) fn resolve(self, machine: Option<Machine>) -> Option<(u64, String)> {
        match self {
            MemoryLimit::Bytes(bytes) => Some((bytes, "as asked for".into())),
            MemoryLimit::Share(share) => {
                let Machine { bytes, what } = machine?;
                let why = format!("{} % of the {} of {what}", (share * 100.0).round(), Size(bytes));
                Some(((bytes as f64 * share) as u64, why))
            }
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = InvalidLimit;

    /// Reads `8G`, `500M` or `80%`. G and M are powers of 1024; a plain number is bytes.
    fn from_str(text: &str) -> Result<MemoryLimit, InvalidLimit> {
        let wrong = || InvalidLimit::NoAmount(text.to_owned());
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
            _ => Err(wrong()),
        };
        if let Some(percent) = text.strip_suffix('%') {
            return match number(percent)? / 100.0 {
                share if share <= 1.0 => Ok(MemoryLimit::Share(share)),
                _ => Err(InvalidLimit::TooMuch(text.to_owned())),
            };
        }
        let plain = text.trim_end_matches(['B', 'b']).trim_end_matches('i');
        let unit = match plain.chars().last().map(|c| c.to_ascii_uppercase()) {
            Some('K') => 1 << 10,
            Some('M') => 1 << 20,
            Some('G') => 1u64 << 30,
            Some('T') => 1 << 40,
            _ => 1,
        };
        let digits = if unit == 1 { plain } else { &plain[..plain.len() - 1] };
        Ok(MemoryLimit::Bytes((number(digits)? * unit as f64) as u64))
    }
}

impl Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryLimit::Bytes(bytes) => write!(f, "{bytes}"),
            MemoryLimit::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

/// A number of bytes as people read it: GB and MB are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(
    /// The bytes.
    pub u64,
);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 {
            n if n >= 1e9 => write!(f, "{:.2} GB", n / 1e9),
            n if n >= 1e6 => write!(f, "{:.1} MB", n / 1e6),
            n => write!(f, "{:.1} kB", n / 1e3),
        }
    }
}

/// How much memory there is, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) bytes: u64,
    pub(crate) what: &'static str,
}

/// Returns the memory of the machine, or of the control group around this process where that is less. `root` is
/// `/`. None where the system does not say.
pub(crate) fn machine(root: &Path) -> Option<Machine> {
    let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    Some(match group_limit(root).filter(|limit| *limit < total) {
        Some(bytes) => Machine { bytes, what: "this control group" },
        None => Machine { bytes: total, what: "this machine" },
    })
}

/// Returns the least limit of the control groups around this process, version 1 or 2.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next(), fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // Inside a container the path may be that of the host: then its root is the group's own folder.
        let mut folder = PathBuf::from(path.trim_start_matches('/'));
        loop {
            let file = root.join(mount).join(&folder).join(file);
            let limit = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
            least = [least, limit].into_iter().flatten().min();
            if !folder.pop() {
                break;
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_amounts_or_shares() {
        let check = |text: &str, want: MemoryLimit| assert_eq!(text.parse(), Ok(want), "{text}");
        check("8G", MemoryLimit::Bytes(8 << 30));
        check("8GiB", MemoryLimit::Bytes(8 << 30));
        check("500M", MemoryLimit::Bytes(500 << 20));
        check("1.5g", MemoryLimit::Bytes(3 << 29));
        check("4096", MemoryLimit::Bytes(4096));
        check("80%", MemoryLimit::Share(0.8));
        check("100%", MemoryLimit::Share(1.0));
        for text in ["", "G", "-1G", "0", "120%", "%", "nan", "8X", "inf"] {
            assert!(text.parse::<MemoryLimit>().is_err(), "{text}");
        }
    }

    /// A machine of 1000 kB with these files.
    fn check_machine(files: &[(&str, &str)], bytes: u64, what: &str) {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in
            [&[("proc/meminfo", "MemFree: 1 kB\nMemTotal:       1000 kB\n")], files].concat()
        {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let found = machine(root.path()).unwrap();
        assert_eq!((found.bytes, found.what), (bytes, what), "{files:?}");
    }

    #[test]
    fn the_least_of_machine_and_control_groups_counts() {
        let (ours, group) = ("this machine", "this control group");
        check_machine(&[], 1_024_000, ours);
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        check_machine(&[v2, ("sys/fs/cgroup/a/b/memory.max", "max\n")], 1_024_000, ours);
        check_machine(&[v2, ("sys/fs/cgroup/a/b/memory.max", "5000\n")], 5000, group);
        check_machine(
            &[v2, ("sys/fs/cgroup/a/memory.max", "4000\n"), ("sys/fs/cgroup/a/b/memory.max", "5000\n")],
            4000,
            group,
        );
        // A container that sees its own group as the root.
        check_machine(&[v2, ("sys/fs/cgroup/memory.max", "3000\n")], 3000, group);
        let v1 = ("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/a\n0::/\n");
        check_machine(&[v1, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000\n")], 2000, group);
        check_machine(
            &[v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")],
            1_024_000,
            ours,
        );
        check_machine(&[v1, ("sys/fs/cgroup/cpu/x/memory.limit_in_bytes", "1\n")], 1_024_000, ours);
    }

    #[test]
    fn a_machine_that_does_not_say_has_no_limit_of_its_own() {
        assert_eq!(machine(Path::new("/nowhere")), None);
        assert_eq!(MemoryLimit::Share(0.8).resolve(None), None);
        assert_eq!(MemoryLimit::Bytes(7).resolve(None).unwrap().0, 7);
    }
}
