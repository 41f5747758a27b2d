//! What clients send to a workitem: a new state, or how far work is (PS3.4 Tables CC.2.1-1 and
//! CC.2.5-3).

use super::Progress;
use crate::compose::{Attribute, Content, items_of, text_of};
use pacs_core::tag::tags;
use pacs_core::uid::ClaimUid;
use pacs_core::workitem::State;
use pacs_core::{Tag, Vr};

/// Why a payload is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("Procedure Step Progress (0074,1004) is no number from 0 to 100")]
    Progress,
    #[error("Procedure Step State (0074,1000) is missing or none that a workitem can become")]
    State,
    #[error("Procedure Step State (0074,1000) is changed by PUT of the state")]
    StateHere,
    #[error("Transaction UID (0008,1195) is no UID")]
    Transaction,
}

/// A state that is wished for, and the Transaction UID that came with it, if one did.
pub(super) fn change(of: &[Attribute]) -> Result<(State, Option<ClaimUid>), PayloadError> {
    let state = text_of(of, tags::PROCEDURE_STEP_STATE);
    let state = state.and_then(State::of_term).ok_or(PayloadError::State)?;
    Ok((state, transaction(of)?))
}

fn transaction(of: &[Attribute]) -> Result<Option<ClaimUid>, PayloadError> {
    let text = text_of(of, tags::TRANSACTION_UID);
    text.map(claim).transpose()
}

/// A Transaction UID.
pub(super) fn claim(text: &str) -> Result<ClaimUid, PayloadError> {
    ClaimUid::parse(text).map_err(|_| PayloadError::Transaction)
}

/// An update.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) claim: Option<ClaimUid>,
    pub(super) progress: Progress,
    /// It says more than is kept.
    pub(super) has_more: bool,
}

/// Reads an update: of all that a workitem says, how far work is can be said from outside. All else
/// is what the examination is.
pub(super) fn update(of: &[Attribute]) -> Result<Update, PayloadError> {
    let sequence = tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE;
    if of
        .iter()
        .any(|known| known.tag == tags::PROCEDURE_STEP_STATE)
    {
        return Err(PayloadError::StateHere);
    }
    let is_kept = |tag: Tag| {
        tag == sequence || tag == tags::TRANSACTION_UID || tag == tags::SPECIFIC_CHARACTER_SET
    };
    let mut has_more = of.iter().any(|known| !is_kept(known.tag));
    let mut progress = Progress::default();
    match items_of(of, sequence) {
        [] => {}
        [item, more @ ..] => {
            has_more |= !more.is_empty();
            has_more |= item
                .iter()
                .any(|of| of.tag != tags::PROCEDURE_STEP_PROGRESS);
            let written = item
                .iter()
                .find(|of| of.tag == tags::PROCEDURE_STEP_PROGRESS);
            progress.percent = written.map(percent).transpose()?;
        }
    }
    Ok(Update {
        claim: transaction(of)?,
        progress,
        has_more,
    })
}

/// A DS from 0 to 100, without what stands behind its decimal point.
fn percent(of: &Attribute) -> Result<u8, PayloadError> {
    let Content::Bytes(bytes) = &of.content else {
        return Err(PayloadError::Progress);
    };
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let is_number = of.vr == Vr::DS && !text.is_empty();
    let number = text.parse::<f64>().ok().filter(|_| is_number);
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    let whole = number.map(|number| format!("{:.0}", number.floor()));
    whole
        .and_then(|whole| whole.parse().ok())
        .ok_or(PayloadError::Progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::json;
    use serde_json::json;

    fn read(document: &serde_json::Value) -> Vec<Attribute> {
        let text = document.to_string();
        json::read(text.as_bytes()).unwrap().attributes
    }

    fn progress(value: &serde_json::Value) -> serde_json::Value {
        let item = json!({"00741004": {"vr": "DS", "Value": [value]}});
        json!({"00741002": {"vr": "SQ", "Value": [item]}})
    }

    #[test]
    fn a_change_of_state_has_the_state_and_whose_it_is() {
        let mut document = json!({
            "00081195": {"vr": "UI", "Value": ["2.25.9"]},
            "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
        });
        let claim = ClaimUid::parse("2.25.9").unwrap();
        let expected = Ok((State::InProgress, Some(claim)));
        assert_eq!(change(&read(&document)), expected);
        document["00081195"]["Value"] = json!(["../9"]);
        assert_eq!(change(&read(&document)), Err(PayloadError::Transaction));
        document["00081195"] = json!({"vr": "UI"});
        assert_eq!(change(&read(&document)), Ok((State::InProgress, None)));
        document["00741000"]["Value"] = json!(["DONE"]);
        assert_eq!(change(&read(&document)), Err(PayloadError::State));
        assert_eq!(change(&[]), Err(PayloadError::State));
    }

    #[test]
    fn an_update_says_how_far_work_is_and_whatever_else_it_says_is_told_apart() {
        let said = |document: &serde_json::Value| update(&read(document));
        let percent = |percent: Option<u8>, has_more| {
            let progress = Progress { percent };
            Ok(Update {
                claim: None,
                progress,
                has_more,
            })
        };
        assert_eq!(said(&progress(&json!(60.9))), percent(Some(60), false));
        assert_eq!(said(&progress(&json!("100"))), percent(Some(100), false));
        assert_eq!(said(&json!({})), percent(None, false));
        let mut more = progress(&json!(1));
        more["00400400"] = json!({"vr": "LT", "Value": ["x"]});
        assert_eq!(said(&more), percent(Some(1), true));
        for wrong in [json!(-1), json!(101), json!("x")] {
            let is = said(&progress(&wrong));
            assert_eq!(is, Err(PayloadError::Progress), "{wrong}");
        }
        let state = json!({"00741000": {"vr": "CS", "Value": ["COMPLETED"]}});
        assert_eq!(said(&state), Err(PayloadError::StateHere));
    }
}
