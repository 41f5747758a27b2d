//! The routes, and what stands behind them.

use crate::access::{Identify, OpenToAll};
use crate::commitment::Commitment;
use crate::content::UNIT_BYTES;
use crate::convert::Conversions;
use crate::derived::{Derived, DerivedLimits};
use crate::error::Failure;
use crate::frames::Layouts;
use crate::hide::Deletion;
use crate::limits::WebLimits;
use crate::memory::{Memory, Share};
use crate::observe::{Observe, Tally};
use crate::places::{NoPlace, Place, Places};
use crate::record::Record;
use crate::rendered::Rendering;
use crate::workitems::Workitems;
use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use pacs_core::access::PermitAll;
use pacs_core::coerce::Overlay;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Caller, Policy};
use pacs_image::Decoders;
use pacs_store::egress::{NoOverlays, Overlays, StudyOverlays};
use pacs_store::{Archive, Digest, Digester};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// How an archive is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Says who asks.
    pub identify: Arc<dyn Identify>,
    /// Says what they may do: the same as under DIMSE.
    pub policy: Arc<dyn Policy>,
    /// Says what data sets say on their way out; a program that knows no patients and no orders
    /// gives [`NoOverlays`](pacs_store::egress::NoOverlays).
    pub overlays: Arc<dyn Overlays>,
    /// Where the routes are mounted, as in `/dicomweb`: URLs in answers begin so.
    pub prefix: String,
    /// What URLs in answers begin with, where clients come by another name than they say in Host
    /// (behind a proxy with TLS): scheme, host and path, without a slash at the end.
    pub public_url: Option<String>,
    /// The port for clients of this machine that leave it out in Host, as some do.
    pub local_port: Option<u16>,
    /// Decode pixel data for clients that want it uncompressed. A server that holds what strangers
    /// sent gives [`Decoders::with_workers`]: decoders in this process are only for data that is
    /// trusted. `None`: compressed instances are given as they are stored, and not otherwise.
    pub decoders: Option<Decoders>,
    /// Answers for the safekeeping of instances (PS3.18 13). `None`: nobody does (503).
    pub commitment: Option<Arc<dyn Commitment>>,
    /// Takes what is deleted out of sight, and keeps who did it. `None`: the archive alone does.
    pub deletion: Option<Arc<dyn Deletion>>,
    /// Keeps what is made of instances, as their metadata, to be given again.
    pub derived: Derived,
    /// Where bulk data is kept that comes beside metadata, in files without a name, until its
    /// instance is composed: on the disk of the archive, at best. `None`: where this system has
    /// temporary files.
    pub spool_directory: Option<PathBuf>,
    /// Records who does what. `None`: nobody does.
    pub record: Option<Arc<dyn Record>>,
    /// Counts.
    pub observer: Option<Arc<dyn Observe>>,
    /// Has reading tasks (PS3.18 11). `None`: there are none (503).
    pub workitems: Option<Arc<dyn Workitems>>,
    /// Bounds.
    pub limits: WebLimits,
}

impl Options {
    /// For a program whose own layers have decided who may what: every client may everything, and
    /// nothing is there that can be left out.
    #[must_use]
    pub fn open_to_all(limits: WebLimits) -> Self {
        Self {
            identify: Arc::new(OpenToAll),
            policy: Arc::new(PermitAll),
            overlays: Arc::new(NoOverlays),
            prefix: String::new(),
            public_url: None,
            local_port: None,
            decoders: None,
            commitment: None,
            deletion: None,
            derived: Derived::not_kept(&DerivedLimits::default()),
            spool_directory: None,
            record: None,
            observer: None,
            workitems: None,
            limits,
        }
    }
}

/// What every handler has: the archive, and how it is served; and once it is known which study is
/// asked for, what its data sets are to say. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Web {
    inner: Arc<Inner>,
    said: Option<Said>,
}

/// What data sets are to say, and a digest of that.
#[derive(Debug, Clone)]
struct Said {
    overlays: StudyOverlays,
    digest: Digest,
}

#[derive(Debug)]
struct Inner {
    archive: Archive,
    options: Options,
    /// For requests that store.
    stores: Places,
    /// For searches for names that are alike.
    alike: Places,
    /// For those who want animations.
    animations: Places,
    /// For searches for workitems.
    workitem_searches: Places,
    /// Memory for data sets that are inflated, in units of [`UNIT_BYTES`].
    inflating: Arc<Semaphore>,
    /// For metadata that clients send.
    descriptions: Memory,
    /// For documents of metadata that are sent.
    documents: Memory,
    conversions: Conversions,
    layouts: Layouts,
    /// With what URLs in the last answer with metadata began.
    last_base_url: Mutex<Option<String>>,
    rendering: Rendering,
}

impl Web {
    /// Puts `archive` behind the services.
    #[must_use]
    pub fn new(archive: Archive, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                stores: Places::new(
                    options.limits.stores_max,
                    options.limits.stores_of_client_max,
                ),
                alike: Places::new(options.limits.alike_max, options.limits.alike_of_client_max),
                animations: Places::new(
                    options.limits.rendering.animations_wanted_max,
                    options.limits.rendering.animations_of_client_max,
                ),
                workitem_searches: Places::new(
                    options.limits.workitem_searches_max,
                    options.limits.workitem_searches_of_client_max,
                ),
                inflating: Arc::new(Semaphore::new(
                    options.limits.inflated_memory_bytes_max / UNIT_BYTES,
                )),
                descriptions: Memory::new(
                    options.limits.metadata_memory_bytes_max,
                    options.limits.metadata_memory_of_client_bytes_max,
                ),
                // Without it an answer is written piece by piece: none is refused.
                documents: Memory::new(
                    options.limits.documents_memory_bytes_max,
                    options.limits.documents_memory_bytes_max,
                ),
                conversions: Conversions::new(&options.limits, options.decoders.clone()),
                layouts: Layouts::new(options.limits.layouts_bytes_max),
                rendering: Rendering::new(&options.limits, options.decoders.clone()),
                last_base_url: Mutex::new(options.public_url.clone()),
                archive,
                options,
            }),
            said: None,
        }
    }

    /// The same, for a request for something of `study`.
    pub(crate) async fn saying(&self, study: &StudyUid) -> Result<Self, Failure> {
        let overlays = self.inner.options.overlays.overlays(study).await;
        let overlays = overlays.map_err(|error| {
            tracing::error!(%error, cause = ?error.0, "nothing of a study can be given");
            Failure::Unavailable {
                detail: "what is known of the study cannot be read now",
            }
        })?;
        let identity = overlays.identity();
        let said = (!identity.is_empty()).then(|| {
            let mut digester = Digester::new();
            digester.update(&identity);
            let digest = digester.finish();
            Said { overlays, digest }
        });
        Ok(Self {
            inner: Arc::clone(&self.inner),
            said,
        })
    }

    /// What the data sets of a series of the study that is asked for are to say.
    pub(crate) fn overlay(&self, series: &SeriesUid) -> Option<&Arc<Overlay>> {
        self.said.as_ref()?.overlays.of(series)
    }

    /// What tells that from anything else: for tags and keys of what is made of data sets. Empty
    /// where they are given as they came.
    pub(crate) fn said(&self) -> &[u8] {
        self.said.as_ref().map_or(&[], |said| &said.digest.0)
    }

    /// What keeps derived data.
    #[must_use]
    pub fn derived(&self) -> &Derived {
        &self.inner.options.derived
    }

    /// What URLs in answers begin with, as far as that is known where nobody asks: as the last
    /// client named us.
    pub(crate) fn last_base_url(&self) -> Option<String> {
        self.last_base().clone()
    }

    /// Notes what URLs in an answer begin with.
    pub(crate) fn note_base_url(&self, base: &str) {
        let mut last = self.last_base();
        if last.as_deref() != Some(base) {
            *last = Some(base.to_owned());
        }
    }

    fn last_base(&self) -> MutexGuard<'_, Option<String>> {
        let last = self.inner.last_base_url.lock();
        last.unwrap_or_else(PoisonError::into_inner)
    }

    /// Where frames are that were asked for lately.
    pub(crate) fn layouts(&self) -> &Layouts {
        &self.inner.layouts
    }

    /// The archive. Nothing can be asked of it without a permit.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.inner.archive
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &WebLimits {
        &self.inner.options.limits
    }

    /// What converts.
    pub(crate) fn conversions(&self) -> &Conversions {
        &self.inner.conversions
    }

    /// What renders.
    pub(crate) fn rendering(&self) -> &Rendering {
        &self.inner.rendering
    }

    pub(crate) fn identify(&self) -> &dyn Identify {
        &*self.inner.options.identify
    }

    /// A place among those who store, while the archive takes instances.
    pub(crate) fn place_to_store(&self, caller: &Caller) -> Result<Place, Failure> {
        let full = |detail| Failure::Unavailable { detail };
        if !self.inner.archive.has_room() {
            return Err(full("the disk is full"));
        }
        if !self.inner.archive.has_memory() {
            return Err(full("instances on their way take all memory"));
        }
        self.inner.stores.take(caller).map_err(|none| {
            full(match none {
                NoPlace::All => "too many requests store at the moment",
                NoPlace::Share => "too many requests of this client store at the moment",
            })
        })
    }

    /// What deletes in place of the archive.
    pub(crate) fn deletion(&self) -> Option<&dyn Deletion> {
        self.inner.options.deletion.as_deref()
    }

    /// A place among those who look for names that are alike.
    pub(crate) fn place_to_look(&self, caller: &Caller) -> Result<Place, Failure> {
        self.inner.alike.take(caller).map_err(|none| {
            let detail = match none {
                NoPlace::All => "too many search for names that are alike at the moment",
                NoPlace::Share => "too many such searches of this client at the moment",
            };
            Failure::Unavailable { detail }
        })
    }

    /// A place among those who want animations.
    pub(crate) fn place_to_animate(&self, caller: &Caller) -> Result<Place, Failure> {
        self.inner.animations.take(caller).map_err(|none| {
            let detail = match none {
                NoPlace::All => "too many animations are wanted at the moment",
                NoPlace::Share => "too many animations of this client are wanted at the moment",
            };
            Failure::Unavailable { detail }
        })
    }

    /// A place among those who search for workitems.
    pub(crate) fn place_for_workitems(&self, caller: &Caller) -> Result<Place, Failure> {
        self.inner.workitem_searches.take(caller).map_err(|none| {
            let detail = match none {
                NoPlace::All => "too many search for workitems at the moment",
                NoPlace::Share => "too many searches for workitems of this client at the moment",
            };
            Failure::Unavailable { detail }
        })
    }

    /// What has reading tasks.
    pub(crate) fn workitems(&self) -> Result<&dyn Workitems, Failure> {
        let workitems = self.inner.options.workitems.as_deref();
        workitems.ok_or(Failure::Unavailable {
            detail: "this server has no reading tasks",
        })
    }

    /// Who answers for safekeeping.
    pub(crate) fn commitment(&self) -> Result<&dyn Commitment, Failure> {
        let commitment = self.inner.options.commitment.as_deref();
        commitment.ok_or(Failure::Unavailable {
            detail: "this server gives no storage commitment",
        })
    }

    /// Memory for data sets that are inflated.
    pub(crate) fn inflating(&self) -> &Arc<Semaphore> {
        &self.inner.inflating
    }

    /// A share of the memory for metadata that clients send, still empty.
    pub(crate) fn memory_to_describe(&self, caller: &Caller) -> Share {
        self.inner.descriptions.share(caller)
    }

    /// A share of the memory for documents of metadata that are sent, still empty.
    pub(crate) fn memory_for_documents(&self, caller: &Caller) -> Share {
        self.inner.documents.share(caller)
    }

    /// Tells whoever counts.
    pub(crate) fn observe(&self, tally: Tally) {
        if let Some(observer) = &self.inner.options.observer {
            observer.stored(tally);
        }
    }

    /// Who records what is done.
    pub(crate) fn record(&self) -> Option<&dyn Record> {
        self.inner.options.record.as_deref()
    }

    pub(crate) fn spool_directory(&self) -> Option<PathBuf> {
        self.inner.options.spool_directory.clone()
    }

    /// What URLs in an answer to the request with this head begin with.
    pub(crate) fn base_url(&self, head: &Parts) -> String {
        let host = head.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        self.base_url_at(host.or_else(|| head.uri.authority().map(|at| at.as_str())))
    }

    /// As [`Self::base_url`], of the request with these headers.
    pub(crate) fn base_url_by(&self, headers: &HeaderMap) -> String {
        let host = headers.get(header::HOST);
        self.base_url_at(host.and_then(|host| host.to_str().ok()))
    }

    /// What URLs in answers begin with, without a slash at the end: as the program says, or else as
    /// the client names us. A name with letters that no host has is left out.
    fn base_url_at(&self, host: Option<&str>) -> String {
        let options = &self.inner.options;
        if let Some(url) = &options.public_url {
            return url.clone();
        }
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        let is_host = |host: &&str| !host.is_empty() && host.bytes().all(is_letter);
        let prefix = &options.prefix;
        match (host.filter(is_host), options.local_port) {
            (Some(host), Some(port)) if is_loopback_without_port(host) => {
                format!("http://{host}:{port}{prefix}")
            }
            (Some(host), _) => format!("http://{host}{prefix}"),
            (None, _) => prefix.clone(),
        }
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.inner.options.policy
    }
}

fn is_loopback_without_port(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    host == "localhost" || address.parse().is_ok_and(is_loopback)
}

/// The routes of DICOMweb over `archive`, to be served as they are or nested below
/// [`Options::prefix`].
pub fn router(archive: Archive, options: Options) -> Router {
    routes(Web::new(archive, options))
}

/// As [`router`], over what is put together already.
pub fn routes(web: Web) -> Router {
    let routes = crate::routes::router().with_state(web);
    routes.layer(axum::middleware::map_response(of_this_origin))
}

/// Pages of other origins, even of the same site, embed nothing of what is given (Fetch standard
/// 3.7): those that may read it by CORS still fetch it.
async fn of_this_origin(mut response: Response) -> Response {
    let name = HeaderName::from_static("cross-origin-resource-policy");
    let policy = HeaderValue::from_static("same-origin");
    response.headers_mut().insert(name, policy);
    response
}
