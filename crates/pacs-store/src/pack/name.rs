//! File names in the data directory, built from numbers alone.

/// Directory of the packs.
pub(crate) const DIRECTORY: &str = "packs";

/// Numbers of large packs begin here, those of log packs end before.
const LARGE_FROM: u64 = 1 << 40;

/// A pack's kind and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PackName {
    /// Part of the log.
    Log(u64),
    /// One streamed instance.
    Large(u64),
    /// One instance that was being streamed, or whose log entry may be missing.
    Part(u64),
}

impl PackName {
    /// The pack that a location names.
    pub(crate) const fn of_location(pack: u64) -> Self {
        if pack < LARGE_FROM {
            Self::Log(pack)
        } else {
            Self::Large(pack - LARGE_FROM)
        }
    }

    /// How a location names this pack.
    pub(crate) const fn location(self) -> u64 {
        match self {
            Self::Log(number) => number,
            Self::Large(number) | Self::Part(number) => number.saturating_add(LARGE_FROM),
        }
    }

    /// Its name in the data directory.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Log(number) => format!("{DIRECTORY}/log-{number:010}.tar"),
            Self::Large(number) => format!("{DIRECTORY}/large-{number:010}.tar"),
            Self::Part(number) => format!("{DIRECTORY}/large-{number:010}.part"),
        }
    }

    /// Reads a name from a listing of [`DIRECTORY`]; `None` for what is none of ours.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (stem, extension) = file.split_once('.')?;
        let (kind, digits) = stem.split_once('-')?;
        let number: u64 = digits.parse().ok().filter(|n| *n < LARGE_FROM)?;
        let name = match (kind, extension) {
            ("large", "part") => Self::Part(number),
            ("large", "tar") => Self::Large(number),
            ("log", "tar") => Self::Log(number),
            _ => return None,
        };
        // Only the one spelling, so that no two files are the same pack.
        (name.path().strip_prefix(DIRECTORY)?.strip_prefix('/')? == file).then_some(name)
    }
}

/// Where the bytes go that are cut off log pack `number` at `offset`, for the `count`th time. It is
/// no pack: nothing reads it.
pub(crate) fn cut_path(number: u64, offset: u64, count: u32) -> String {
    format!("{DIRECTORY}/cut-{number:010}-{offset:012}-{count}.bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            PackName::Log(1),
            PackName::Large(12_345_678_901),
            PackName::Part(7),
        ] {
            let path = name.path();
            assert_eq!(
                PackName::parse(path.strip_prefix("packs/").unwrap()),
                Some(name)
            );
        }
        assert_eq!(
            PackName::of_location(PackName::Large(3).location()),
            PackName::Large(3)
        );
        assert_eq!(
            PackName::of_location(PackName::Log(3).location()),
            PackName::Log(3)
        );
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for file in [
            "log-1.tar",
            "log-+000000001.tar",
            "log-0000000001.tar.gz",
            "x",
            "log-.tar",
            "cut-0000000001-000000000512-1.bin",
        ] {
            assert_eq!(PackName::parse(file), None, "{file}");
        }
    }
}
