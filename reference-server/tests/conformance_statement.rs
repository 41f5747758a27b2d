//! The conformance statement says what the code does: services, statuses, limits.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

use pacs_core::commitment::FailureReason;
use pacs_net::NetLimits;
use pacs_net::sop_class::{INSTANCE_AVAILABILITY_NOTIFICATION, ServiceClass, service_class};
use pacs_net::status::{
    ActionStatus, CreateStatus, FindStatus, RetrieveStatus, SetStatus, StoreStatus,
};
use std::collections::BTreeSet;

const STATEMENT: &str = include_str!("../../docs/conformance-statement.md");
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

/// The status codes in the tables of `text`.
fn codes(text: &str) -> BTreeSet<u16> {
    rows(text)
        .filter_map(|cells| {
            let code = cells.get(1)?.strip_suffix('H')?;
            u16::from_str_radix(code, 16).ok()
        })
        .collect()
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

/// Whether the section names every status that is sent.
fn expect(heading: &str, sent: BTreeSet<u16>) {
    let named = codes(section(heading));
    let missing: Vec<_> = sent
        .difference(&named)
        .map(|c| format!("{c:04X}H"))
        .collect();
    assert!(missing.is_empty(), "{heading} does not name {missing:?}");
}

#[test]
fn every_status_of_procedure_steps_is_named() {
    let of_create = [
        CreateStatus::SUCCESS,
        CreateStatus::INVALID_ATTRIBUTE_VALUE,
        CreateStatus::PROCESSING_FAILURE,
        CreateStatus::DUPLICATE_SOP_INSTANCE,
        CreateStatus::INVALID_SOP_INSTANCE,
        CreateStatus::NO_SUCH_SOP_CLASS,
        CreateStatus::MISSING_ATTRIBUTE,
        CreateStatus::MISSING_ATTRIBUTE_VALUE,
        CreateStatus::NOT_AUTHORIZED,
        CreateStatus::MISTYPED_ARGUMENT,
        CreateStatus::RESOURCE_LIMITATION,
    ];
    let of_set = [
        SetStatus::ATTRIBUTE_LIST_ERROR,
        SetStatus::NO_SUCH_SOP_INSTANCE,
    ];

    let of_create = of_create.iter().map(CreateStatus::code);
    let of_set = of_set.iter().map(SetStatus::code);
    expect(
        "### 3.13 Modality Performed Procedure Step",
        of_create.chain(of_set).collect(),
    );
}

#[test]
fn every_status_that_is_sent_is_named_with_its_service() {
    let pending = [0xff00, 0xff01];
    let store = [
        StoreStatus::SUCCESS,
        StoreStatus::OUT_OF_RESOURCES,
        StoreStatus::DATA_SET_MISMATCH,
        StoreStatus::CANNOT_UNDERSTAND,
        StoreStatus::PROCESSING_FAILURE,
        StoreStatus::INVALID_SOP_INSTANCE,
        StoreStatus::SOP_CLASS_NOT_SUPPORTED,
        StoreStatus::NOT_AUTHORIZED,
        StoreStatus::MISTYPED_ARGUMENT,
    ];
    let find = [
        FindStatus::SUCCESS,
        FindStatus::CANCEL,
        FindStatus::OUT_OF_RESOURCES,
        FindStatus::IDENTIFIER_MISMATCH,
        FindStatus::UNABLE_TO_PROCESS,
        FindStatus::SOP_CLASS_NOT_SUPPORTED,
        FindStatus::NOT_AUTHORIZED,
    ];
    let retrieve = [
        RetrieveStatus::SUCCESS,
        RetrieveStatus::SUB_OPERATIONS_FAILED,
        RetrieveStatus::CANCEL,
        RetrieveStatus::OUT_OF_RESOURCES_MATCHES,
        RetrieveStatus::OUT_OF_RESOURCES_SUB_OPERATIONS,
        RetrieveStatus::MOVE_DESTINATION_UNKNOWN,
        RetrieveStatus::IDENTIFIER_MISMATCH,
        RetrieveStatus::UNABLE_TO_PROCESS,
        RetrieveStatus::SOP_CLASS_NOT_SUPPORTED,
        RetrieveStatus::NOT_AUTHORIZED,
    ];
    let action = [
        ActionStatus::SUCCESS,
        ActionStatus::PROCESSING_FAILURE,
        ActionStatus::NO_SUCH_SOP_INSTANCE,
        ActionStatus::INVALID_ARGUMENT_VALUE,
        ActionStatus::NO_SUCH_SOP_CLASS,
        ActionStatus::NO_SUCH_ACTION_TYPE,
        ActionStatus::NOT_AUTHORIZED,
        ActionStatus::MISTYPED_ARGUMENT,
        ActionStatus::RESOURCE_LIMITATION,
    ];

    expect(
        "### 3.3 Storage",
        store.iter().map(StoreStatus::code).collect(),
    );
    let of_find = find.iter().map(FindStatus::code).chain(pending);
    let of_find: BTreeSet<u16> = of_find.collect();
    expect("### 3.4 Query", of_find.clone());
    expect("### 3.12 Modality Worklist", of_find);
    let of_retrieve = retrieve.iter().map(RetrieveStatus::code).chain([0xff00]);
    expect("### 3.5 Retrieve", of_retrieve.collect());
    expect(
        "### 3.6 Storage Commitment",
        action.iter().map(ActionStatus::code).collect(),
    );
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
