//! What the headers of a study say, and who sent it.

use super::{Matcher, MatcherError, News};
use crate::archive::Archive;
use crate::error::ReadError;
use crate::index::StoredInstance;
use crate::limits::{MATCHER_HEAD_BYTES_MAX, WITNESSES_MAX};
use crate::registry::Moment;
use crate::registry::examinations::StudyMatch;
use pacs_core::access::Get;
use pacs_core::examination::reconcile::StudyHeader;
use pacs_core::query::Matching;
use pacs_core::sender::is_own_report;
use pacs_core::tag::tags;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Instance, Key, Level, OrganisationCode, Permit, Query, SopInstanceUid, Uid, Vr};
use std::collections::BTreeMap;
use std::io;

/// An instance with a header that no earlier one has.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) instance: SopInstanceUid,
    pub(super) series: SeriesUid,
    pub(super) header: StudyHeader,
}

/// What is known of a study.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first instance in sight, and when it came.
    pub(super) first: Option<(SopInstanceUid, u64)>,
    pub(super) witnesses: Vec<Witness>,
    /// It is all of versions that are served as of another study.
    pub(super) is_by_versions: bool,
    /// There were more different headers than are remembered.
    pub(super) has_more: bool,
    /// Each once, the first one first.
    pub(super) senders: Vec<String>,
    /// Whose they are, each once; `None`: nobody knows.
    pub(super) owners: Vec<Option<OrganisationCode>>,
    /// It came over no network.
    pub(super) is_import: bool,
    /// Series of which something came now, and when the last of it did.
    pub(super) news: BTreeMap<SeriesUid, Moment>,
}

impl Matcher {
    /// Reads what came of a study, and of what came before it each header that was different.
    pub(super) async fn see(
        &self,
        study: &StudyUid,
        news: &News,
        known: Option<&StudyMatch>,
    ) -> Result<Seen, MatcherError> {
        let mut seen = Seen::default();
        if let Some(known) = known {
            for sender in &known.senders {
                self.note_sender(&mut seen, sender).await?;
            }
            let mut old = vec![known.first_instance.clone()];
            let more = known.witnesses.iter();
            old.extend(more.filter(|one| **one != known.first_instance).cloned());
            for instance in self.instances(study, &old).await? {
                self.note(&mut seen, &instance).await?;
            }
        }
        let size = self.limits.instances_max.max(1);
        for chunk in news.instances.chunks(size) {
            for instance in self.instances(study, chunk).await? {
                // What the archive wrote of the images is none of them.
                if is_own_report(&instance.provenance.calling) {
                    continue;
                }
                self.note(&mut seen, &instance).await?;
                let at = self.moment(instance.provenance.received_unix_ms);
                let series = instance.instance.series.clone();
                let newest = seen.news.entry(series).or_insert(at);
                *newest = at.max(*newest);
            }
        }
        if seen.first.is_none() && known.is_none() {
            for version in self.with_heads(news.versions.clone()).await? {
                self.note(&mut seen, &version).await?;
                seen.is_by_versions = true;
            }
        }
        if seen.first.is_none() && known.is_some() {
            // All that was remembered of it is out of sight.
            for instance in self.outer(study).await? {
                self.note(&mut seen, &instance).await?;
            }
        }
        Ok(seen)
    }

    async fn note(&self, seen: &mut Seen, stored: &StoredInstance) -> Result<(), MatcherError> {
        let provenance = &stored.provenance;
        let owner = self.note_sender(seen, &provenance.calling).await?;
        let instance = &stored.instance;
        if seen.first.is_none() {
            seen.first = Some((instance.instance.clone(), provenance.received_unix_ms));
            seen.is_import = provenance.address.is_none();
        }
        let header = StudyHeader::of(instance, owner);
        let is_known = |witness: &Witness| witness.header.says_the_same(&header);
        if seen.witnesses.iter().any(is_known) {
            return Ok(());
        }
        if seen.witnesses.len() >= WITNESSES_MAX {
            seen.has_more = true;
        } else {
            seen.witnesses.push(Witness {
                instance: instance.instance.clone(),
                series: instance.series.clone(),
                header,
            });
        }
        Ok(())
    }

    /// Whose sender it is; it is noted once.
    async fn note_sender(
        &self,
        seen: &mut Seen,
        sender: &str,
    ) -> Result<Option<OrganisationCode>, MatcherError> {
        let at = seen.senders.iter().position(|known| known == sender);
        let owner = match (at, seen.owners.as_slice()) {
            // All of one organisation, as nearly always.
            (Some(_), [one]) => return Ok(*one),
            _ => self.registry.organisation_of_sender(sender).await?,
        };
        if at.is_none() && seen.senders.len() < WITNESSES_MAX {
            seen.senders.push(sender.to_owned());
        }
        if !seen.owners.contains(&owner) {
            seen.owners.push(owner);
        }
        Ok(owner)
    }

    /// Those instances of a study that are in sight, in the order in which they came.
    async fn instances(
        &self,
        study: &StudyUid,
        wanted: &[SopInstanceUid],
    ) -> Result<Vec<StoredInstance>, MatcherError> {
        let uids: Vec<Uid> = wanted.iter().map(|uid| uid.uid().clone()).collect();
        let query = of_study(Level::Instance, study)
            .with(key(tags::SOP_INSTANCE_UID, Matching::UidList(uids)));
        self.read(&query).await
    }

    /// The instances of the first series of a study that is in sight.
    async fn outer(&self, study: &StudyUid) -> Result<Vec<StoredInstance>, MatcherError> {
        let kept = self
            .archive
            .kept_images(&self.permits.find, [study.clone()])
            .await?;
        let series = kept
            .series_of(study)
            .and_then(|series| series.keys().next());
        let Some(series) = series else {
            return Ok(Vec::new());
        };
        let of_series = Matching::SingleValue(series.as_str().to_owned());
        let query =
            of_study(Level::Instance, study).with(key(tags::SERIES_INSTANCE_UID, of_series));
        self.read(&query).await
    }

    async fn read(&self, query: &Query) -> Result<Vec<StoredInstance>, MatcherError> {
        let found = self.archive.select(&self.permits.get, query).await?;
        let mut found: Vec<StoredInstance> = found.into_iter().collect();
        found.sort_by_key(|instance| instance.provenance.received_unix_ms);
        self.with_heads(found).await
    }

    /// The instances with all that their own heads say: the index keeps of a study what the first
    /// of its instances said. Of one that cannot be read there is what the index has of it alone.
    async fn with_heads(
        &self,
        found: Vec<StoredInstance>,
    ) -> Result<Vec<StoredInstance>, MatcherError> {
        let (archive, get) = (self.archive.clone(), self.permits.get.clone());
        // All in one go: a thread that is woken for each takes longer than the reading.
        let read = tokio::task::spawn_blocking(move || {
            let mut found = found;
            for stored in &mut found {
                stored.instance = head(&archive, &get, stored)?;
            }
            Ok::<_, ReadError>(found)
        });
        let read = read.await.map_err(io::Error::other);
        Ok(read.map_err(ReadError::Disk)??)
    }
}

/// All that the head of an instance says, where it can be read.
fn head(
    archive: &Archive,
    get: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Instance, ReadError> {
    let bytes = match stored.instance.head_bytes {
        // Deflated.
        0 => MATCHER_HEAD_BYTES_MAX,
        // With the tag of what follows, by which the head is seen to be whole.
        head_bytes => head_bytes.saturating_add(12).min(MATCHER_HEAD_BYTES_MAX),
    };
    let data_set = match archive.read_now(get, stored, &(0..bytes)) {
        Ok(data_set) => data_set,
        Err(ReadError::Damaged | ReadError::Missing) => return Ok(stored.instance.clone()),
        Err(error) => return Err(error),
    };
    let syntax = &stored.instance.transfer_syntax;
    let read = Instance::parse(&data_set, syntax, &archive.shared.limits.scan);
    Ok(read.unwrap_or_else(|_| stored.instance.clone()))
}

const fn key(tag: pacs_core::Tag, matching: Matching) -> Key {
    Key {
        tag,
        vr: Vr::UI,
        matching,
    }
}

pub(super) fn of_study(level: Level, study: &StudyUid) -> Query {
    let matching = Matching::SingleValue(study.as_str().to_owned());
    Query::new(level).with(key(tags::STUDY_INSTANCE_UID, matching))
}
