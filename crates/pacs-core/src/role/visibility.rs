//! Who sees an examination: one rule, for searches, images and reports alike.

use super::{Extent, Grants, Permission};
use crate::OrganisationCode;
use crate::patient::PatientNumber;
use chrono::{DateTime, Utc};

/// What the rule asks of an examination. Names of users and pools are the archive's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined<'a> {
    /// Whose images these are.
    pub patient: PatientNumber,
    /// The organisation that makes them.
    pub performing: OrganisationCode,
    /// The organisation that ordered them.
    pub ordering: OrganisationCode,
    /// Who ordered them.
    pub requester: &'a str,
    /// Whether the ordering organisation has the report.
    pub is_delivered: bool,
    /// Who is to read them.
    pub assigned_to: Option<&'a str>,
    /// The pool of readers they wait in.
    pub pool: Option<&'a str>,
    /// Only those may see them who are named for it.
    pub is_restricted: bool,
}

/// Who wants to see, and what ties them to the patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer<'a> {
    /// The user.
    pub user: &'a str,
    /// Their roles, and where.
    pub grants: &'a Grants,
    /// The pools they read for.
    pub pools: &'a [&'a str],
    /// The patient has an open order or encounter of the last 90 days at an organisation of theirs.
    pub treats_patient: bool,
    /// The patient agreed that an organisation of theirs sees this, and the term runs.
    pub has_consent: bool,
    /// They opened one patient in an emergency.
    pub break_glass: Option<BreakGlass>,
    /// They are named for restricted examinations of this patient.
    pub may_see_restricted: bool,
}

/// An emergency: one patient, read only, for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakGlass {
    /// Whom it opens.
    pub patient: PatientNumber,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// Whether `viewer` sees the images of `examined` at `now`.
///
/// The work of their own organisation, where their role sees that; what they or their organisation
/// ordered, once delivered or by themselves; what is assigned to them or waits in their pool; what
/// is older of a patient whom they treat; what the patient agreed to; and one patient after break
/// glass. Of restricted ones nothing without being named, whatever else holds.
#[must_use]
pub fn can_see(viewer: &Viewer<'_>, examined: &Examined<'_>, now: DateTime<Utc>) -> bool {
    let extents = |organisation| viewer.grants.extents(Permission::ImageView, organisation);
    let is_own_work = extents(examined.performing).any(|extent| extent == Extent::Granted);
    let is_requester = examined.requester == viewer.user;
    let is_own_order = extents(examined.ordering).any(|extent| {
        (extent == Extent::Granted && (examined.is_delivered || is_requester))
            || (extent == Extent::OwnOrders && is_requester)
    });
    let is_assigned = viewer.grants.has(Permission::ReportWrite)
        && (examined.assigned_to == Some(viewer.user)
            || examined
                .pool
                .is_some_and(|pool| viewer.pools.contains(&pool)));
    let sees_images = viewer.grants.sees_images();
    let is_open = viewer
        .break_glass
        .is_some_and(|open| open.patient == examined.patient && now < open.until)
        && viewer.grants.has(Permission::BreakGlass);
    let is_tied = is_own_work
        || is_own_order
        || is_assigned
        || (sees_images && (viewer.treats_patient || viewer.has_consent))
        || is_open;
    is_tied && (!examined.is_restricted || viewer.may_see_restricted)
}
