//! The family of devices: modalities, workstations and gateways, for whoever looks after those of
//! their organisation. Devices of others are not there.
//!
//! Who may connect stands in the configuration of the server; here is whose a device is and what
//! it can take in.

use super::asked::Asked;
use super::conditional::{Based, Tagged, etag};
use super::guard::{Body, Signed};
use super::openapi::{flag, list, nothing_or, object, text};
use super::page::{CURSOR, LIMIT, List, Page};
use super::problem::codes;
use super::routes::{Basis, Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::limits::API_DEVICES_SCANNED_MAX;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use pacs_core::device::DeviceProfile;
use pacs_core::role::duty::UsersManage;
use pacs_core::role::{Agent, Licence, Permission};
use pacs_core::{AeTitle, DepartmentCode, OrganisationCode};
use pacs_store::registry::devices::Device;
use pacs_store::registry::{RegistryError, Stored};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/devices",
            operations: &[LIST, CREATE],
        },
        Route {
            path: "/devices/{ae_title}",
            operations: &[READ, CHANGE, REMOVE],
        },
    ],
    schemas,
};

const LIST: Operation = Operation::get(
    "devices",
    "Devices of the organisations I look after",
    || get(all),
)
.asks(&[
    Parameter {
        name: "organisation",
        summary: "whose they are",
        schema: r#"{"type": "string", "pattern": "^[0-9]{3}$"}"#,
    },
    CURSOR,
    LIMIT,
])
.gives(200, "Devices")
.needs(&[Permission::UsersManage]);

const CREATE: Operation = Operation::post("createDevice", "Register a device", || post(create))
    .takes("NewDevice")
    .gives(201, "Device")
    .tagged()
    .refuses(&[404, 409])
    .needs(&[Permission::UsersManage]);

const READ: Operation = Operation::get("device", "A device", || get(read))
    .gives(200, "Device")
    .tagged()
    .refuses(&[404])
    .needs(&[Permission::UsersManage]);

const CHANGE: Operation = Operation::put("changeDevice", "Change a device", || put(change))
    .takes("DeviceSettings")
    .gives(200, "Device")
    .tagged()
    .based(Basis::Needed)
    .refuses(&[404, 409])
    .needs(&[Permission::UsersManage]);

const REMOVE: Operation =
    Operation::delete("removeDevice", "Take a device away", || delete(remove))
        .based(Basis::Needed)
        .refuses(&[404])
        .needs(&[Permission::UsersManage]);

/// What can be set of a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Of a device that is changed: the one of the path, or left out.
    ae_title: Option<String>,
    organisation: OrganisationCode,
    #[serde(default)]
    host: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    modality: String,
    #[serde(default)]
    department: Option<DepartmentCode>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    mpps: bool,
    #[serde(default)]
    commitment: bool,
    #[serde(default)]
    profile: DeviceProfile,
}

impl Settings {
    fn device(self, ae_title: AeTitle) -> Device {
        Device {
            ae_title,
            organisation: self.organisation,
            host: self.host,
            port: self.port,
            modality: self.modality,
            department: self.department,
            name: self.name,
            mpps: self.mpps,
            commitment: self.commitment,
            profile: self.profile,
        }
    }
}

/// A device in a list.
#[derive(Serialize)]
struct Entry {
    etag: String,
    #[serde(flatten)]
    device: Device,
}

async fn all(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Entry>>, Problem> {
    let agent = signed.agent(&api);
    let organisation = asked.take_by("organisation", |text| OrganisationCode::parse(text).ok())?;
    let name = organisation.map_or_else(|| "devices".to_owned(), |code| format!("devices {code}"));
    let page = Page::take(&mut asked, (&api, &signed), &name)?;
    asked.done()?;
    may_look(&agent)?;
    let after = page.after.as_deref().map(AeTitle::parse);
    let mut after = after.transpose().map_err(|_| &codes::BAD_CURSOR)?;
    let mut items = Vec::new();
    let mut scanned_count = 0;
    while scanned_count < API_DEVICES_SCANNED_MAX {
        let devices = api.registry.devices(after.as_ref(), page.limit).await?;
        let is_last = devices.len() < page.limit;
        scanned_count += devices.len();
        for stored in devices {
            after = Some(stored.value.ae_title.clone());
            let of = stored.value.organisation;
            let is_asked = organisation.is_none_or(|code| code == of);
            if is_asked && agent.licence::<UsersManage>(of).is_ok() {
                items.push(Entry {
                    etag: etag(stored.revision),
                    device: stored.value,
                });
            }
            if items.len() == page.limit {
                let next = after.as_ref().map(AeTitle::as_str);
                return Ok(Json(page.of(items, next)));
            }
        }
        if is_last {
            return Ok(Json(page.of(items, None)));
        }
    }
    let next = after.as_ref().map(AeTitle::as_str);
    Ok(Json(page.of(items, next)))
}

/// Whether somebody looks after devices anywhere.
fn may_look(agent: &Agent) -> Result<(), Problem> {
    if agent.grants.has(Permission::UsersManage) {
        Ok(())
    } else {
        Err((&codes::NOT_PERMITTED).into())
    }
}

/// A device that whoever asks looks after; others are not there.
async fn known(
    api: &Api,
    agent: &Agent,
    ae_title: Result<Path<String>, PathRejection>,
) -> Result<(Stored<Device>, Licence<UsersManage>), Problem> {
    let Path(ae_title) = ae_title?;
    may_look(agent)?;
    let ae_title = AeTitle::parse(&ae_title).map_err(|_| &codes::NOT_FOUND)?;
    let stored = api.registry.device(&ae_title).await?;
    let licence = agent.licence(stored.value.organisation);
    let licence = licence.map_err(|_| &codes::NOT_FOUND)?;
    Ok((stored, licence))
}

async fn read(
    State(api): State<Api>,
    signed: Signed,
    ae_title: Result<Path<String>, PathRejection>,
) -> Result<Tagged<Device>, Problem> {
    let agent = signed.agent(&api);
    let (stored, _) = known(&api, &agent, ae_title).await?;
    Ok(Tagged(StatusCode::OK, stored.revision, stored.value))
}

async fn create(
    State(api): State<Api>,
    signed: Signed,
    Body(settings): Body<Settings>,
) -> Result<Tagged<Device>, Problem> {
    let agent = signed.agent(&api);
    let ae_title = settings.ae_title.as_deref().unwrap_or_default();
    let ae_title = AeTitle::parse(ae_title);
    let ae_title = ae_title.map_err(|_| codes::MALFORMED.with("what", "ae_title"))?;
    let device = settings.device(ae_title);
    let licence = agent.licence::<UsersManage>(device.organisation)?;
    let at = api.world.moment();
    match api.registry.save_device(&licence, &device, None, at).await {
        // Whose it is, is for nobody to be told.
        Err(RegistryError::Changed | RegistryError::Unlicensed(_)) => {
            Err(codes::TAKEN.with("what", "ae_title"))
        }
        Err(error) => Err(error.into()),
        Ok(revision) => Ok(Tagged(StatusCode::CREATED, revision, device)),
    }
}

async fn change(
    State(api): State<Api>,
    signed: Signed,
    ae_title: Result<Path<String>, PathRejection>,
    Based(revision): Based,
    Body(settings): Body<Settings>,
) -> Result<Tagged<Device>, Problem> {
    let agent = signed.agent(&api);
    let (stored, licence) = known(&api, &agent, ae_title).await?;
    let ae_title = stored.value.ae_title;
    let is_other = settings
        .ae_title
        .as_deref()
        .is_some_and(|t| t != ae_title.as_str());
    if is_other {
        return Err(codes::MALFORMED.with("what", "ae_title"));
    }
    let device = settings.device(ae_title);
    // Where it changes hands, the other side has to be ours too.
    let licence = if device.organisation == stored.value.organisation {
        licence
    } else {
        agent.licence::<UsersManage>(device.organisation)?;
        agent.national_licence()?
    };
    let at = api.world.moment();
    let saved = api
        .registry
        .save_device(&licence, &device, Some(revision), at);
    Ok(Tagged(StatusCode::OK, saved.await?, device))
}

async fn remove(
    State(api): State<Api>,
    signed: Signed,
    ae_title: Result<Path<String>, PathRejection>,
    Based(revision): Based,
) -> Result<StatusCode, Problem> {
    let agent = signed.agent(&api);
    let (stored, licence) = known(&api, &agent, ae_title).await?;
    let at = api.world.moment();
    let ae_title = &stored.value.ae_title;
    let removed = api.registry.remove_device(&licence, ae_title, revision, at);
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn number(maximum: u32) -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": maximum})
}

/// What a device can take in.
fn profile() -> Value {
    let keep_until = json!({"anyOf": [
        {"enum": ["completed", "started"]},
        {
            "type": "object",
            "properties": {"hours": number(65_535)},
            "required": ["hours"],
            "additionalProperties": false,
        },
    ]});
    let window = object(
        &[
            ("days_back", number(65_535)),
            ("days_ahead", number(65_535)),
        ],
        &[],
    );
    let length = json!({"type": "integer", "minimum": 1, "maximum": 64});
    let profile_members = [
        ("charset", json!({"enum": ["ASCII", "CYR144", "UTF8"]})),
        (
            "name_style",
            json!({"enum": ["latin", "latin_and_own", "own"]}),
        ),
        ("name_chars_max", length.clone()),
        ("text_chars_max", length),
        ("send_pin", flag()),
        ("window", window),
        ("keep_until", keep_until),
    ];
    let optional: Vec<&str> = profile_members.iter().map(|(name, _)| *name).collect();
    object(&profile_members, &optional)
}

fn schemas() -> Vec<(&'static str, Value)> {
    let settings = [
        (
            "organisation",
            json!({"type": "string", "pattern": "^[0-9]{3}$"}),
        ),
        ("host", text()),
        ("port", number(65_535)),
        ("modality", text()),
        ("department", nothing_or(super::openapi::department())),
        ("name", text()),
        ("mpps", flag()),
        ("commitment", flag()),
        ("profile", super::openapi::reference("DeviceProfile")),
    ];
    let optional = [
        "host",
        "port",
        "modality",
        "department",
        "name",
        "mpps",
        "commitment",
        "profile",
    ];
    let with = |first: &[(&'static str, Value)], optional: &[&str]| {
        object(&[first, &settings].concat(), optional)
    };
    let title = ("ae_title", text());
    vec![
        ("DeviceProfile", profile()),
        (
            "DeviceSettings",
            with(
                std::slice::from_ref(&title),
                &[&["ae_title"], &optional[..]].concat(),
            ),
        ),
        ("NewDevice", with(std::slice::from_ref(&title), &optional)),
        (
            "Device",
            with(std::slice::from_ref(&title), &["department"]),
        ),
        (
            "ListedDevice",
            with(&[title, ("etag", text())], &["department"]),
        ),
        ("Devices", list("ListedDevice")),
    ]
}
