//! Who sees the images of an examination, in searches and when they are asked for. What its report
//! says is shown as far as [`Permission::ReportView`] reaches besides.

use super::{Extent, Grants, Permission, Role, Work};
use crate::examination::reconcile::Kind;
use crate::patient::PatientKey;
use crate::{DepartmentCode, OrganisationCode};
use chrono::{DateTime, TimeDelta, Utc};

/// How long break glass opens a patient.
pub const BREAK_GLASS_DURATION: TimeDelta = TimeDelta::minutes(60);

/// What the rule asks of an examination. Names of users and pools are the archive's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminationFacts<'a> {
    /// Whose images these are.
    pub patient: PatientKey,
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
    /// The kind of images; `None`: nobody knows.
    pub kind: Option<&'a Kind>,
    /// Where at the performing organisation they are made; `None`: nobody knows.
    pub performing_department: Option<&'a DepartmentCode>,
    /// Where at the ordering organisation they were ordered; `None`: nobody knows.
    pub ordering_department: Option<&'a DepartmentCode>,
    /// Only those may see them who are named for it.
    pub is_restricted: bool,
    /// They: users by their names.
    pub named: &'a [String],
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
    /// They are a doctor, which some roles are held without.
    pub is_doctor: bool,
    /// The organisations that the patient is tied to: where they have an open order or encounter of
    /// the last 90 days, if this examination is an older one; and those for which they agreed,
    /// where the term runs.
    pub tied_to: &'a [OrganisationCode],
    /// They opened one patient in an emergency.
    pub break_glass: Option<BreakGlass>,
}

/// An emergency: one patient, read only, for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakGlass {
    patient: PatientKey,
    opened_at: DateTime<Utc>,
}

impl BreakGlass {
    /// Opens `patient` from `now` on.
    #[must_use]
    pub const fn open(patient: PatientKey, now: DateTime<Utc>) -> Self {
        Self {
            patient,
            opened_at: now,
        }
    }

    /// Whom it opens.
    #[must_use]
    pub const fn patient(&self) -> PatientKey {
        self.patient
    }

    /// The same by another number of that patient.
    #[must_use]
    pub const fn by_number(self, patient: PatientKey) -> Self {
        Self { patient, ..self }
    }

    /// Whether it opens `patient` at `now`.
    #[must_use]
    pub fn opens(&self, patient: PatientKey, now: DateTime<Utc>) -> bool {
        let since = now.signed_duration_since(self.opened_at);
        let is_running = since >= TimeDelta::zero() && since < BREAK_GLASS_DURATION;
        self.patient == patient && is_running
    }
}

/// The pools that somebody with `grants` reads for: each organisation has one, by its code, which
/// its experts read from. `all` are the organisations that there are.
#[must_use]
pub fn pools_of(grants: &Grants, all: impl IntoIterator<Item = OrganisationCode>) -> Vec<String> {
    let all = all.into_iter();
    let reads = |organisation: &OrganisationCode| grants.holds_at(Role::Expert, *organisation);
    all.filter(reads).map(|of| of.to_string()).collect()
}

/// Whether `viewer` sees the images of `examined` at `now`.
///
/// The work of their own organisation, where their role sees that; what they or their organisation
/// ordered, once delivered or by themselves; what is assigned to them where they read, or waits in
/// their pool; what is older of a patient whom they treat; what the patient agreed to; and one
/// patient after break glass. All but the last by roles that are held for images of this kind, and
/// for the department that they are of at the organisation that counts: where that treats the
/// patient, or is agreed to, of none. Of restricted ones nothing without being named, whatever else
/// holds.
#[must_use]
pub fn can_see(viewer: &Viewer<'_>, examined: &ExaminationFacts<'_>, now: DateTime<Utc>) -> bool {
    let kind = examined.kind;
    let within = |department| Work::Of { kind, department };
    let made = within(examined.performing_department);
    let ordered = within(examined.ordering_department);
    let grants = viewer.grants;
    let extents = |organisation, work| grants.held_over(Permission::ImageView, organisation, work);
    let is_own_work = extents(examined.performing, made).any(|(_, extent)| extent == Extent::Whole);
    let is_requester = examined.requester == viewer.user;
    let is_own_order = extents(examined.ordering, ordered).any(|(role, extent)| {
        let of_organisation = extent == Extent::Whole && role != Role::Device;
        (of_organisation && (examined.is_delivered || is_requester))
            || (extent == Extent::OwnOrders && is_requester)
    });
    // An assignment or a pool opens nothing that a role does not, and nothing any more once that is
    // gone.
    let reads_here = grants.reach_over(Permission::ReportWrite, examined.performing, made);
    let is_assigned = examined.assigned_to == Some(viewer.user);
    let is_pooled = examined
        .pool
        .is_some_and(|pool| viewer.pools.contains(&pool));
    let is_clinical = |organisation: &OrganisationCode| {
        extents(*organisation, within(None))
            .any(|(role, extent)| extent != Extent::Technical && role != Role::Device)
    };
    let is_treating_or_agreed = viewer.tied_to.iter().any(is_clinical);
    let is_open = viewer.is_doctor
        && grants.has(Permission::BreakGlass)
        && viewer
            .break_glass
            .is_some_and(|glass| glass.opens(examined.patient, now));
    let is_reader = reads_here && (is_assigned || is_pooled);
    let is_tied = is_own_work || is_own_order || is_reader || is_treating_or_agreed || is_open;
    let is_named = || examined.named.iter().any(|name| name == viewer.user);
    is_tied && (!examined.is_restricted || is_named())
}
