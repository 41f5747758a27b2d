//! The exit codes of `pacs`, in one place: the help, the manual pages and docs/operations.md say
//! what stands here.

use std::process::ExitCode;

/// How a command of `pacs` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// The peer or the archive answered with a failure, or a file could not be read or written.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was begun.
    CommandLine = 2,
    /// The connection or the association failed.
    Connection = 3,
    /// Some of it was not done.
    Partly = 4,
    /// Content or index of an archive is damaged.
    Damaged = 5,
}

impl Exit {
    /// Every one, in order of its code.
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Failed,
        Self::CommandLine,
        Self::Connection,
        Self::Partly,
        Self::Damaged,
    ];

    /// What the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for a manual.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => {
                "the peer or the archive answered with a failure, or a file could not be read or \
                 written"
            }
            Self::CommandLine => {
                "the command line or the configuration is wrong; nothing was begun"
            }
            Self::Connection => {
                "the connection or the association failed; the message names the layer"
            }
            Self::Partly => "done in part: what was refused, and why, is told",
            Self::Damaged => "content or index of the archive is damaged",
        }
    }

    /// All of them, as the end of the help.
    #[must_use]
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrators_manual_has_every_exit_code_as_the_help_has_it() {
        let manual = include_str!("../../../docs/operations.md");

        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(manual.contains(&row), "docs/operations.md lacks: {row}");
        }
    }
}
