//! Roles of the people and programs that work with examinations.

/// What somebody is at an organisation. One user may hold several roles.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Looks after the archive: reconciles, restores, proposes to erase; never signs.
    ArchiveAdmin,
    /// Reads the audit record and nothing else.
    Auditor,
    /// A modality or workstation.
    Device,
    /// Reads images of several organisations and signs reports.
    Expert,
    /// Looks after people and machines of the ministry's organisations, not after images.
    MohAdmin,
    /// Registers patients and orders examinations.
    Operator,
    /// Looks after people and machines of one organisation, not after images.
    OrgAdmin,
    /// Makes the images.
    Radiographer,
    /// Reads images of one organisation and signs reports.
    Radiologist,
    /// Orders examinations and receives their reports.
    Referrer,
    /// A program of another system.
    Service,
}

impl Role {
    /// Every role, in order.
    pub const ALL: [Self; 11] = [
        Self::ArchiveAdmin,
        Self::Auditor,
        Self::Device,
        Self::Expert,
        Self::MohAdmin,
        Self::Operator,
        Self::OrgAdmin,
        Self::Radiographer,
        Self::Radiologist,
        Self::Referrer,
        Self::Service,
    ];
}
