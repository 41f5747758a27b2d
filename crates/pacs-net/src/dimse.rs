//! DIMSE messages (PS3.7): fragments in, commands and streams of data set bytes out. No I/O, no
//! time.

pub mod assembler;
pub mod command_set;

pub use assembler::{Assembler, Event};
pub use command_set::CommandSet;

/// Command fields (PS3.7 E.1).
pub mod command_field {
    /// C-STORE-RQ
    pub const C_STORE_RQ: u16 = 0x0001;
    /// C-GET-RQ
    pub const C_GET_RQ: u16 = 0x0010;
    /// C-FIND-RQ
    pub const C_FIND_RQ: u16 = 0x0020;
    /// C-MOVE-RQ
    pub const C_MOVE_RQ: u16 = 0x0021;
    /// C-ECHO-RQ
    pub const C_ECHO_RQ: u16 = 0x0030;
    /// N-EVENT-REPORT-RQ
    pub const N_EVENT_REPORT_RQ: u16 = 0x0100;
    /// N-SET-RQ
    pub const N_SET_RQ: u16 = 0x0120;
    /// N-ACTION-RQ
    pub const N_ACTION_RQ: u16 = 0x0130;
    /// N-CREATE-RQ
    pub const N_CREATE_RQ: u16 = 0x0140;
    /// C-CANCEL-RQ
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
    /// Set in the command field of every response.
    pub const RESPONSE: u16 = 0x8000;
}

/// Priority (0000,0700).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// 0001H
    High,
    /// 0002H
    Low,
    /// 0000H, and whatever else a peer sends.
    #[default]
    Medium,
}

impl Priority {
    /// From the wire.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        match code {
            1 => Self::High,
            2 => Self::Low,
            _ => Self::Medium,
        }
    }

    /// For the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::High => 1,
            Self::Low => 2,
            Self::Medium => 0,
        }
    }
}
