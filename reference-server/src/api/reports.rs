//! The report of an examination: written, signed, amended, sent; and what organisations were sent.

mod shown;
mod table;

pub(super) use table::FAMILY;

use super::asked::Asked;
use super::conditional::{Based, PerhapsBased, Tagged};
use super::examinations::{Id, Seeing, Standing, examination_id};
use super::guard::{Body, Signed, organisations};
use super::looking::{looked, recorded};
use super::page::{List, Page};
use super::problem::codes;
use super::{Api, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::examination::Reason;
use pacs_core::examination::progress::Revision;
use pacs_core::report::{Language, ReportText};
use pacs_core::role::Work;
use pacs_core::{OrganisationCode, Phi};
use pacs_store::registry::Stored;
use pacs_store::registry::examinations::Examination;
use pacs_store::registry::reports::{Recipients, Revising, Signing};
use serde::Deserialize;
use shown::{SentReport, ShownDelivery, ShownDraft, ShownReport, ShownVersion};
use std::collections::BTreeSet;

/// What somebody writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    language: Language,
    #[serde(default)]
    description: String,
    #[serde(default)]
    conclusion: String,
    #[serde(default)]
    recommendations: String,
    #[serde(default)]
    addendum: String,
}

impl From<Written> for ReportText {
    fn from(written: Written) -> Self {
        Self {
            language: written.language,
            description: written.description,
            conclusion: written.conclusion,
            recommendations: written.recommendations,
            addendum: written.addendum,
        }
    }
}

/// What whoever signs says. `proof` is the code of the second factor, or where there is none the
/// password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    is_identity_confirmed: bool,
    #[serde(default)]
    has_seen_late_images: bool,
    proof: String,
}

/// How a report is taken up again, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakenUp {
    revision: Revision,
    reason: String,
}

/// To whom a report is sent beside the organisation that ordered the examination.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Further {
    #[serde(default)]
    organisations: BTreeSet<OrganisationCode>,
    #[serde(default)]
    reason: Option<String>,
}

/// For whom somebody opened it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenedFor {
    organisation: OrganisationCode,
}

async fn read(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
) -> Result<Json<ShownReport>, Problem> {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let report = api.registry.report(&reader, id, api.world.moment()).await?;
    Ok(Json((&report).into()))
}

async fn draft(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(written): Body<Written>,
) -> Result<Tagged<ShownDraft>, Problem> {
    let id = examination_id(&id?.0)?;
    let agent = signed.agent(&api);
    let text = ReportText::from(written);
    let at = api.world.moment();
    let saved = api
        .registry
        .save_report_draft(&agent, id, (&text, expected), at)
        .await?;
    Ok(Tagged(StatusCode::OK, saved.revision, (&saved).into()))
}

async fn sign(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    Based(draft): Based,
    Body(signature): Body<Signature>,
) -> Result<(StatusCode, Json<ShownVersion>), Problem> {
    let id = examination_id(&id?.0)?;
    let agent = signed.agent(&api);
    // Who cannot sign uses up no code.
    api.registry.report_in_work(&agent, id).await?;
    let (accounts, from) = (&api.accounts, signed.from);
    accounts
        .prove_anew(&signed.who, &signature.proof, from)
        .await?;
    let random = || api.world.random().map_err(crate::accounts::Refused::from);
    let signing = Signing {
        draft,
        author_name: &signed.who.user.value.display_name,
        is_identity_confirmed: signature.is_identity_confirmed,
        has_seen_late_images: signature.has_seen_late_images,
        is_proved: true,
        random: [random()?, random()?],
    };
    let at = api.world.moment();
    let version = api.registry.sign_report(&agent, id, &signing, at).await?;
    Ok((StatusCode::CREATED, Json((&version).into())))
}

type Stand = Result<Tagged<Standing>, Problem>;

fn standing(of: &Stored<Examination>) -> Tagged<Standing> {
    Tagged(StatusCode::OK, of.revision, (&of.value).into())
}

async fn revise(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(taken_up): Body<TakenUp>,
) -> Stand {
    let id = examination_id(&id?.0)?;
    let reason = Reason::parse(&taken_up.reason).map_err(|_| &codes::REASON_NEEDED)?;
    let revising = Revising {
        revision: taken_up.revision,
        reason: &reason,
        expected,
    };
    let (agent, at) = (signed.agent(&api), api.world.moment());
    let revised = api.registry.revise_report(&agent, id, &revising, at).await;
    Ok(standing(&revised?))
}

async fn send(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(further): Body<Further>,
) -> Stand {
    let id = examination_id(&id?.0)?;
    let reason = further.reason.as_deref().map(Reason::parse);
    let reason = reason.transpose().map_err(|_| &codes::REASON_NEEDED)?;
    let recipients = Recipients {
        further: &further.organisations,
        reason: reason.as_ref(),
        expected,
    };
    let (agent, at) = (signed.agent(&api), api.world.moment());
    let sent = api.registry.send_report(&agent, id, &recipients, at).await;
    Ok(standing(&sent?))
}

async fn acknowledge(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    Body(opened): Body<OpenedFor>,
) -> Result<Json<ShownDelivery>, Problem> {
    let id = examination_id(&id?.0)?;
    let (agent, at) = (signed.agent(&api), api.world.moment());
    let of = (id, opened.organisation);
    let delivery = api.registry.acknowledge_report(&agent, of, at).await?;
    Ok(Json((&delivery.value).into()))
}

async fn sent(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<SentReport>>, Problem> {
    let agent = signed.agent(&api);
    let organisation = asked.take_named::<OrganisationCode>("organisation")?;
    let organisation = match (organisation, organisations(&agent).as_slice()) {
        (Some(asked), _) => asked,
        (None, [only]) => *only,
        (None, _) => return Err((&codes::ORGANISATION_NEEDED).into()),
    };
    let list = format!("reports {organisation}");
    let page = Page::take(&mut asked, (&api, &signed), &list)?;
    asked.done()?;
    if agent.actors_at(organisation, Work::Any).is_empty() {
        return Err((&codes::NOT_PERMITTED).into());
    }
    let mut event = looked(&agent, Some(organisation), api.world.moment());
    event.object.query = Some(Phi::new(list));
    recorded(&api, &event).await?;
    let part = (page.after.as_deref(), page.limit);
    let found = api
        .registry
        .reports_sent_to(&agent, organisation, part)
        .await?;
    let deliveries = found.deliveries.iter();
    let items = deliveries.map(|(sent, of)| SentReport::of(&sent.value, of));
    Ok(Json(page.of(items.collect(), found.next.as_deref())))
}
