//! The settings of accounts.

use super::oidc::OidcSection;
use crate::accounts::{AccountRules, HashCost};
use chrono::TimeDelta;
use pacs_core::account::session::SessionRules;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountsSection {
    password_memory_mib: Option<u32>,
    password_passes: Option<u32>,
    session_idle_minutes: Option<i64>,
    session_hours: Option<i64>,
    pub(super) oidc: Option<OidcSection>,
}

/// Puts the settings together. Of passwords nothing weaker than 19 MiB and two passes can be set.
pub(super) fn settings(section: AccountsSection, faults: &mut Vec<String>) -> AccountRules {
    let memory_mib = section.password_memory_mib.unwrap_or(64);
    let passes = section.password_passes.unwrap_or(3);
    let idle_minutes = section.session_idle_minutes.unwrap_or(30);
    let hours = section.session_hours.unwrap_or(12);
    let mut within = |is_within: bool, what: &str| {
        if !is_within {
            faults.push(format!("accounts.{what}"));
        }
    };
    within(
        (19..=1_024).contains(&memory_mib),
        "password_memory_mib: not between 19 and 1024",
    );
    within(
        (2..=16).contains(&passes),
        "password_passes: not between 2 and 16",
    );
    within(
        (1..=240).contains(&idle_minutes),
        "session_idle_minutes: not between 1 and 240",
    );
    within(
        (1..=24).contains(&hours),
        "session_hours: not between 1 and 24",
    );
    if !faults.is_empty() {
        return AccountRules::default();
    }
    AccountRules {
        cost: HashCost {
            memory_kib: memory_mib << 10,
            passes,
        },
        sessions: SessionRules {
            idle_max: TimeDelta::minutes(idle_minutes),
            absolute_max: TimeDelta::hours(hours),
        },
    }
}
