//! `pacs-server --demo`: a national archive on one machine, to look at.
//!
//! Eleven organisations, devices, users of every role, a citizen register out of a file, and
//! examinations in ten states with images that are computed. Nothing of it is of a person. It
//! listens on loopback alone, and lives in a folder that is given, or in one of its own that goes
//! with it.

mod fill;
mod images;
mod people;
mod reporting;

pub use fill::{Account, FillError};

use crate::config::{Config, Options};
use crate::server::{Addresses, Server};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Written once all is there.
const MARK: &str = "demonstration-is-complete";

/// The first of the ports that devices of the demonstration are said to listen at.
const DEVICE_PORT: u16 = 11_113;

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Something else is in the folder.
    #[error("{folder}: it has something else in it; a demonstration needs a folder of its own")]
    Folder {
        /// Which.
        folder: String,
    },
    /// The folder cannot be used.
    #[error("{folder}: cannot be used")]
    Io {
        /// Which.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// It would be offered beyond this machine.
    #[error("a demonstration listens on loopback alone")]
    NotLoopback,
    /// There is no randomness for the name of a folder.
    #[error("the system has no randomness")]
    NoRandomness,
}

/// A demonstration and its folder.
#[derive(Debug)]
pub struct Demo {
    folder: PathBuf,
    is_temporary: bool,
    is_new: bool,
}

impl Demo {
    /// Makes the folder and the settings in it, and has `options` name them; `None` where no
    /// demonstration was asked for.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn prepare(options: &mut Options) -> Result<Option<Self>, DemoError> {
        let Some(given) = &options.demo else {
            return Ok(None);
        };
        let is_temporary = given.is_none();
        let folder = match given {
            Some(folder) => folder.clone(),
            None => own_folder()?,
        };
        let io = |source| DemoError::Io {
            folder: folder.display().to_string(),
            source,
        };
        DirBuilder::new()
            .recursive(!is_temporary)
            .mode(0o700)
            .create(&folder)
            .map_err(io)?;
        let folder = folder.canonicalize().map_err(io)?;
        let io = |source| DemoError::Io {
            folder: folder.display().to_string(),
            source,
        };
        let is_new = !folder.join(MARK).exists();
        if is_new {
            if fs::read_dir(&folder).map_err(io)?.next().is_some() {
                let folder = folder.display().to_string();
                return Err(DemoError::Folder { folder });
            }
            fs::write(folder.join("register.csv"), people::register()).map_err(io)?;
            fs::write(folder.join("pacs.toml"), settings(&folder)).map_err(io)?;
        }
        options.config = Some(folder.join("pacs.toml"));
        options.data = Some(folder.join("data"));
        Ok(Some(Self {
            folder,
            is_temporary,
            is_new,
        }))
    }

    /// Refuses settings by which it would be offered beyond this machine.
    ///
    /// # Errors
    /// [`DemoError::NotLoopback`].
    pub fn check(&self, config: &Config) -> Result<(), DemoError> {
        let addresses = [Some(config.dicom), Some(config.http), config.tls.address];
        let mut addresses = addresses.into_iter().flatten();
        if addresses.all(|address| address.ip().is_loopback()) {
            Ok(())
        } else {
            Err(DemoError::NotLoopback)
        }
    }

    /// Fills a new archive; of one that was filled before there is nothing to do, and nothing to
    /// be told: passwords are shown once.
    ///
    /// # Errors
    /// [`FillError`].
    pub async fn fill(&self, server: &Server) -> Result<Vec<Account>, FillError> {
        if !self.is_new {
            return Ok(Vec::new());
        }
        let accounts = fill::fill(server).await?;
        fs::write(self.folder.join(MARK), "")?;
        Ok(accounts)
    }

    /// What a newcomer reads.
    #[must_use]
    pub fn told(&self, at: Addresses, accounts: &[Account]) -> String {
        let mut text = String::new();
        let (http, dicom, folder) = (at.http, at.dicom, self.folder.display());
        let ends = if self.is_temporary {
            "it goes when the server ends (Ctrl-C)"
        } else {
            "start with the same folder to see it again"
        };
        // Writing to a string does not fail.
        write!(
            text,
            "\nA demonstration: nobody in it exists, every image is computed, and only this \
             machine reaches it.\n\n\
             \x20 Pages    http://{http}/\n\
             \x20 API      http://{http}/api/v1/openapi.json\n\
             \x20 DICOMweb http://{http}/dicomweb/studies   (open to programs of this machine)\n\
             \x20 DICOM    {dicom}, AE title KGPACS; call as KRKL_WS1 to ask, as KRKL_CT1 to send\n\
             \x20 Folder   {folder}: {ends}\n\n"
        )
        .ok();
        if accounts.is_empty() {
            text.push_str("The passwords were shown when it was made.\n");
            return text;
        }
        text.push_str("Accounts; their passwords are shown this once:\n\n");
        for account in accounts {
            let Account {
                name,
                password,
                what,
            } = account;
            writeln!(text, "  {name:<14}{password:<25}{what}").ok();
        }
        text.push_str(&tries(at, accounts));
        text
    }

    /// Takes a folder of its own away.
    pub fn clear(self) {
        if !self.is_temporary {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "it could not be taken away");
        }
    }
}

/// Something to begin with.
fn tries(at: Addresses, accounts: &[Account]) -> String {
    let operator = accounts.iter().find(|account| account.name == "operator");
    let password = operator.map(|account| account.password.as_str());
    let (http, dicom) = (at.http, at.dicom);
    format!(
        "\nTry, in another window:\n\n\
         \x20 curl http://{http}/dicomweb/studies\n\
         \x20 curl -c jar -H 'Content-Type: application/json' http://{http}/api/v1/session \\\n\
         \x20      -d '{{\"user\": \"operator\", \"password\": \"{}\"}}'\n\
         \x20 pacs find KGPACS@{dicom} --ae-title KRKL_WS1 --level study -k PatientName='*'\n\
         \x20 pacs worklist KGPACS@{dicom} --ae-title KRKL_CT1\n\n",
        password.unwrap_or_default()
    )
}

/// A folder that nobody else has, for nobody else to look into.
fn own_folder() -> Result<PathBuf, DemoError> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|_| DemoError::NoRandomness)?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(std::env::temp_dir().join(format!("pacs-demo-{name}")))
}

/// The settings of a demonstration.
fn settings(folder: &Path) -> String {
    // A text of JSON is one of TOML.
    let register = folder.join("register.csv").display().to_string();
    let register = serde_json::Value::from(register).to_string();
    let mut text = format!(
        "# The settings of a demonstration, made by pacs-server --demo.\n\n\
         [dicom]\nae_title = \"KGPACS\"\n\n\
         [http]\nopen_loopback = true\n\n\
         # As cheap as can be: nobody real has an account here.\n\
         [accounts]\npassword_memory_mib = 19\npassword_passes = 2\n\n\
         [register]\nkind = \"file\"\nfile = {register}\n"
    );
    for (port, title) in (DEVICE_PORT..).zip(people::titles()) {
        let allow = if title.ends_with("_WS1") {
            r#"["echo", "find", "get", "move"]"#
        } else {
            r#"["echo", "store", "worklist", "mpps", "commit"]"#
        };
        // Writing to a string does not fail.
        write!(
            text,
            "\n[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"127.0.0.1:{port}\"\n\
             allow = {allow}\nmove_to = [\"{title}\"]\n"
        )
        .ok();
    }
    text
}
