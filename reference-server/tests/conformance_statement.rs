//! The conformance statement says what the code does: services, statuses, limits.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

use pacs_core::commitment::FailureReason;
use pacs_core::instance::INDEXED;
use pacs_core::query::COMPUTED;
use pacs_core::{Level, TransferSyntaxUid};
use pacs_image::is_decoded;
use pacs_net::NetLimits;
use pacs_net::sop_class::{INSTANCE_AVAILABILITY_NOTIFICATION, ServiceClass, service_class};
use pacs_net::status::{
    ActionStatus, CreateStatus, FindStatus, RetrieveStatus, SetStatus, StatusClass, StoreStatus,
};
use pacs_web::Failure;
use std::collections::BTreeSet;

const STATEMENT: &str = include_str!("../../docs/conformance-statement.md");
const SYNTAXES: &str = include_str!("../../crates/pacs-core/testdata/transfer-syntaxes.tsv");
const CLASSES: &str = include_str!("../../crates/pacs-net/testdata/sop-classes.tsv");

/// The text under the heading that begins with `heading`, up to the next of its level.
fn section(heading: &str) -> &'static str {
    let from = STATEMENT
        .find(heading)
        .unwrap_or_else(|| panic!("no section {heading}"));
    let text = STATEMENT.get(from..).unwrap();
    let level = heading.chars().take_while(|c| *c == '#').count();
    let next = format!("\n{} ", "#".repeat(level));
    text.get(..text.find(&next).unwrap_or(text.len())).unwrap()
}

/// Rows of the tables of `text`, as trimmed cells.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| line.starts_with('|') && !line.contains("---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_class_that_is_served_or_used_is_named_and_no_other() {
    let mut served: BTreeSet<&str> = CLASSES
        .lines()
        .filter_map(|line| line.split('\t').next())
        .filter(|uid| !uid.starts_with('#'))
        .filter(|uid| {
            !matches!(
                service_class(uid),
                ServiceClass::Other | ServiceClass::Storage
            )
        })
        .collect();
    // A user of it alone.
    served.insert(INSTANCE_AVAILABILITY_NOTIFICATION);
    let named: BTreeSet<&str> = rows(section("## 1 Overview"))
        .filter_map(|cells| cells.get(1).copied())
        .filter(|cell| cell.starts_with("1.2.840."))
        .collect();

    assert_eq!(named, served);
}

/// The table of statuses of the section names those of `sent`, and no other.
fn expect<'c>(heading: &str, column: &str, sent: impl IntoIterator<Item = &'c u16>) {
    let hex = |code: &u16| format!("{code:04X}H");
    let sent: BTreeSet<String> = sent.into_iter().map(hex).collect();
    let rows = table(heading, column);
    let named: BTreeSet<String> = rows.iter().map(|cells| cells[1].to_owned()).collect();

    assert_eq!(named, sent, "{heading}");
}

#[test]
fn every_status_that_is_sent_is_named_with_its_service_and_no_other() {
    // The archive coerces and discards nothing: its C-STORE has no warning.
    let store = StoreStatus::CODES.iter();
    let store = store.filter(|code| StatusClass::of(**code) != StatusClass::Warning);
    let find = FindStatus::CODES.iter().chain(&[0xff00, 0xff01]);
    let steps = CreateStatus::CODES.iter().chain(SetStatus::CODES);

    let retrieve = RetrieveStatus::CODES.iter().chain(&[0xff00]);

    expect("### 3.3 Storage", "status", store);
    expect("### 3.4 Query", "status", find.clone());
    expect("### 3.5 Retrieve", "status", retrieve);
    let actions = "status of N-ACTION";
    expect("### 3.6 Storage Commitment", actions, ActionStatus::CODES);
    expect("### 3.12 Modality Worklist", "status", find);
    let of_steps = "status of N-CREATE or N-SET";
    let heading = "### 3.13 Modality Performed Procedure Step";
    expect(heading, of_steps, steps);
}

/// The HTTP statuses of a table.
fn http_statuses(heading: &str, column: &str) -> BTreeSet<u16> {
    let rows = table(heading, column);
    let cells = rows.iter().flat_map(|cells| cells[0].split(", "));
    cells.map(|code| code.parse().unwrap()).collect()
}

#[test]
fn every_status_of_dicomweb_is_named_and_no_other() {
    let failures = Failure::STATUSES.iter().map(|status| status.as_u16());
    // What the server says before it has looked at what is asked, and what is no failure.
    let searching: BTreeSet<u16> = failures.clone().chain([414, 431]).collect();
    let searching = &searching | &BTreeSet::from([200, 204, 206, 304]);
    let known = failures.chain([200, 202, 408]).collect();

    let heading = "### 3.9 Retrieve and Search";
    let named = http_statuses(heading, "status of search and retrieve");
    assert_eq!(named, searching);
    for (heading, column) in [("### 3.8 Store", "status"), (heading, "status")] {
        let named = http_statuses(heading, column);
        assert!(
            named.len() > 6 && named.is_subset(&known),
            "{heading}: {named:?}"
        );
    }
}

/// Attributes in a row of a table, as `(gggg,eeee)`.
fn tags_in(cell: &str) -> BTreeSet<String> {
    let parts = cell.split('(').filter_map(|part| part.split_once(')'));
    parts
        .filter(|(tag, _)| tag.len() == 9 && tag.contains(','))
        .map(|(tag, _)| format!("({tag})"))
        .collect()
}

#[test]
fn the_keys_of_a_query_are_those_that_are_known() {
    let rows = table("### 3.4 Query", "level");
    assert_eq!(rows.len(), Level::ALL.len());
    for (level, cells) in Level::ALL.into_iter().zip(rows) {
        assert_eq!(cells[0].to_uppercase(), level.name());
        let known = INDEXED.iter().chain(COMPUTED);
        let of_level = known.filter(|(_, of)| *of == level);
        let of_level: BTreeSet<_> = of_level.map(|(tag, _)| tag.to_string()).collect();
        assert_eq!(tags_in(cells[1]), of_level, "{}", level.name());
    }
}

#[test]
fn the_transfer_syntaxes_that_are_decoded_are_those_of_the_code() {
    const ROOT: &str = "1.2.840.10008.1.2";
    let all = SYNTAXES.lines().skip(1);
    let all = all.filter_map(|line| line.split('\t').next());
    let decoded: BTreeSet<String> = all
        .filter(|name| is_decoded(&TransferSyntaxUid::parse(name).unwrap()))
        .map(str::to_owned)
        .collect();
    let mut named = BTreeSet::new();
    for cells in table("### 3.5 Retrieve", "compressed transfer syntax") {
        let short = cells[0].split(['(', ')', ',', ' ']);
        let short = short.filter(|word| word.starts_with('.'));
        let names = short.map(|word| format!("{ROOT}{word}"));
        if cells[1] == "no" {
            let wrong: Vec<_> = names.filter(|name| decoded.contains(name)).collect();
            assert!(wrong.is_empty(), "they are decoded: {wrong:?}");
        } else {
            named.extend(names);
        }
    }

    assert_eq!(named, decoded);
}

/// The rows of a table, without those of the other tables of the section, by the name of its first
/// column.
fn table(heading: &str, column: &str) -> Vec<Vec<&'static str>> {
    let text = section(heading);
    let from = text.find(&format!("| {column} |"));
    let text = text.get(from.unwrap_or_else(|| panic!("no table {column}"))..);
    let text = text.unwrap().split("\n\n").next().unwrap();
    rows(text).skip(1).collect()
}

#[test]
fn the_reasons_of_commitment_are_those_of_the_code() {
    let named = table("### 3.6 Storage Commitment", "failure reason");
    let named: BTreeSet<(String, u16)> = named
        .iter()
        .map(|cells| {
            let code = u16::from_str_radix(cells[1].trim_end_matches('H'), 16);
            (cells[0].to_lowercase(), code.unwrap())
        })
        .collect();
    // Resource limitation is a status of the request here, and no reason of a report.
    let sent = [
        FailureReason::PROCESSING_FAILURE,
        FailureReason::NO_SUCH_OBJECT_INSTANCE,
        FailureReason::CLASS_INSTANCE_CONFLICT,
        FailureReason::SOP_CLASS_NOT_SUPPORTED,
        FailureReason::DUPLICATE_TRANSACTION_UID,
    ];
    let sent = sent.map(|reason| (reason.meaning().to_lowercase(), reason.0));

    assert_eq!(named, sent.into());
}

/// Whatever the statement calls an addition stands among the extensions, and the other way round.
#[test]
fn extensions_are_told_where_they_are_and_together() {
    let web = section("### 3.9 Retrieve and Search Transactions");
    let extensions = table("## 5 Extensions", "extension");
    let expected = [
        ("deletion (no service of PS3.18)", "`DELETE`"),
        ("by a cursor", "cursor"),
        ("`overlay` (an addition of ours)", "`annotation=overlay`"),
    ];
    assert_eq!(extensions.len(), expected.len());
    for ((told, named), row) in expected.iter().zip(&extensions) {
        assert!(
            web.contains(told) && row[0].contains(named),
            "{told}: {row:?}"
        );
    }
    let additions = STATEMENT.matches("an addition of ours").count();
    assert_eq!(additions, 1, "another addition is to be named in section 5");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let limits = NetLimits::default();
    let policies = section("### 3.1 Association policies");
    let value = |name: &str| {
        rows(policies)
            .find(|cells| cells.first() == Some(&name))
            .and_then(|cells| cells.get(1).copied())
            .unwrap_or_else(|| panic!("no row {name}"))
            .to_owned()
    };

    assert_eq!(
        value("maximum PDU length offered"),
        limits.pdu_bytes_max.to_string()
    );
    let seconds = |duration: std::time::Duration| format!("{} s", duration.as_secs());
    for (row, number) in [
        (
            "simultaneous associations",
            format!("{} in all", limits.associations_max),
        ),
        (
            "simultaneous associations",
            format!("{} from one address", limits.associations_per_address_max),
        ),
        (
            "simultaneous associations",
            format!("{} of one calling title", limits.associations_per_ae_max),
        ),
        (
            "connections without association",
            format!("beyond {} ", limits.strangers_per_address_max),
        ),
        ("TLS hand-shake", seconds(limits.handshake_duration_max)),
        ("ARTIM", seconds(limits.artim)),
        ("idle association", seconds(limits.idle_duration_max)),
        ("least rate", seconds(limits.write_duration_max)),
        (
            "least rate",
            format!("{} KiB/s", limits.bytes_per_second_min >> 10),
        ),
        (
            "response of a C-MOVE destination",
            seconds(limits.response_duration_max),
        ),
    ] {
        assert!(value(row).contains(&number), "{row}: {number}");
    }
}

#[test]
fn the_implementation_is_identified_as_on_the_wire() {
    let policies = section("### 3.1 Association policies");

    assert!(policies.contains(pacs_net::implementation::IMPLEMENTATION_CLASS_UID));
    assert!(policies.contains("PACS_RS_"));
    assert!(pacs_net::implementation::IMPLEMENTATION_VERSION_NAME.starts_with("PACS_RS_"));
}
