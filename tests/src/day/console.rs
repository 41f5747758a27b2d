//! A console: it asks for its worklist, tells of its steps, and sends images over lines that break.

use std::net::SocketAddr;

use super::centre::Centre;
use super::images::{Image, tag};
use super::plan::Kind;
use crate::proxy::{Proxy, Weather};
use crate::samples::Random;
use crate::wire::{Association, Context, Proposal, Tree, WireError, uid};

/// The status of N-CREATE where the step is there (PS3.7 9.1.5.1.5).
const DUPLICATE: u16 = 0x0111;
/// The status of N-SET where the step may no longer be updated (PS3.4 F.7.2.2.2).
const NO_LONGER: u16 = 0x0110;

/// A console.
#[derive(Clone, Debug)]
pub struct Console<'c> {
    centre: &'c Centre,
    /// Its AE title.
    title: String,
    kind: Kind,
}

/// An entry of the worklist.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Everything that was answered.
    pub answer: Tree,
    /// The item of the step.
    pub step: Tree,
}

impl<'c> Console<'c> {
    /// The console `title`, which makes images of one kind.
    #[must_use]
    pub fn new(centre: &'c Centre, title: &str, kind: Kind) -> Self {
        Self {
            centre,
            title: title.to_owned(),
            kind,
        }
    }

    fn proposal(&self, class: &str) -> Proposal {
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        Proposal {
            calling: self.title.clone(),
            ..Proposal::new(vec![Context::new(class, syntax)])
        }
    }

    /// The entry of the worklist that has this ID.
    ///
    /// # Panics
    /// When there is none, or several.
    #[must_use]
    pub fn entry(&self, id: &str) -> Entry {
        let mut step = Tree::default();
        for (tag, vr) in [
            (0x0008_0060, "CS"),
            (0x0040_0001, "AE"),
            (0x0040_0002, "DA"),
            (0x0040_0003, "TM"),
            (0x0040_0007, "LO"),
            (0x0040_0009, "SH"),
        ] {
            let value = if tag == 0x0008_0060 {
                self.kind.modality()
            } else {
                ""
            };
            step = step.text(tag, vr, value);
        }
        let mut keys = Tree::default().items(0x0040_0100, vec![step]);
        for (tag, vr) in [
            (0x0008_0050, "SH"),
            (0x0010_0010, "PN"),
            (0x0010_0020, "LO"),
            (0x0010_0030, "DA"),
            (0x0010_0040, "CS"),
            (0x0020_000D, "UI"),
            (0x0040_1001, "SH"),
        ] {
            keys = keys.text(tag, vr, "");
        }
        let (answers, status) = self.centre.persist("a worklist", |at| {
            let proposal = self.proposal(uid::WORKLIST_FIND);
            let mut association = Association::connect(at.dicom, &proposal)?;
            let found = association.find_trees(uid::WORKLIST_FIND, &keys)?;
            association.release()?;
            Ok::<_, WireError>(found)
        });
        assert_eq!(status, 0, "C-FIND of the worklist by {}", self.title);
        let is_it = |answer: &&Tree| answer.text_of(tag::ACCESSION) == id;
        let mut entries = answers.iter().filter(is_it);
        let answer = entries.next().unwrap_or_else(|| {
            panic!("{} does not see {id} in its worklist", self.title);
        });
        assert!(entries.next().is_none(), "{id} stands there twice");
        Entry {
            answer: answer.clone(),
            step: answer.items_of(0x0040_0100)[0].clone(),
        }
    }

    /// Tells that a step of an entry begins.
    ///
    /// # Panics
    /// When it is refused.
    pub fn begin(&self, step: &str, entry: &Entry, made_at: &(String, String)) {
        let text = |tag| entry.answer.text_of(tag);
        let scheduled = Tree::default()
            .text(tag::ACCESSION, "SH", &text(tag::ACCESSION))
            .items(0x0008_1110, vec![])
            .text(tag::STUDY, "UI", &text(tag::STUDY))
            .text(0x0032_1060, "LO", "")
            .text(0x0040_0007, "LO", &entry.step.text_of(0x0040_0007))
            .items(0x0040_0008, vec![])
            .text(0x0040_0009, "SH", &entry.step.text_of(0x0040_0009))
            .text(0x0040_1001, "SH", &text(0x0040_1001));
        let charset = text(0x0008_0005);
        let mut told = Tree::default();
        if !charset.is_empty() {
            told = told.text(0x0008_0005, "CS", &charset);
        }
        let told = told
            .text(0x0008_0060, "CS", self.kind.modality())
            .items(0x0008_1032, vec![])
            .items(0x0008_1120, vec![])
            .text(tag::NAME, "PN", &text(tag::NAME))
            .text(tag::PATIENT_ID, "LO", &text(tag::PATIENT_ID))
            .text(0x0010_0030, "DA", &text(0x0010_0030))
            .text(0x0010_0040, "CS", &text(0x0010_0040))
            .text(0x0020_0010, "SH", "")
            .text(0x0040_0241, "AE", &self.title)
            .text(0x0040_0242, "SH", "")
            .text(0x0040_0243, "SH", "")
            .text(0x0040_0244, "DA", &made_at.0)
            .text(0x0040_0245, "TM", &made_at.1)
            .text(0x0040_0250, "DA", "")
            .text(0x0040_0251, "TM", "")
            .text(0x0040_0252, "CS", "IN PROGRESS")
            .text(0x0040_0253, "SH", "PPS1")
            .text(0x0040_0254, "LO", "")
            .text(0x0040_0255, "LO", "")
            .items(0x0040_0260, vec![])
            .items(0x0040_0270, vec![scheduled])
            .items(0x0040_0340, vec![]);
        let mut is_first = true;
        let status = self.centre.persist("N-CREATE", |at| {
            let is_again = !std::mem::replace(&mut is_first, false);
            let mut association =
                Association::connect(at.dicom, &self.proposal(uid::PROCEDURE_STEP))?;
            let status = association.begin_step(step, &told)?;
            association.release().ok();
            // It had been kept when the answer was lost.
            let is_kept = is_again && status == DUPLICATE;
            Ok::<_, WireError>(if is_kept { 0 } else { status })
        });
        assert_eq!(status, 0, "N-CREATE by {}", self.title);
    }

    /// Tells that a step ended, with its images, or that it was broken off, with a code of PS3.16
    /// CID 9300.
    ///
    /// # Panics
    /// When it is refused.
    pub fn end(
        &self,
        step: &str,
        images: &[(&str, &str, &str)],
        made_at: &(String, String),
        broken_off: Option<&str>,
    ) {
        let mut series: Vec<(&str, Vec<Tree>)> = Vec::new();
        for (class, of, instance) in images {
            let item =
                Tree::default()
                    .text(0x0008_1150, "UI", class)
                    .text(0x0008_1155, "UI", instance);
            match series.iter_mut().find(|(known, _)| known == of) {
                Some((_, items)) => items.push(item),
                None => series.push((of, vec![item])),
            }
        }
        let series = series.into_iter().map(|(uid, images)| {
            Tree::default()
                .text(0x0008_0054, "AE", "")
                .text(0x0008_103E, "LO", "")
                .text(0x0008_1050, "PN", "")
                .text(0x0008_1070, "PN", "")
                .items(0x0008_1140, images)
                .text(0x0018_1030, "LO", "CHEST")
                .text(0x0020_000E, "UI", uid)
                .items(0x0040_0220, vec![])
        });
        let status = if broken_off.is_some() {
            "DISCONTINUED"
        } else {
            "COMPLETED"
        };
        let mut told = Tree::default()
            .text(0x0040_0250, "DA", &made_at.0)
            .text(0x0040_0251, "TM", &made_at.1)
            .text(0x0040_0252, "CS", status)
            .items(0x0040_0340, series.collect());
        if let Some(code) = broken_off {
            let reason = Tree::default()
                .text(0x0008_0100, "SH", code)
                .text(0x0008_0102, "SH", "DCM")
                .text(0x0008_0104, "LO", "reason of the day");
            told = told.items(0x0040_0281, vec![reason]);
        }
        let mut is_first = true;
        let status = self.centre.persist("N-SET", |at| {
            let is_again = !std::mem::replace(&mut is_first, false);
            let mut association =
                Association::connect(at.dicom, &self.proposal(uid::PROCEDURE_STEP))?;
            let status = association.set_step(step, &told)?;
            association.release().ok();
            let is_kept = is_again && status == NO_LONGER;
            Ok::<_, WireError>(if is_kept { 0 } else { status })
        });
        assert_eq!(status, 0, "N-SET by {}", self.title);
    }

    /// Sends images until each is acknowledged.
    pub fn send(&self, images: &[Image]) {
        self.send_rest(images, &mut 0);
    }

    /// The same over a line that breaks in the middle; whether it did before the end.
    pub fn send_over_a_line_that_breaks(&self, images: &[Image], random: &mut Random) -> bool {
        let total: usize = images.iter().map(|image| image.data_set.len()).sum();
        let at = self.centre.at();
        let after = 600 + random.below(total as u64);
        let proxy = Proxy::start(at.dicom, Weather::ResetAfter(after));
        let mut acknowledged = 0;
        let broken = self.try_send(proxy.address(), images, &mut acknowledged);
        if broken.is_ok() {
            return false;
        }
        self.send_rest(images, &mut acknowledged);
        true
    }

    fn send_rest(&self, images: &[Image], acknowledged: &mut usize) {
        self.centre.persist("C-STORE", |at| {
            self.try_send(at.dicom, images, acknowledged)
        });
    }

    /// Sends what is not acknowledged yet.
    fn try_send(
        &self,
        address: SocketAddr,
        images: &[Image],
        acknowledged: &mut usize,
    ) -> Result<(), WireError> {
        if images.len() == *acknowledged {
            return Ok(());
        }
        let proposal = self.proposal(self.kind.class());
        let mut association = Association::connect(address, &proposal)?;
        while let Some(image) = images.get(*acknowledged) {
            let (class, syntax) = (image.class, uid::EXPLICIT_LITTLE_ENDIAN);
            let status = association.store(class, &image.instance, syntax, &image.data_set)?;
            if status != 0 {
                return Err(WireError::Unexpected(format!("C-STORE: {status:04X}H")));
            }
            *acknowledged += 1;
        }
        // All is acknowledged, whatever becomes of the release.
        association.release().ok();
        Ok(())
    }
}
