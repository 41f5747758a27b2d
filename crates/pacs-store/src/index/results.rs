//! What a search gives, and the memory that it takes until it is used.
//!
//! Whoever asks for everything gets it collected in memory. [`ResultMemory`] is how much all of
//! these collections may hold together; a [`Quota`] is what one of them may; [`Results`] gives back
//! what it took when it goes, and with each result that is taken out of it.

use super::{IndexError, Match, StoredInstance};
use pacs_core::access::Holder;
use pacs_core::attributes::Value;
use pacs_core::role::sight::Sight;
use pacs_core::{Attributes, Caller};
use std::fmt;
use std::mem::size_of;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a collection takes from the memory of all at a time.
const UNIT_BYTES: usize = 64 << 10;

/// Memory that the results of all searches take together, beyond what each has of its own.
#[derive(Debug, Clone)]
pub struct ResultMemory {
    /// In units of [`UNIT_BYTES`].
    left: Arc<Semaphore>,
    own_bytes: usize,
}

impl ResultMemory {
    /// `bytes` for all searches, and `own_bytes` for each of them whatever others hold.
    #[must_use]
    pub fn new(bytes: usize, own_bytes: usize) -> Self {
        Self {
            left: Arc::new(Semaphore::new(bytes / UNIT_BYTES)),
            own_bytes,
        }
    }

    /// Bytes that nobody holds now.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.left.available_permits().saturating_mul(UNIT_BYTES)
    }
}

/// How much one search may give, and to whom.
#[derive(Debug, Clone)]
pub struct Quota {
    count_max: usize,
    memory: Option<ResultMemory>,
    sight: Sight,
    holder: Option<Holder>,
}

impl Quota {
    /// Up to `count_max` results, whatever memory they take: for those who know their archive.
    #[must_use]
    pub const fn of(count_max: usize) -> Self {
        Self {
            count_max,
            memory: None,
            sight: Sight::Everything,
            holder: None,
        }
    }

    /// And no more than half of what is left of `memory` when it begins to take of it, so that
    /// there is always something for the next.
    #[must_use]
    pub fn within(self, memory: &ResultMemory) -> Self {
        Self {
            memory: Some(memory.clone()),
            ..self
        }
    }

    /// And nothing that `sight` does not reach.
    #[must_use]
    pub fn seen_by(self, sight: &Sight) -> Self {
        Self {
            sight: sight.clone(),
            ..self
        }
    }

    /// And in turns with what else `caller` searches for at the moment.
    #[must_use]
    pub fn asked_by(self, caller: &Caller) -> Self {
        Self {
            holder: Some(caller.holder()),
            ..self
        }
    }

    /// Whose searches it is one of, where that is somebody with a share.
    #[must_use]
    pub const fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// What whoever asks sees.
    #[must_use]
    pub const fn sight(&self) -> &Sight {
        &self.sight
    }
}

/// What a result takes in memory, about.
pub trait Weighed {
    /// Bytes on the heap, beside its own size.
    fn heap_bytes(&self) -> usize;
}

impl Weighed for Match {
    fn heap_bytes(&self) -> usize {
        heap_bytes(&self.attributes)
    }
}

impl Weighed for StoredInstance {
    fn heap_bytes(&self) -> usize {
        let instance = &self.instance;
        let uids = [
            instance.study.as_str(),
            instance.series.as_str(),
            instance.instance.as_str(),
            instance.sop_class.as_str(),
            instance.transfer_syntax.as_str(),
            &self.provenance.calling,
        ];
        let texts = uids.into_iter().map(|text| text_bytes(text.len()));
        texts
            .sum::<usize>()
            .saturating_add(heap_bytes(&instance.attributes))
    }
}

/// What an allocation takes beside what is in it, about.
const ALLOCATION_BYTES: usize = 16;

const fn text_bytes(length: usize) -> usize {
    length.saturating_add(ALLOCATION_BYTES)
}

/// Nesting is bounded by what the scanner lets into the index.
fn heap_bytes(attributes: &Attributes) -> usize {
    // A vector that grew has room for up to as much again.
    let element_bytes = 2 * size_of::<pacs_core::attributes::Attribute>();
    let elements = attributes.len().saturating_mul(element_bytes);
    let values = attributes.iter().map(|attribute| match &attribute.value {
        Value::Suspect(text) | Value::Text(text) => text_bytes(text.len()),
        Value::Items(items) => items
            .iter()
            .map(|item| heap_bytes(item).saturating_add(size_of::<Attributes>()))
            .fold(ALLOCATION_BYTES, usize::saturating_add),
    });
    values.fold(
        elements.saturating_add(ALLOCATION_BYTES),
        usize::saturating_add,
    )
}

/// What a collection took of the memory of all.
struct Charge {
    memory: ResultMemory,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
    /// Units that it may take; known once it takes the first.
    units_max: Option<usize>,
}

impl Charge {
    const fn new(memory: ResultMemory) -> Self {
        Self {
            memory,
            taken: None,
            bytes: 0,
            units_max: None,
        }
    }

    fn units(&self) -> usize {
        let shared = self.bytes.saturating_sub(self.memory.own_bytes);
        shared.div_ceil(UNIT_BYTES)
    }

    fn units_taken(&self) -> usize {
        self.taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, bytes: usize) -> Result<(), IndexError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let wanted = self.units();
        let more = wanted.saturating_sub(self.units_taken());
        if more == 0 {
            return Ok(());
        }
        let left = &self.memory.left;
        let units_max = *self
            .units_max
            .get_or_insert_with(|| left.available_permits() / 2);
        let more = u32::try_from(more).map_err(|_beyond| IndexError::NoMemory)?;
        if wanted > units_max {
            return Err(IndexError::NoMemory);
        }
        let more = Arc::clone(left).try_acquire_many_owned(more);
        let more = more.map_err(|_none| IndexError::NoMemory)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let spare = self.units_taken().saturating_sub(self.units());
        if spare > 0
            && let Some(taken) = &mut self.taken
        {
            drop(taken.split(spare));
        }
    }
}

/// The results of one search, in order, and the memory they take.
pub struct Results<T> {
    items: Vec<T>,
    count_max: usize,
    charge: Option<Charge>,
}

impl<T: Weighed> Results<T> {
    /// None yet.
    #[must_use]
    pub fn new(quota: &Quota) -> Self {
        Self {
            items: Vec::new(),
            count_max: quota.count_max,
            charge: quota.memory.clone().map(Charge::new),
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`IndexError::TooMany`], [`IndexError::NoMemory`].
    pub fn push(&mut self, item: T) -> Result<(), IndexError> {
        if self.items.len() >= self.count_max {
            return Err(IndexError::TooMany {
                limit_count: self.count_max,
            });
        }
        if let Some(charge) = &mut self.charge {
            // A vector that grew has room for up to as much again.
            let bytes = item.heap_bytes().saturating_add(2 * size_of::<T>());
            charge.add(bytes)?;
        }
        self.items.push(item);
        Ok(())
    }

    /// Takes the last one out.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.pop()?;
        if let Some(charge) = &mut self.charge {
            charge.give_back(item.heap_bytes());
        }
        Some(item)
    }

    /// Adds all of `items`.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn with(mut self, items: impl IntoIterator<Item = T>) -> Result<Self, IndexError> {
        items.into_iter().try_for_each(|item| self.push(item))?;
        Ok(self)
    }
}

impl<T> Results<T> {
    /// As a vector, which no budget knows of.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T> Deref for Results<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> fmt::Debug for Results<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("count", &self.items.len())
            .finish_non_exhaustive()
    }
}

impl<T: Weighed> IntoIterator for Results<T> {
    type Item = T;
    type IntoIter = IntoResults<T>;

    fn into_iter(self) -> IntoResults<T> {
        IntoResults {
            items: self.items.into_iter(),
            charge: self.charge,
        }
    }
}

impl<'a, T> IntoIterator for &'a Results<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// Takes [`Results`] one by one; the memory of each is free with it.
pub struct IntoResults<T> {
    items: std::vec::IntoIter<T>,
    charge: Option<Charge>,
}

impl<T> IntoResults<T> {
    /// Those that were not taken yet.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.items.as_slice()
    }
}

impl<T: Weighed> Iterator for IntoResults<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.items.next()?;
        if let Some(charge) = &mut self.charge {
            // The vector itself stays until its end.
            charge.give_back(item.heap_bytes());
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<T: Weighed> ExactSizeIterator for IntoResults<T> {}

impl<T> fmt::Debug for IntoResults<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoResults")
            .field("count", &self.items.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::Vr;
    use pacs_core::tag::tags;

    fn a_match(bytes: usize) -> Match {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "x".repeat(bytes));
        Match { attributes }
    }

    /// Collects until nothing more is taken.
    fn fill(quota: &Quota) -> Results<Match> {
        let mut results = Results::new(quota);
        while results.push(a_match(10_000)).is_ok() {}
        results
    }

    #[test]
    fn one_search_takes_half_of_what_is_left_and_the_next_half_of_that() {
        let memory = ResultMemory::new(8 << 20, 0);
        let quota = Quota::of(usize::MAX).within(&memory);

        let counts = [fill(&quota), fill(&quota), fill(&quota)].map(|results| results.len());

        // They are all held while the next begins.
        assert!((400..425).contains(&counts[0]), "{counts:?}");
        assert!(counts[1].abs_diff(counts[0] / 2) < 10, "{counts:?}");
        assert!(counts[2].abs_diff(counts[1] / 2) < 10, "{counts:?}");
        assert_eq!(memory.left_bytes(), 8 << 20);
    }

    #[test]
    fn a_search_has_what_is_its_own_where_others_hold_everything() {
        let memory = ResultMemory::new(0, 64 << 10);
        let quota = Quota::of(usize::MAX).within(&memory);

        let results = fill(&quota);

        assert_eq!(results.len(), 6);
    }

    #[test]
    fn what_is_taken_out_is_free_for_others_at_once() {
        let memory = ResultMemory::new(8 << 20, 0);
        let quota = Quota::of(usize::MAX).within(&memory);
        let mut taking = fill(&quota).into_iter();
        let half = taking.len() / 2;

        assert_eq!(memory.left_bytes(), 4 << 20);
        taking.by_ref().take(half).for_each(drop);

        assert!(memory.left_bytes() > 11 << 19, "{}", memory.left_bytes());
        taking.by_ref().for_each(drop);
        drop(taking);
        assert_eq!(memory.left_bytes(), 8 << 20);
    }

    #[test]
    fn more_than_are_asked_for_are_refused_as_too_many() {
        let mut results = Results::new(&Quota::of(1));
        results.push(a_match(1)).unwrap();

        let refused = results.push(a_match(1));

        assert!(matches!(
            refused,
            Err(IndexError::TooMany { limit_count: 1 })
        ));
    }
}
