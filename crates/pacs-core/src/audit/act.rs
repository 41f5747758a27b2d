//! What can happen, with the codes of PS3.15 A.5.3 and PS3.16 CID 400 and 401.

/// A code of PS3.16, whose scheme is DCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    /// The code.
    pub value: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $event:ident $(/ $kind:ident)? , $action:literal;)*) => {
        /// What was done, or tried.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Act {
            $($(#[$doc])* $name,)*
        }

        impl Act {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The event it is (CID 400).
            #[must_use]
            pub const fn event(self) -> Code {
                match self { $(Self::$name => $event,)* }
            }

            /// The type of the event (CID 401), where the standard has one.
            #[must_use]
            pub const fn kind(self) -> Option<Code> {
                match self { $(Self::$name => optional!($($kind)?),)* }
            }

            /// `C`, `R`, `U`, `D` or `E`: create, read, update, delete, execute.
            #[must_use]
            pub const fn action(self) -> char {
                match self { $(Self::$name => $action,)* }
            }
        }
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($code:ident) => {
        Some($code)
    };
}

acts! {
    /// The archive started.
    ApplicationStarted = APPLICATION_ACTIVITY / APPLICATION_START, 'E';
    /// The archive stopped.
    ApplicationStopped = APPLICATION_ACTIVITY / APPLICATION_STOP, 'E';
    /// The audit record was read or exported.
    AuditRead = AUDIT_LOG_USED, 'R';
    /// Recording began.
    AuditRecordingStarted = SECURITY_ALERT / AUDIT_RECORDING_STARTED, 'E';
    /// Recording ended: an alarm.
    AuditRecordingStopped = SECURITY_ALERT / AUDIT_RECORDING_STOPPED, 'E';
    /// A doctor opened one patient in an emergency.
    BreakGlassStarted = SECURITY_ALERT / EMERGENCY_STARTED, 'E';
    /// The hour was over, or the doctor ended it.
    BreakGlassStopped = SECURITY_ALERT / EMERGENCY_STOPPED, 'E';
    /// Somebody looked at why a patient was opened, and judged it.
    BreakGlassReviewed = SECURITY_ALERT / RESTRICTED_FUNCTION, 'E';
    /// Images left the archive: on media, as files, on paper, by mail.
    Exported = EXPORT, 'R';
    /// What a machine is, or makes, was changed.
    HardwareConfigured = SECURITY_ALERT / HARDWARE_CONFIGURATION, 'E';
    /// What is shown of images was changed; their bytes never are.
    ImagesChanged = INSTANCES_ACCESSED, 'U';
    /// Images came that were not there.
    ImagesReceived = INSTANCES_TRANSFERRED, 'C';
    /// Images were hidden.
    ImagesRejected = INSTANCES_ACCESSED, 'D';
    /// Other content came under UIDs that are known. It is kept beside what came first.
    ImagesReplaced = INSTANCES_TRANSFERRED, 'U';
    /// Hidden images were brought back.
    ImagesRestored = INSTANCES_ACCESSED, 'C';
    /// Images were given out.
    ImagesSent = INSTANCES_TRANSFERRED, 'R';
    /// Images were looked at.
    ImagesViewed = INSTANCES_ACCESSED, 'R';
    /// Media from outside were taken in.
    Imported = IMPORT, 'C';
    /// Addresses, listeners, devices or AE titles were changed.
    NetworkConfigured = SECURITY_ALERT / NETWORK_CONFIGURATION, 'E';
    /// A node was refused: an unknown AE, a wrong certificate.
    NodeRefused = SECURITY_ALERT / NODE_AUTHENTICATION, 'E';
    /// An order was withdrawn.
    OrderCancelled = ORDER_RECORD, 'D';
    /// An order was changed.
    OrderChanged = ORDER_RECORD, 'U';
    /// An examination was ordered.
    OrderCreated = ORDER_RECORD, 'C';
    /// A patient was corrected, or agreed to something, or does so no longer.
    PatientChanged = PATIENT_RECORD, 'U';
    /// A patient was registered.
    PatientCreated = PATIENT_RECORD, 'C';
    /// Two patients became one, or two again.
    PatientMerged = PATIENT_RECORD, 'U';
    /// The card of a patient was opened.
    PatientRead = PATIENT_RECORD, 'R';
    /// A file came whose preamble may make it a program (PS3.10 7.5); zeros are in its place. CID
    /// 403 has no type for it.
    PreambleReplaced = SECURITY_ALERT, 'E';
    /// Patients, studies or worklists were searched.
    Queried = QUERY, 'E';
    /// Whoever reads an examination told how far they are.
    ReadingContinued = PROCEDURE_RECORD, 'U';
    /// The citizen register was asked.
    RegisterAsked = PATIENT_RECORD, 'R';
    /// A report was changed.
    ReportAmended = PROCEDURE_RECORD, 'U';
    /// A report was read.
    ReportRead = PROCEDURE_RECORD, 'R';
    /// A report was sent.
    ReportSent = PROCEDURE_RECORD, 'R';
    /// A report was signed.
    ReportSigned = PROCEDURE_RECORD, 'C';
    /// A report was withdrawn.
    ReportWithdrawn = PROCEDURE_RECORD, 'D';
    /// Something was used that few may use: erasing, exporting much at once.
    RestrictedFunctionUsed = SECURITY_ALERT / RESTRICTED_FUNCTION, 'E';
    /// The roles of somebody were changed.
    RolesChanged = SECURITY_ALERT / ROLES_CHANGED, 'E';
    /// A rule of security was changed: a policy, a certificate, a retention.
    SecurityConfigured = SECURITY_ALERT / SECURITY_CONFIGURATION, 'E';
    /// Somebody signed in, or tried to.
    SignedIn = USER_AUTHENTICATION / LOGIN, 'E';
    /// Somebody signed out, or was signed out.
    SignedOut = USER_AUTHENTICATION / LOGOUT, 'E';
    /// Another setting was changed.
    SoftwareConfigured = SECURITY_ALERT / SOFTWARE_CONFIGURATION, 'E';
    /// A device told that it begins a step of an examination.
    StepBegun = PROCEDURE_RECORD, 'C';
    /// A device told how far a step is.
    StepChanged = PROCEDURE_RECORD, 'U';
    /// A study was erased for good.
    StudyErased = STUDY_DELETED, 'D';
    /// The end of the audit trail was signed, so that who has the signature elsewhere knows a trail
    /// that was made anew. CID 401 has no type for it.
    TrailSigned = AUDIT_LOG_USED, 'R';
    /// Images begin to be sent to another node.
    TransferBegun = BEGIN_TRANSFERRING, 'E';
    /// An account was made, changed, disabled or given a new password.
    UserChanged = SECURITY_ALERT / USER_ATTRIBUTES_CHANGED, 'E';
}

impl Act {
    /// As JSON names it.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

macro_rules! codes {
    ($($name:ident = $value:literal $meaning:literal;)*) => {
        $(pub(super) const $name: Code = Code { value: $value, meaning: $meaning };)*
    };
}

codes! {
    APPLICATION = "110150" "Application";
    APPLICATION_ACTIVITY = "110100" "Application Activity";
    APPLICATION_LAUNCHER = "110151" "Application Launcher";
    APPLICATION_START = "110120" "Application Start";
    APPLICATION_STOP = "110121" "Application Stop";
    AUDIT_LOG_USED = "110101" "Audit Log Used";
    AUDIT_RECORDING_STARTED = "110134" "Audit Recording Started";
    AUDIT_RECORDING_STOPPED = "110133" "Audit Recording Stopped";
    BEGIN_TRANSFERRING = "110102" "Begin Transferring DICOM Instances";
    DESTINATION = "110152" "Destination Role ID";
    EMERGENCY_STARTED = "110127" "Emergency Override Started";
    EMERGENCY_STOPPED = "110138" "Emergency Override Stopped";
    EXPORT = "110106" "Export";
    HARDWARE_CONFIGURATION = "110130" "Hardware Configuration";
    IMPORT = "110107" "Import";
    INSTANCES_ACCESSED = "110103" "DICOM Instances Accessed";
    INSTANCES_TRANSFERRED = "110104" "DICOM Instances Transferred";
    LOGIN = "110122" "Login";
    LOGOUT = "110123" "Logout";
    NETWORK_CONFIGURATION = "110128" "Network Configuration";
    NODE_AUTHENTICATION = "110126" "Node Authentication";
    NODE_ID = "110182" "Node ID";
    ORDER_RECORD = "110109" "Order Record";
    PATIENT_RECORD = "110110" "Patient Record";
    PROCEDURE_RECORD = "110111" "Procedure Record";
    QUERY = "110112" "Query";
    RESTRICTED_FUNCTION = "110132" "Use of Restricted Function";
    ROLES_CHANGED = "110136" "Security Roles Changed";
    SECURITY_ALERT = "110113" "Security Alert";
    SECURITY_CONFIGURATION = "110129" "Security Configuration";
    SOFTWARE_CONFIGURATION = "110131" "Software Configuration";
    SOURCE = "110153" "Source Role ID";
    STUDY_DELETED = "110105" "DICOM Study Deleted";
    STUDY_UID = "110180" "Study Instance UID";
    USER_ATTRIBUTES_CHANGED = "110137" "User Security Attributes Changed";
    USER_AUTHENTICATION = "110114" "User Authentication";
}
