//! The family of users: accounts of others, for whoever looks after the people of an organisation,
//! or of all.
//!
//! An administrator of one organisation sees whoever holds a role there, changes those who hold
//! none elsewhere, and gives roles of that organisation alone: none of the ministry's, the
//! archive's or the auditors'. Nobody changes their own account here.

use super::asked::Asked;
use super::conditional::{Based, Tagged, etag};
use super::guard::{Body, Signed};
use super::openapi::{flag, list, nothing_or, object, reference, several, text, time};
use super::page::{CURSOR, LIMIT, List, Page};
use super::problem::{Code, codes};
use super::routes::{Basis, Family, Operation, Route};
use super::{Api, Problem};
use crate::accounts::administer::{Change, Known};
use crate::accounts::external::Named;
use crate::accounts::manage::{Listed, NewUser};
use crate::limits::API_USERS_SCANNED_MAX;
use crate::oidc::Provider;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use pacs_core::account::UserName;
use pacs_core::role::duty::UsersManage;
use pacs_core::role::{
    Agent, Departments, Grant, Grants, Kinds, Permission, Reach, Role, SeparationError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/users",
            operations: &[LIST, CREATE],
        },
        Route {
            path: "/users/{name}",
            operations: &[READ, CHANGE],
        },
        Route {
            path: "/users/{name}/disabled",
            operations: &[DISABLE],
        },
        Route {
            path: "/users/{name}/external",
            operations: &[LINK, UNLINK],
        },
        Route {
            path: "/users/{name}/reset",
            operations: &[RESET],
        },
    ],
    schemas,
};

const LIST: Operation = Operation::get("users", "Users of the organisations I look after", || {
    get(all)
})
.asks(&[CURSOR, LIMIT])
.gives(200, "Users")
.needs(&[Permission::UsersManage]);

const CREATE: Operation = Operation::post(
    "createUser",
    "Make an account; its first password is shown once",
    || post(create),
)
.takes("NewUser")
.gives(201, "CreatedUser")
.tagged()
.refuses(&[409])
.needs(&[Permission::UsersManage]);

const READ: Operation = Operation::get("user", "A user", || get(read))
    .gives(200, "User")
    .tagged()
    .refuses(&[404])
    .needs(&[Permission::UsersManage]);

const CHANGE: Operation = Operation::put("changeUser", "Change name and roles of a user", || {
    put(change)
})
.takes("UserSettings")
.gives(200, "User")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::UsersManage]);

const DISABLE: Operation = Operation::put(
    "disableUser",
    "Let a user in no more, or again; their sessions end",
    || put(disable),
)
.takes("Disabled")
.gives(200, "User")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::UsersManage]);

const LINK: Operation = Operation::post(
    "linkUser",
    "Link a user with an identity at a provider, by which they sign in then",
    || post(link),
)
.takes("Identity")
.gives(200, "User")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::UsersManage]);

const UNLINK: Operation = Operation::delete(
    "unlinkUser",
    "Take an identity from a user; their sessions end",
    || delete(unlink),
)
.takes("Identity")
.gives(200, "User")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::UsersManage]);

const RESET: Operation = Operation::post(
    "resetUser",
    "Give a user a new first password, and take the second factor away",
    || post(reset),
)
.gives(200, "FirstPassword")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::UsersManage]);

/// Roles that somebody of the ministry gives alone.
const NATIONAL: [Role; 3] = [Role::ArchiveAdmin, Role::Auditor, Role::MohAdmin];

/// Roles that no person has.
const OF_NO_PERSON: [Role; 2] = [Role::Device, Role::Service];

super::problem::codes::codes! {
    OWN_ACCOUNT = 409 "user.own_account" "nobody changes their own account here";
    ROLES_CONTRADICT = 422 "user.roles_contradict" "one person cannot hold these roles";
    ROLE_FOR_ALL_KINDS = 422 "user.role_for_all_kinds" "this role is held for all kinds of images";
    ROLE_FOR_ALL_DEPARTMENTS = 422 "user.role_for_all_departments"
        "this role is held for all departments";
    ROLE_NOT_YOURS = 403 "user.role_not_yours" "whoever asks cannot give or change this role";
}

/// Whoever looks after people, and whose.
struct Administrator {
    agent: Agent,
    is_national: bool,
}

impl Administrator {
    fn of(api: &Api, signed: &Signed) -> Result<Self, Problem> {
        let agent = signed.agent(api);
        let is_national = agent.national_licence::<UsersManage>().is_ok();
        if is_national || agent.grants.has(Permission::UsersManage) {
            return Ok(Self { agent, is_national });
        }
        Err((&codes::NOT_PERMITTED).into())
    }

    fn looks_after(&self, grant: &Grant) -> bool {
        match grant.reach {
            Reach::National => self.is_national,
            Reach::Organisation(code) => self.agent.licence::<UsersManage>(code).is_ok(),
        }
    }

    /// Whether the account is to be seen: somebody without any role is the ministry's.
    fn sees(&self, grants: &Grants) -> bool {
        let grants: Vec<Grant> = grants.clone().into();
        self.is_national || grants.iter().any(|grant| self.looks_after(grant))
    }

    /// Refuses roles that are not this administrator's to give or to take. Who has none is the
    /// ministry's: others would not see them any more.
    fn may_give(&self, grants: &Grants) -> Result<(), Problem> {
        let grants: Vec<Grant> = grants.clone().into();
        let is_right = |grant: &Grant| {
            let is_of_ministry = NATIONAL.contains(&grant.role);
            self.looks_after(grant) && (self.is_national || !is_of_ministry)
        };
        let has_any = self.is_national || !grants.is_empty();
        if has_any && grants.iter().all(is_right) {
            Ok(())
        } else {
            Err((&ROLE_NOT_YOURS).into())
        }
    }

    /// The account of somebody else, as it was read; one that is not to be seen is not there.
    async fn other(
        &self,
        api: &Api,
        name: Result<Path<String>, PathRejection>,
    ) -> Result<Known, Problem> {
        let Path(name) = name?;
        let name = UserName::parse(&name).map_err(|_| &codes::NOT_FOUND)?;
        let known = api.accounts.known_user(&name).await?;
        if self.sees(&known.value.grants) {
            Ok(known)
        } else {
            Err((&codes::NOT_FOUND).into())
        }
    }

    /// The same, to be changed.
    async fn changed(
        &self,
        api: &Api,
        name: Result<Path<String>, PathRejection>,
        Based(revision): Based,
    ) -> Result<Known, Problem> {
        let known = self.other(api, name).await?;
        if known.value.name.as_str() == self.agent.name {
            return Err((&OWN_ACCOUNT).into());
        }
        self.may_give(&known.value.grants)?;
        if known.revision != revision {
            return Err((&codes::STALE).into());
        }
        Ok(known)
    }
}

/// A user in a list.
#[derive(Serialize)]
struct Entry {
    etag: String,
    #[serde(flatten)]
    user: Listed,
}

async fn all(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Entry>>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let page = Page::take(&mut asked, (&api, &signed), "users")?;
    asked.done()?;
    let mut after = page.after.clone();
    let mut items = Vec::new();
    let mut scanned_count = 0;
    while scanned_count < API_USERS_SCANNED_MAX {
        let users = api.accounts.known_users(after.as_deref(), page.limit);
        let users = users.await?;
        let is_last = users.len() < page.limit;
        scanned_count += users.len();
        for known in users {
            after = Some(known.key.clone());
            if administrator.sees(&known.value.grants) {
                items.push(Entry {
                    etag: etag(known.revision),
                    user: Listed::from(&known.value),
                });
            }
            if items.len() == page.limit {
                return Ok(Json(page.of(items, after.as_deref())));
            }
        }
        if is_last {
            return Ok(Json(page.of(items, None)));
        }
    }
    Ok(Json(page.of(items, after.as_deref())))
}

async fn read(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
) -> Result<Tagged<Listed>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let known = administrator.other(&api, name).await?;
    Ok(shown(&known))
}

fn shown(known: &Known) -> Tagged<Listed> {
    Tagged(StatusCode::OK, known.revision, Listed::from(&known.value))
}

/// A role, as whoever gives it says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    role: Role,
    reach: Reach,
    /// For these kinds of images alone.
    #[serde(default)]
    kinds: Vec<String>,
    /// For these departments of the organisation alone.
    #[serde(default)]
    departments: Vec<String>,
}

impl Given {
    fn grant(self) -> Result<Grant, Problem> {
        let kinds = Kinds::try_from(self.kinds);
        let kinds = kinds.map_err(|_| codes::MALFORMED.with("what", "kinds"))?;
        let departments = Departments::of_words(self.departments.iter().map(String::as_str));
        let departments = departments.map_err(|_| codes::MALFORMED.with("what", "departments"))?;
        let grant = Grant::new(self.role, self.reach);
        Ok(grant.limited_to(kinds).within(departments))
    }
}

/// Roles of one person.
fn grants(given: Vec<Given>) -> Result<Grants, Problem> {
    let grants: Result<Vec<Grant>, Problem> = given.into_iter().map(Given::grant).collect();
    let grants = grants?;
    let is_of_no_person = |grant: &Grant| OF_NO_PERSON.contains(&grant.role);
    if grants.iter().any(is_of_no_person) {
        return Err((&ROLES_CONTRADICT).into());
    }
    Ok(Grants::new(grants).map_err(|error| match error {
        SeparationError::Kinds => &ROLE_FOR_ALL_KINDS,
        SeparationError::Departments => &ROLE_FOR_ALL_DEPARTMENTS,
        SeparationError::ArchiveAdmin | SeparationError::Auditor | _ => &ROLES_CONTRADICT,
    })?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    display_name: String,
    #[serde(default)]
    is_doctor: bool,
    grants: Vec<Given>,
}

/// A user who was made, with the password that is shown once.
#[derive(Serialize)]
struct Created {
    first_password: String,
    #[serde(flatten)]
    user: Listed,
}

async fn create(
    State(api): State<Api>,
    signed: Signed,
    Body(new): Body<New>,
) -> Result<Tagged<Created>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let name = UserName::parse(&new.name);
    let grants = grants(new.grants)?;
    administrator.may_give(&grants)?;
    if new.display_name.trim().is_empty() {
        return Err(codes::MALFORMED.with("what", "display_name"));
    }
    let new = NewUser {
        name: name.map_err(|_| codes::MALFORMED.with("what", "name"))?,
        display_name: new.display_name,
        is_doctor: new.is_doctor,
        grants,
    };
    let name = new.name.clone();
    let by = api.accounts.actor(&signed.who);
    let first = api.accounts.add_from(new, by, Some(signed.from)).await?;
    let known = api.accounts.known_user(&name).await?;
    let created = Created {
        first_password: first.0,
        user: Listed::from(&known.value),
    };
    Ok(Tagged(StatusCode::CREATED, known.revision, created))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    display_name: String,
    is_doctor: bool,
    grants: Vec<Given>,
}

async fn change(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
    based: Based,
    Body(settings): Body<Settings>,
) -> Result<Tagged<Listed>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let known = administrator.changed(&api, name, based).await?;
    let grants = grants(settings.grants)?;
    administrator.may_give(&grants)?;
    if settings.display_name.trim().is_empty() {
        return Err(codes::MALFORMED.with("what", "display_name"));
    }
    let change = Change::Particulars {
        display_name: settings.display_name,
        is_doctor: settings.is_doctor,
        grants,
    };
    done(&api, &signed, &known, change).await
}

async fn done(
    api: &Api,
    signed: &Signed,
    known: &Known,
    change: Change,
) -> Result<Tagged<Listed>, Problem> {
    let by = api.accounts.actor(&signed.who);
    let changed = api.accounts.administer(known, change, by, signed.from);
    changed.await?;
    let name = &known.value.name;
    Ok(shown(&api.accounts.known_user(name).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabled {
    is_disabled: bool,
}

async fn disable(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
    based: Based,
    Body(Disabled { is_disabled }): Body<Disabled>,
) -> Result<Tagged<Listed>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let known = administrator.changed(&api, name, based).await?;
    done(&api, &signed, &known, Change::Disabled(is_disabled)).await
}

/// Somebody as a provider knows them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProvider {
    issuer: String,
    subject: String,
}

impl OfProvider {
    fn named(&self) -> Result<Named, Problem> {
        let named = Named::parse(&self.issuer, &self.subject);
        named.ok_or_else(|| codes::MALFORMED.with("what", "issuer or subject"))
    }
}

async fn link(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
    based: Based,
    Body(of): Body<OfProvider>,
) -> Result<Tagged<Listed>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let named = of.named()?;
    // One of another issuer lets nobody in now, and somebody once that one is configured.
    let provider = api.provider.as_ref().map(Provider::issuer);
    if provider != Some(named.issuer()) {
        return Err(codes::MALFORMED.with("what", "issuer"));
    }
    let known = administrator.changed(&api, name, based).await?;
    let by = api.accounts.actor(&signed.who);
    let linked = api.accounts.link(&known, &named, by, Some(signed.from));
    linked.await?;
    Ok(shown(&api.accounts.known_user(&known.value.name).await?))
}

async fn unlink(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
    based: Based,
    Body(of): Body<OfProvider>,
) -> Result<Tagged<Listed>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let named = of.named()?;
    let known = administrator.changed(&api, name, based).await?;
    let by = api.accounts.actor(&signed.who);
    let unlinked = api.accounts.unlink(&known, &named, by, Some(signed.from));
    unlinked.await?;
    Ok(shown(&api.accounts.known_user(&known.value.name).await?))
}

/// A password that is shown once.
#[derive(Serialize)]
struct First {
    first_password: String,
}

async fn reset(
    State(api): State<Api>,
    signed: Signed,
    name: Result<Path<String>, PathRejection>,
    based: Based,
) -> Result<Tagged<First>, Problem> {
    let administrator = Administrator::of(&api, &signed)?;
    let known = administrator.changed(&api, name, based).await?;
    let by = api.accounts.actor(&signed.who);
    let first = api.accounts.reset_known(&known, by, signed.from).await?;
    let now = api.accounts.known_user(&known.value.name).await?;
    let first_password = first.0;
    Ok(Tagged(
        StatusCode::OK,
        now.revision,
        First { first_password },
    ))
}

fn schemas() -> Vec<(&'static str, Value)> {
    let grants = || several(reference("Grant"));
    let user = [
        ("name", text()),
        ("display_name", text()),
        ("is_doctor", flag()),
        ("grants", grants()),
        ("is_disabled", flag()),
        ("must_change_password", flag()),
        ("first_password_until", nothing_or(time())),
        ("has_second_factor", flag()),
        ("created_at", time()),
        ("external", several(reference("LinkedIdentity"))),
    ];
    let identity = [("issuer", text()), ("subject", text())];
    let linked = [&identity[..], &[("linked_at", time())]].concat();
    let with = |first: (&'static str, Value)| object(&[&[first], &user[..]].concat(), &[]);
    let new = [
        ("name", text()),
        ("display_name", text()),
        ("is_doctor", flag()),
        ("grants", grants()),
    ];
    let settings = [
        ("display_name", text()),
        ("is_doctor", flag()),
        ("grants", grants()),
    ];
    let is_disabled = [("is_disabled", json!({"type": "boolean"}))];
    vec![
        ("User", object(&user, &[])),
        ("ListedUser", with(("etag", text()))),
        ("Users", list("ListedUser")),
        ("NewUser", object(&new, &["is_doctor"])),
        ("CreatedUser", with(("first_password", text()))),
        ("Identity", object(&identity, &[])),
        ("LinkedIdentity", object(&linked, &[])),
        ("UserSettings", object(&settings, &[])),
        ("Disabled", object(&is_disabled, &[])),
        ("FirstPassword", object(&[("first_password", text())], &[])),
    ]
}
