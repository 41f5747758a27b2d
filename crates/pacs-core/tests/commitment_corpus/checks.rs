//! What must hold of the data sets of storage commitment, whatever their bytes: used by the fuzz
//! target `commitment`, and by the replay of its corpus.

use pacs_core::TransferSyntaxUid;
use pacs_core::commitment::{CommitmentReport, CommitmentRequest};
use pacs_core::limits::CommitmentLimits;

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

/// What an input was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// The action information of an N-ACTION request.
    pub(crate) is_request: bool,
    /// The event information of an N-EVENT-REPORT request.
    pub(crate) is_report: bool,
}

/// Refused, or within the limits and the same when it is written and read again. The first byte
/// chooses the encoding and whether the limits are those of the server or small ones.
pub(crate) fn commitment(input: &[u8]) -> Read {
    let Some((choice, bytes)) = input.split_first() else {
        return Read::default();
    };
    let syntax = TransferSyntaxUid::parse(SYNTAXES[usize::from(choice & 3)]).expect("a UID");
    let limits = if choice & 4 == 0 {
        CommitmentLimits::default()
    } else {
        CommitmentLimits {
            data_set_bytes_max: 512,
            references_max: 3,
            depth_max: 2,
        }
    };
    let request = CommitmentRequest::read(bytes, &syntax, &limits);
    if let Ok(request) = &request {
        assert!(!request.references.is_empty());
        assert!(request.references.len() <= limits.references_max);
        for to in SYNTAXES {
            let to = TransferSyntaxUid::parse(to).expect("a UID");
            let written = request.to_data_set(&to).expect("what was read fits");
            let read = CommitmentRequest::read(&written, &to, &CommitmentLimits::default());
            assert_eq!(read.as_ref(), Ok(request));
        }
    }
    let report = CommitmentReport::read(bytes, &syntax, &limits);
    if let Ok(report) = &report {
        assert!(report.committed.len() + report.failed.len() <= limits.references_max);
        for to in SYNTAXES {
            let to = TransferSyntaxUid::parse(to).expect("a UID");
            let written = report.to_data_set(&to).expect("what was read fits");
            let read = CommitmentReport::read(&written, &to, &CommitmentLimits::default());
            assert_eq!(read.as_ref(), Ok(report));
        }
        let is_whole = report.failed.is_empty();
        assert_eq!(report.event_type(), if is_whole { 1 } else { 2 });
    }
    Read {
        is_request: request.is_ok(),
        is_report: report.is_ok(),
    }
}
