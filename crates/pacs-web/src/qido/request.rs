//! What a search asks for (PS3.18 8.3.4): matching, returned attributes, the page.

use super::fuzzy::FuzzyName;
use super::page::Cursor;
use crate::error::Failure;
use crate::limits::WebLimits;
use pacs_core::instance::{INDEXED, level_of};
use pacs_core::limits::QueryLimits;
use pacs_core::query::COMPUTED;
use pacs_core::tag::{by_keyword, tags, vr_of};
use pacs_core::{Key, Level, Matching, Query, QueryError, Tag, Uid, Vr};

/// A search, read and bounded.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is looked for, and which attributes are returned.
    pub query: Query,
    /// Names that match as they sound or are typed, instead of by the query.
    pub(crate) fuzzy: Vec<FuzzyName>,
    /// The most results that may be returned.
    pub limit: usize,
    /// How many are left out before.
    pub offset: usize,
    /// The result after which the page begins, instead of `offset`.
    pub(crate) after: Option<Cursor>,
    /// What was asked and not done, in words for the client.
    pub warnings: Vec<String>,
}

/// Reads the parameters of a search at `level`.
///
/// # Errors
/// [`Failure::BadRequest`] for what cannot be understood, [`Failure::TooLarge`] for too much.
pub fn read_search(
    level: Level,
    parameters: &[(String, String)],
    limits: &WebLimits,
) -> Result<SearchRequest, Failure> {
    let mut request = SearchRequest {
        query: Query::new(level),
        fuzzy: Vec::new(),
        limit: if level <= Level::Study {
            limits.studies_unasked_max
        } else {
            limits.results_max
        },
        offset: 0,
        after: None,
        warnings: Vec::new(),
    };
    let mut is_fuzzy = false;
    let mut wants_all = false;
    for (name, value) in parameters {
        match name.as_str() {
            "limit" => request.limit = number(name, value)?,
            "offset" => request.offset = number(name, value)?,
            "cursor" => request.after = Some(Cursor::parse(value, level)?),
            "fuzzymatching" => is_fuzzy = flag(name, value)?,
            "includefield" => wants_all |= request.include(value)?,
            // Chosen before, in the place of the header.
            "accept" => {}
            _ => request.attribute(name, value)?,
        }
    }
    if is_fuzzy {
        request.take_fuzzy();
    }
    // Searches for names alone go on behind a study of which nothing was a result.
    let is_whole = |cursor: &Cursor| cursor.is_whole(level);
    if request.fuzzy.is_empty() && !request.after.as_ref().is_none_or(is_whole) {
        return Err(Cursor::foreign());
    }
    request.return_attributes(wants_all);
    if request.limit > limits.results_max {
        request.limit = limits.results_max;
        let most = limits.results_max;
        let warning = format!("at most {most} results are returned at once");
        request.warnings.push(warning);
    }
    Ok(request)
}

pub(crate) fn number(name: &str, value: &str) -> Result<usize, Failure> {
    let is_plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_plain);
    number.ok_or_else(|| Failure::bad_request(format!("{name} is not a number from 0 on")))
}

pub(crate) fn flag(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Failure::bad_request(format!(
            "{name} is neither true nor false"
        ))),
    }
}

/// The attributes that a client gets unasked (PS3.18 10.6.3.3), in tag order.
const RETURNED: &[(Level, &[Tag])] = &[
    (
        Level::Study,
        &[
            tags::STUDY_DATE,
            tags::STUDY_TIME,
            tags::ACCESSION_NUMBER,
            tags::INSTANCE_AVAILABILITY,
            tags::MODALITIES_IN_STUDY,
            tags::REFERRING_PHYSICIAN_NAME,
            tags::STUDY_DESCRIPTION,
            tags::PATIENT_NAME,
            tags::PATIENT_ID,
            tags::PATIENT_BIRTH_DATE,
            tags::PATIENT_SEX,
            tags::STUDY_INSTANCE_UID,
            tags::STUDY_ID,
            tags::NUMBER_OF_STUDY_RELATED_SERIES,
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
        ],
    ),
    (
        Level::Series,
        &[
            tags::MODALITY,
            tags::SERIES_DESCRIPTION,
            tags::SERIES_INSTANCE_UID,
            tags::SERIES_NUMBER,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            tags::PERFORMED_PROCEDURE_STEP_START_DATE,
            tags::PERFORMED_PROCEDURE_STEP_START_TIME,
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
        ],
    ),
    (
        Level::Instance,
        &[
            tags::SOP_CLASS_UID,
            tags::SOP_INSTANCE_UID,
            tags::INSTANCE_AVAILABILITY,
            tags::INSTANCE_NUMBER,
            tags::NUMBER_OF_FRAMES,
            tags::ROWS,
            tags::COLUMNS,
            tags::BITS_ALLOCATED,
        ],
    ),
];

impl SearchRequest {
    /// Restricts the search to what stands below a UID of the path.
    pub(crate) fn require(&mut self, tag: Tag, uid: &Uid) {
        let theirs = self.query.keys.iter().find(|key| key.tag == tag);
        let is_other = match theirs.map(|key| &key.matching) {
            Some(Matching::SingleValue(text)) => text != uid.as_str(),
            Some(Matching::UidList(uids)) => !uids.contains(uid),
            _ => false,
        };
        // What lies below one UID and is asked for below another does not exist.
        let matching = if is_other {
            Matching::UidList(Vec::new())
        } else {
            Matching::SingleValue(uid.as_str().to_owned())
        };
        let key = Key {
            tag,
            vr: Vr::UI,
            matching,
        };
        self.query = std::mem::replace(&mut self.query, Query::new(Level::Study)).with(key);
    }

    /// The same search among studies, of which only what names are compared with is returned: by
    /// all that studies and their patients have.
    pub(super) fn of_studies(&self) -> Query {
        let mut query = Query::new(Level::Study);
        for key in &self.query.keys {
            let is_of_studies = level_of_key(key.tag).is_some_and(|of| of <= Level::Study);
            if is_of_studies && (key.matching != Matching::Universal || key.vr == Vr::PN) {
                query = query.with(key.clone());
            }
        }
        query
    }

    /// Whether it names a series or an instance.
    pub(super) fn names_below_study(&self) -> bool {
        let mut keys = self.query.keys.iter();
        keys.any(|key| {
            let is_uid = [tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID].contains(&key.tag);
            is_uid && key.matching != Matching::Universal
        })
    }

    /// A parameter that is none of those with names of their own: an attribute to match.
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let Some(path) = path_of(name)? else {
            // PS3.18 8.3.4: what is no attribute and not known is left aside.
            let warning = "a parameter that is not known was ignored".to_owned();
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
            return Ok(());
        };
        let Some((last, around)) = path.split_last() else {
            return Ok(());
        };
        let top = *path.first().unwrap_or(last);
        if !is_supported(top, self.query.level) {
            self.warnings.push(format!("{top} is not matched here"));
            return Ok(());
        }
        let mut key = leaf(*last, value)?;
        for sequence in around.iter().rev() {
            key = Key {
                tag: *sequence,
                vr: Vr::SQ,
                matching: Matching::Sequence(vec![key]),
            };
        }
        put(&mut self.query.keys, key)
    }

    /// The values of `includefield`; whether `all` is among them.
    fn include(&mut self, value: &str) -> Result<bool, Failure> {
        let mut wants_all = false;
        for name in value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if name == "all" {
                wants_all = true;
                continue;
            }
            let path = path_of(name)?
                .ok_or_else(|| Failure::bad_request("includefield names no attribute"))?;
            let Some(top) = path.first() else {
                continue;
            };
            if is_supported(*top, self.query.level) {
                let query = std::mem::replace(&mut self.query, Query::new(Level::Study));
                self.query = query.returning(*top);
            } else {
                self.warnings.push(format!("{top} is not returned here"));
            }
        }
        Ok(wants_all)
    }

    /// Takes names out of the query, to be matched in another way; what holds no word stays.
    fn take_fuzzy(&mut self) {
        for key in &mut self.query.keys {
            if key.vr != Vr::PN {
                continue;
            }
            let text = key.matching.to_text();
            if let Some(name) = FuzzyName::new(key.tag, &text) {
                self.fuzzy.push(name);
                key.matching = Matching::Universal;
            }
        }
    }

    /// Adds the attributes that come unasked: of the level, and of those above unless the path or
    /// a key says which one it is.
    fn return_attributes(&mut self, wants_all: bool) {
        let level = self.query.level;
        let mut query = std::mem::replace(&mut self.query, Query::new(level));
        for (of, returned) in RETURNED {
            if *of <= level {
                for tag in *returned {
                    query = query.returning(*tag);
                }
            }
        }
        if wants_all {
            let indexed = INDEXED.iter().chain(COMPUTED);
            for (tag, _) in indexed.filter(|entry| entry.1 <= level) {
                query = query.returning(*tag);
            }
        }
        self.query = query;
    }
}

/// Whether entities of `level` have the attribute.
fn is_supported(tag: Tag, level: Level) -> bool {
    level_of_key(tag).is_some_and(|of| of <= level) || tag == tags::INSTANCE_AVAILABILITY
}

/// The level whose entities have the attribute of a key.
pub(super) fn level_of_key(tag: Tag) -> Option<Level> {
    let computed = COMPUTED.iter().find(|entry| entry.0 == tag);
    level_of(tag).or(computed.map(|entry| entry.1))
}

/// The tags of an attribute: `GGGGEEEE` or a keyword, and within sequences a path of these with
/// dots between them. `None` where `name` does not even look like one.
pub(crate) fn path_of(name: &str) -> Result<Option<Vec<Tag>>, Failure> {
    let looks_so = name.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
    if !looks_so {
        return Ok(None);
    }
    let unknown = || Failure::bad_request("a parameter names an attribute that is not known");
    let depth_max = QueryLimits::default().depth_max;
    let mut path = Vec::new();
    for part in name.split('.') {
        if path.len() > depth_max {
            return Err(unknown());
        }
        path.push(tag_of(part).ok_or_else(unknown)?);
    }
    Ok(Some(path))
}

fn tag_of(text: &str) -> Option<Tag> {
    let is_hex = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex {
        let number = u32::from_str_radix(text, 16).ok()?;
        let [g0, g1, e0, e1] = number.to_be_bytes();
        return Some(Tag(
            u16::from_be_bytes([g0, g1]),
            u16::from_be_bytes([e0, e1]),
        ));
    }
    by_keyword(text)
}

pub(crate) fn leaf(tag: Tag, value: &str) -> Result<Key, Failure> {
    let vr = vr_of(tag);
    if vr == Vr::SQ {
        let matching = Matching::Universal;
        if !value.is_empty() {
            return Err(Failure::bad_request(format!("{tag} is a sequence")));
        }
        return Ok(Key { tag, vr, matching });
    }
    // Lists of UIDs have commas here (8.3.4.1), and neither codes nor UIDs hold any.
    let value = if matches!(vr, Vr::UI | Vr::CS) {
        value.replace(',', "\\")
    } else {
        value.to_owned()
    };
    match Matching::of_text(tag, vr, &value, &QueryLimits::default()) {
        Ok(matching) => Ok(Key { tag, vr, matching }),
        Err(error) => Err(not_a_query(&error)),
    }
}

fn not_a_query(error: &QueryError) -> Failure {
    if matches!(error, QueryError::Limit { .. }) {
        let detail = error.to_string();
        return Failure::TooLarge { detail };
    }
    Failure::bad_request(error.to_string())
}

/// Puts a key among `keys`; paths into one sequence meet in its one item.
pub(crate) fn put(keys: &mut Vec<Key>, key: Key) -> Result<(), Failure> {
    match keys.binary_search_by_key(&key.tag, |known| known.tag) {
        Err(at) => keys.insert(at, key),
        Ok(at) => {
            let Some(known) = keys.get_mut(at) else {
                return Ok(());
            };
            if let (Matching::Sequence(known), Matching::Sequence(new)) =
                (&mut known.matching, &key.matching)
            {
                for key in new {
                    put(known, key.clone())?;
                }
            } else if known.matching == Matching::Universal {
                *known = key;
            } else {
                let detail = format!("{} is asked for twice", key.tag);
                return Err(Failure::bad_request(detail));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
