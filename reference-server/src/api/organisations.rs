//! The family of organisations: who they are is for everybody who is signed in, to change it for
//! whoever looks after all of them.

use super::conditional::{Based, Tagged, etag};
use super::guard::{Body, Signed};
use super::openapi::{list, nothing_or, object, text};
use super::page::List;
use super::problem::codes;
use super::routes::{Basis, Family, Operation, Route};
use super::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use pacs_core::OrganisationCode;
use pacs_core::role::Permission;
use pacs_core::role::duty::OrganisationsManage;
use pacs_store::registry::RegistryError;
use pacs_store::registry::organisations::Organisation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/organisations",
            operations: &[LIST, CREATE],
        },
        Route {
            path: "/organisations/{code}",
            operations: &[READ, CHANGE],
        },
    ],
    schemas,
};

const LIST: Operation =
    Operation::get("organisations", "The organisations", || get(all)).gives(200, "Organisations");

const CREATE: Operation =
    Operation::post("createOrganisation", "Add an organisation", || post(create))
        .takes("Organisation")
        .gives(201, "Organisation")
        .tagged()
        .refuses(&[409])
        .needs(&[Permission::OrganisationsManage]);

const READ: Operation = Operation::get("organisation", "An organisation", || get(read))
    .gives(200, "Organisation")
    .tagged()
    .refuses(&[404]);

const CHANGE: Operation = Operation::put("changeOrganisation", "Change an organisation", || {
    put(change)
})
.takes("OrganisationParticulars")
.gives(200, "Organisation")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::OrganisationsManage]);

/// What is said of an organisation.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Particulars {
    /// Of one that is changed: the one of the path, or left out.
    code: Option<OrganisationCode>,
    key: String,
    name_ru: String,
    name_ky: String,
    name_en: String,
    city_ru: String,
    city_ky: String,
    #[serde(default)]
    city_ru_current: Option<String>,
    #[serde(default)]
    city_ky_current: Option<String>,
    region_ru: String,
    address_ru: String,
    ae_prefix: String,
    dicom_institution_name: String,
    dicom_institution_name_ascii: String,
    timezone: String,
    #[serde(default)]
    notes: String,
}

/// The same in a list.
#[derive(Serialize)]
struct Entry {
    etag: String,
    #[serde(flatten)]
    shown: Particulars,
}

impl From<Organisation> for Particulars {
    fn from(of: Organisation) -> Self {
        Self {
            code: Some(of.code),
            key: of.key,
            name_ru: of.name_ru,
            name_ky: of.name_ky,
            name_en: of.name_en,
            city_ru: of.city_ru,
            city_ky: of.city_ky,
            city_ru_current: of.city_ru_current,
            city_ky_current: of.city_ky_current,
            region_ru: of.region_ru,
            address_ru: of.address_ru,
            ae_prefix: of.ae_prefix,
            dicom_institution_name: of.dicom_institution_name,
            dicom_institution_name_ascii: of.dicom_institution_name_ascii,
            timezone: of.timezone,
            notes: of.notes,
        }
    }
}

impl Particulars {
    fn organisation(self, code: OrganisationCode) -> Organisation {
        Organisation {
            code,
            key: self.key,
            name_ru: self.name_ru,
            name_ky: self.name_ky,
            name_en: self.name_en,
            city_ru: self.city_ru,
            city_ky: self.city_ky,
            city_ru_current: self.city_ru_current,
            city_ky_current: self.city_ky_current,
            region_ru: self.region_ru,
            address_ru: self.address_ru,
            ae_prefix: self.ae_prefix,
            dicom_institution_name: self.dicom_institution_name,
            dicom_institution_name_ascii: self.dicom_institution_name_ascii,
            timezone: self.timezone,
            notes: self.notes,
        }
    }
}

async fn all(State(api): State<Api>, _signed: Signed) -> Result<Json<List<Entry>>, Problem> {
    let organisations = api.registry.organisations().await?;
    let entries = organisations.into_iter().map(|stored| Entry {
        etag: etag(stored.revision),
        shown: stored.value.into(),
    });
    Ok(Json(List::whole(entries.collect())))
}

fn code_of(code: Result<Path<String>, PathRejection>) -> Result<OrganisationCode, Problem> {
    let Path(code) = code?;
    Ok(OrganisationCode::parse(&code).map_err(|_| &codes::NOT_FOUND)?)
}

async fn read(
    State(api): State<Api>,
    _signed: Signed,
    code: Result<Path<String>, PathRejection>,
) -> Result<Tagged<Particulars>, Problem> {
    let stored = api.registry.organisation(code_of(code)?).await?;
    Ok(Tagged(StatusCode::OK, stored.revision, stored.value.into()))
}

async fn create(
    State(api): State<Api>,
    signed: Signed,
    Body(new): Body<Particulars>,
) -> Result<Tagged<Particulars>, Problem> {
    let licence = signed
        .agent(&api)
        .national_licence::<OrganisationsManage>()?;
    let code = new.code.ok_or(codes::MALFORMED.with("what", "code"))?;
    let organisation = new.organisation(code);
    let at = api.world.moment();
    let saved = api
        .registry
        .save_organisation(&licence, &organisation, None, at);
    match saved.await {
        Err(RegistryError::Changed) => Err(codes::TAKEN.with("what", "code")),
        Err(error) => Err(error.into()),
        Ok(revision) => Ok(Tagged(StatusCode::CREATED, revision, organisation.into())),
    }
}

async fn change(
    State(api): State<Api>,
    signed: Signed,
    code: Result<Path<String>, PathRejection>,
    Based(revision): Based,
    Body(particulars): Body<Particulars>,
) -> Result<Tagged<Particulars>, Problem> {
    let licence = signed
        .agent(&api)
        .national_licence::<OrganisationsManage>()?;
    let code = code_of(code)?;
    if particulars.code.is_some_and(|other| other != code) {
        return Err(codes::MALFORMED.with("what", "code"));
    }
    // It must be there, or it would be one more.
    api.registry.organisation(code).await?;
    let organisation = particulars.organisation(code);
    let at = api.world.moment();
    let saved = api
        .registry
        .save_organisation(&licence, &organisation, Some(revision), at);
    Ok(Tagged(StatusCode::OK, saved.await?, organisation.into()))
}

fn schemas() -> Vec<(&'static str, Value)> {
    let code = json!({"type": "string", "pattern": "^[0-9]{3}$"});
    let names = [
        "key",
        "name_ru",
        "name_ky",
        "name_en",
        "city_ru",
        "city_ky",
        "region_ru",
        "address_ru",
        "ae_prefix",
        "dicom_institution_name",
        "dicom_institution_name_ascii",
        "timezone",
        "notes",
    ];
    let mut members: Vec<(&str, Value)> = names.iter().map(|name| (*name, text())).collect();
    for name in ["city_ru_current", "city_ky_current"] {
        members.push((name, nothing_or(text())));
    }
    let optional = ["city_ru_current", "city_ky_current", "notes"];
    let with = |first: &[(&'static str, Value)], also: &[&str]| {
        let all: Vec<(&str, Value)> = first.iter().cloned().chain(members.clone()).collect();
        object(&all, &[also, &optional].concat())
    };
    vec![
        (
            "OrganisationParticulars",
            with(&[("code", code.clone())], &["code"]),
        ),
        ("Organisation", with(&[("code", code.clone())], &[])),
        (
            "ListedOrganisation",
            with(&[("code", code), ("etag", text())], &[]),
        ),
        ("Organisations", list("ListedOrganisation")),
    ]
}
