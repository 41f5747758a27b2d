//! `pacs send`: has the server of an archive send a study to an AE, in the background.

use super::backup::{ask, expect, unexpected};
use super::failure::Failure;
use super::output::Output;
use super::{Local, peer};
use crate::control::sending::Asked;
use crate::control::{Reply, Request};
use clap::Args;
use pacs_core::AeTitle;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_store::registry::sendings::{Sending, SendingState};
use serde_json::json;
use std::time::Duration;

/// How often it is looked how far it is.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// What is to be sent, and where to.
#[derive(Debug, Clone, Args)]
pub struct Send {
    /// The archive
    #[command(flatten)]
    local: Local,
    /// Study Instance UID
    #[arg(long, value_name = "UID", value_parser = parse_study)]
    study: StudyUid,
    /// Series Instance UID, for one series of it
    #[arg(long, value_name = "UID", value_parser = parse_series)]
    series: Option<SeriesUid>,
    /// AE title of the destination, as the configuration of the server knows it
    #[arg(long, value_name = "AE", value_parser = peer::parse_title)]
    to: AeTitle,
    /// Wait until it is at its end
    #[arg(long)]
    wait: bool,
}

impl Send {
    /// The archive.
    pub(super) const fn local(&self) -> &Local {
        &self.local
    }
}

fn parse_study(text: &str) -> Result<StudyUid, String> {
    StudyUid::parse_legacy(text).map_err(|error| error.to_string())
}

fn parse_series(text: &str) -> Result<SeriesUid, String> {
    SeriesUid::parse_legacy(text).map_err(|error| error.to_string())
}

pub(super) async fn send(send: &Send, output: &Output) -> Result<(), Failure> {
    let order = Asked::Order {
        study: send.study.clone(),
        series: send.series.clone(),
        to: send.to.clone(),
    };
    let mut sending = asked(send, order).await?;
    if !send.wait {
        let value = json!({ "id": sending.id, "instances": sending.instances_count });
        output.result(sending.id.as_str(), &value);
        return Ok(());
    }
    while sending.state == SendingState::Open {
        tokio::time::sleep(LOOKED_EVERY).await;
        let show = Asked::Show {
            id: sending.id.clone(),
        };
        sending = asked(send, show).await?;
    }
    receipt(&sending, output)
}

fn receipt(sending: &Sending, output: &Output) -> Result<(), Failure> {
    for not in &sending.refused {
        let status = not.status.map(|status| format!("{status:04X}H"));
        let text = format!(
            "{} was refused: {} {}",
            not.instance,
            status.as_deref().unwrap_or("-"),
            not.why
        );
        let value = json!({ "instance": not.instance, "status": status, "why": not.why });
        output.problem(&text, &value);
    }
    let text = format!(
        "{} of {} taken, {} refused",
        sending.taken_count, sending.instances_count, sending.refused_count
    );
    let value = json!({
        "id": sending.id,
        "state": sending.state,
        "instances": sending.instances_count,
        "taken": sending.taken_count,
        "refused": sending.refused_count,
    });
    output.summary(&text, &value);
    if sending.state == SendingState::Done && sending.refused_count == 0 {
        return Ok(());
    }
    let why = sending.failure.clone();
    Err(Failure::Partly(why.unwrap_or(text)))
}

async fn asked(send: &Send, asked: Asked) -> Result<Sending, Failure> {
    let request = Request::Send(Box::new(asked));
    let mut answered = ask(&send.local.data, request).await?;
    let reply = expect(&mut answered).await?;
    if let Reply::Sending(sending) = reply {
        return Ok(*sending);
    }
    Err(unexpected(&reply))
}
