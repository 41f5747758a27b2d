//! What each role may do, as one table.

use super::Role;

/// Something that a role may do or not.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[non_exhaustive]
pub enum Permission {
    /// Read the audit record.
    AuditRead,
    /// See one patient in an emergency, for an hour, with a reason.
    BreakGlass,
    /// Take images out of the archive, on media or as files.
    Export,
    /// Agree that images are erased for good.
    ImageEraseApprove,
    /// Propose that images are erased for good.
    ImageErasePropose,
    /// Hide images that are wrong.
    ImageReject,
    /// Bring hidden images back.
    ImageRestore,
    /// Bring images in.
    ImageStore,
    /// See images.
    ImageView,
    /// Withdraw an order.
    OrderCancel,
    /// Order an examination.
    OrderCreate,
    /// Change an order.
    OrderEdit,
    /// Look after organisations, policies and dictionaries.
    OrganisationsManage,
    /// Register a patient or correct one.
    PatientEdit,
    /// Say that two patients are one.
    PatientMerge,
    /// Look for patients, here and in the citizen register.
    PatientSearch,
    /// Say whose images are whose.
    Reconcile,
    /// Read reports.
    ReportView,
    /// Write, sign and change reports.
    ReportWrite,
    /// Send reports to organisations.
    ResultSend,
    /// See figures.
    Statistics,
    /// Look after users and devices.
    UsersManage,
    /// Ask for the worklist.
    WorklistQuery,
}

/// How far a permission reaches. Always within the organisations of the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// Figures without persons.
    Aggregated,
    /// Without what says whose it is.
    Anonymous,
    /// What is assigned to the user or waits in a pool of theirs.
    Assigned,
    /// Kept and audited, without effect.
    Ignored,
    /// Without clinical text.
    NoClinicalText,
    /// Somebody else decides about it.
    OnRequest,
    /// What the user did.
    Own,
    /// What the user ordered, and its patients.
    OwnOrders,
    /// For reasons of image quality alone.
    QualityOnly,
    /// Whether it is there and how far it is, not what it says.
    StatusOnly,
    /// What keeps the archive running, not what it says of persons.
    Technical,
    /// Everything of the grant's organisations.
    Whole,
}

impl Permission {
    /// Every permission, in order.
    pub const ALL: [Self; 23] = [
        Self::AuditRead,
        Self::BreakGlass,
        Self::Export,
        Self::ImageEraseApprove,
        Self::ImageErasePropose,
        Self::ImageReject,
        Self::ImageRestore,
        Self::ImageStore,
        Self::ImageView,
        Self::OrderCancel,
        Self::OrderCreate,
        Self::OrderEdit,
        Self::OrganisationsManage,
        Self::PatientEdit,
        Self::PatientMerge,
        Self::PatientSearch,
        Self::Reconcile,
        Self::ReportView,
        Self::ReportWrite,
        Self::ResultSend,
        Self::Statistics,
        Self::UsersManage,
        Self::WorklistQuery,
    ];
}

impl Role {
    /// How far this role may do it; `None`: not at all.
    ///
    /// [`Role::Service`], a program of another system, may do what its token says, and nothing by
    /// its role.
    #[must_use]
    pub fn extent(self, permission: Permission) -> Option<Extent> {
        let holders = permission.holders().iter();
        let mut own = holders.filter(|(role, _)| *role == self);
        own.next().map(|(_, extent)| *extent)
    }
}

impl Permission {
    /// Who may do it, and how far.
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    const fn holders(self) -> &'static [(Role, Extent)] {
        use Extent::*;
        use Role::*;
        match self {
            Self::AuditRead => &[(OrgAdmin, NoClinicalText), (Auditor, Whole)],
            Self::BreakGlass => &[(Radiologist, Whole), (Expert, Whole), (Referrer, Whole)],
            Self::Export => &[
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Expert, Anonymous),
                (ArchiveAdmin, Whole),
            ],
            Self::ImageEraseApprove => &[(MohAdmin, Whole)],
            Self::ImageErasePropose => &[(ArchiveAdmin, Whole)],
            Self::ImageReject => &[
                (Radiographer, QualityOnly),
                (Radiologist, Whole),
                (Expert, Whole),
                (ArchiveAdmin, Whole),
                (Device, Ignored),
            ],
            Self::ImageRestore => &[(ArchiveAdmin, Whole)],
            Self::ImageStore => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (ArchiveAdmin, Whole),
                (Device, Whole),
            ],
            Self::ImageView => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Expert, Assigned),
                (Referrer, OwnOrders),
                (ArchiveAdmin, Technical),
                (Device, Whole),
            ],
            Self::OrderCancel => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (OrgAdmin, Whole),
            ],
            Self::OrderCreate => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Referrer, Whole),
            ],
            Self::OrderEdit => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
            ],
            Self::OrganisationsManage => &[(MohAdmin, Whole)],
            Self::PatientEdit => &[(Operator, Whole), (Radiographer, Whole), (OrgAdmin, Whole)],
            Self::PatientMerge => &[(OrgAdmin, Whole), (ArchiveAdmin, Whole)],
            Self::PatientSearch => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Expert, Whole),
                (Referrer, OwnOrders),
            ],
            Self::Reconcile => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Expert, OnRequest),
                (OrgAdmin, Whole),
                (ArchiveAdmin, Whole),
            ],
            Self::ReportView => &[
                (Operator, StatusOnly),
                (Radiographer, StatusOnly),
                (Radiologist, Whole),
                (Expert, Whole),
                (Referrer, OwnOrders),
            ],
            Self::ReportWrite => &[(Radiologist, Whole), (Expert, Whole)],
            Self::ResultSend => &[(Radiologist, Whole), (Expert, Whole)],
            Self::Statistics => &[
                (Operator, Whole),
                (Radiographer, Whole),
                (Radiologist, Whole),
                (Expert, Own),
                (OrgAdmin, Whole),
                (MohAdmin, Aggregated),
                (ArchiveAdmin, Technical),
            ],
            Self::UsersManage => &[(OrgAdmin, Whole), (MohAdmin, Whole)],
            Self::WorklistQuery => &[(Radiographer, Whole), (Radiologist, Whole), (Device, Whole)],
        }
    }
}
