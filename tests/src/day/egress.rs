//! What the server gives of images: all of them, as they came but for what they must say.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{Image, tag};
use super::oracle::{Asker, Findings, is_bound, patient_id_sent};
use super::plan::Identity;
use super::truth::{Exam, Fate, Record, Study};
use crate::web;
use crate::wire::tree::Node;
use crate::wire::{Association, Context, Keys, Proposal, Tree, WireError, digest, identifier, uid};

/// Every how many-th study is also asked for by DICOMweb.
const WEB_EVERY: usize = 10;

/// What may differ in an image that says who its patient is: the rest is as it came.
const COERCED: [u32; 21] = [
    0x0008_0005,
    0x0008_0050,
    0x0008_0051,
    0x0008_0080,
    0x0008_0090,
    0x0008_1030,
    0x0008_1032,
    0x0010_0010,
    0x0010_0020,
    0x0010_0021,
    0x0010_0024,
    0x0010_0030,
    0x0010_0040,
    0x0010_1000,
    0x0010_1001,
    0x0010_1002,
    0x0010_1020,
    0x0010_1030,
    0x0020_0010,
    0x0040_0275,
    0x0400_0561,
];

type Given = BTreeMap<String, Vec<u8>>;

impl Asker<'_> {
    /// Has the workstation of the hospital get every image that was made there; how many.
    pub fn ask_for_images(&self, records: &[Record], findings: &Findings) -> usize {
        let mut count = 0;
        let all = records.iter().flat_map(|record| {
            let studies = record.studies.iter();
            studies.map(move |study| (record, study))
        });
        for (at, (record, study)) in all.enumerate() {
            for fault in self.images(record, study, at % WEB_EVERY == 0) {
                findings.fault(fault);
            }
            count += study.images.len();
        }
        count
    }

    /// What is wrong with the images of a study.
    pub fn images(&self, record: &Record, study: &Study, by_web_too: bool) -> Vec<String> {
        let about = format!("{}, study {}", record.identity.name(), study.uid);
        let is_elsewhere = matches!(study.fate, Fate::WaitsElsewhere(_));
        let given = if is_elsewhere {
            self.get_by_web(&study.uid, &self.everything)
        } else {
            self.get(&study.uid)
        };
        let mut faults = Vec::new();
        let sent: BTreeSet<&str> = study.images.iter().map(|one| &*one.instance).collect();
        for instance in given.keys().filter(|one| !sent.contains(&***one)) {
            faults.push(format!("WRONG PATIENT: {about} has {instance}"));
        }
        let exam = study.exam.map(|at| &record.exams[at]);
        // Of two patients, all is given as it came until the last series is split off: then each
        // series says whose it is.
        let is_mixed = record.identity == Identity::Mixed;
        let split_off = study.images.last().filter(|_| study.is_put_right);
        let says = |image: &Image| match split_off {
            _ if !is_mixed => exam.filter(|_| is_bound(study)),
            Some(last) => record.exams.get(usize::from(image.series == last.series)),
            None => None,
        };
        for image in &study.images {
            match given.get(&image.instance) {
                None => faults.push(format!("LOST: {about}, {}", image.instance)),
                Some(bytes) => faults.extend(
                    compare(image, bytes, says(image))
                        .map(|fault| format!("{fault}: {about}, {}", image.instance)),
                ),
            }
        }
        if by_web_too && !is_elsewhere {
            let by_web = self.get_by_web(&study.uid, &self.token);
            if by_web != given {
                faults.push(format!("CHANGED: {about} is another over DICOMweb"));
            }
            let foreign = &self.hospitals[(self.here + 5) % self.hospitals.len()];
            let seen = self.find(&foreign.workstation(), identifier::tag::STUDY, &study.uid);
            if !seen.is_empty() {
                faults.push(format!("LEAK: {about} is seen by {}", foreign.code));
            }
        }
        faults
    }

    /// The images of a study, as the workstation gets them.
    fn get(&self, study: &str) -> Given {
        let title = self.hospitals[self.here].workstation();
        let mut contexts = vec![Context::new(
            uid::STUDY_ROOT_GET,
            uid::IMPLICIT_LITTLE_ENDIAN,
        )];
        for class in [
            uid::CT_IMAGE_STORAGE,
            uid::MR_IMAGE_STORAGE,
            uid::DX_IMAGE_STORAGE,
        ] {
            contexts.push(Context::receiving(class, uid::EXPLICIT_LITTLE_ENDIAN));
        }
        let proposal = Proposal {
            calling: title,
            ..Proposal::new(contexts)
        };
        let keys = Keys::at("STUDY").with(identifier::tag::STUDY, study);
        self.centre.persist("C-GET", |at| {
            let mut given = Given::new();
            let mut association = Association::connect(at.dicom, &proposal)?;
            let ended = association.get_each(&keys, |instance, bytes| {
                given.insert(instance.sop_instance, bytes.to_vec());
            })?;
            association.release().ok();
            if ended.status == 0 {
                Ok(given)
            } else {
                Err(WireError::Unexpected(format!("C-GET: {ended:?}")))
            }
        })
    }

    /// The same, as a program gets them by WADO-RS.
    fn get_by_web(&self, study: &str, token: &str) -> Given {
        let bearer = format!("Bearer {token}");
        let accept = "multipart/related; type=\"application/dicom\"";
        let fields = [("Authorization", &*bearer), ("Accept", accept)];
        let path = format!("/dicomweb/studies/{study}");
        let reply = web::get(self.centre.at().http, &path, &fields);
        if reply.status != 200 {
            return Given::new();
        }
        let mut given = Given::new();
        for part in reply.parts() {
            let data_set = data_set(&part.body).to_vec();
            let read = Tree::read(&data_set).expect("a data set");
            given.insert(read.text_of(0x0008_0018), data_set);
        }
        given
    }

    /// The studies that C-FIND finds by one key.
    fn find(&self, title: &str, key: u32, value: &str) -> BTreeSet<String> {
        let contexts = vec![Context::new(
            uid::STUDY_ROOT_FIND,
            uid::IMPLICIT_LITTLE_ENDIAN,
        )];
        let proposal = Proposal {
            calling: title.to_owned(),
            ..Proposal::new(contexts)
        };
        let keys = Keys::at("STUDY")
            .with(identifier::tag::STUDY, "")
            .with(key, value);
        let found = self.centre.persist("C-FIND", |at| {
            let mut association = Association::connect(at.dicom, &proposal)?;
            let (found, status) = association.find(uid::STUDY_ROOT_FIND, &keys)?;
            association.release().ok();
            if status == 0 {
                Ok(found)
            } else {
                Err(WireError::Unexpected(format!("C-FIND: {status:04X}H")))
            }
        });
        let uid = |answer: &crate::wire::Answer| answer.text(identifier::tag::STUDY);
        found.iter().map(uid).collect()
    }

    /// By the number of a patient the studies are found that are theirs, and those that wait in the
    /// queue and came with that number.
    pub fn ask_for_patients(&self, records: &[Record], findings: &Findings) {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in records {
            for exam in &record.exams {
                expected.entry(exam.patient.clone()).or_default();
            }
            for study in &record.studies {
                let is_given_as_it_came = !is_bound(study) || record.identity == Identity::Mixed;
                let number = match study.exam {
                    Some(at) if !is_given_as_it_came => record.exams[at].patient.clone(),
                    _ => patient_id_sent(study),
                };
                if !matches!(study.fate, Fate::WaitsElsewhere(_)) {
                    let of_it = expected.entry(number).or_default();
                    of_it.insert(study.uid.clone());
                }
            }
        }
        let title = self.hospitals[self.here].workstation();
        let numbers = expected.iter().filter(|(number, _)| is_number(number));
        for (number, studies) in numbers {
            let found = self.find(&title, identifier::tag::PATIENT_ID, number);
            for study in found.difference(studies) {
                findings.fault(format!("WRONG PATIENT: C-FIND shows study {study}"));
            }
            for study in studies.difference(&found) {
                findings.fault(format!("LOST: C-FIND does not show study {study}"));
            }
        }
    }
}

/// Whether this is a number that the archive gave.
fn is_number(text: &str) -> bool {
    text.starts_with(['P', 'T'])
}

/// The data set of a Part 10 file.
fn data_set(file: &[u8]) -> &[u8] {
    // File Meta Information Group Length, and what it counts (PS3.10 7.1).
    let length: [u8; 4] = file[140..144].try_into().expect("four bytes");
    &file[144 + u32::from_le_bytes(length) as usize..]
}

/// What is wrong with an image that is given, which has to say of whom it is where `says` has it.
fn compare(image: &Image, given: &[u8], says: Option<&Exam>) -> Option<String> {
    let Some(exam) = says else {
        return (digest(given) != image.digest).then(|| "CHANGED".to_owned());
    };
    let sent = Tree::read(&image.data_set).expect("a data set");
    let Some(given) = Tree::read(given) else {
        return Some("CHANGED, unreadable".to_owned());
    };
    if given.text_of(tag::PATIENT_ID) != exam.patient {
        return Some("WRONG PATIENT, by Patient ID".to_owned());
    }
    if given.text_of(tag::ACCESSION) != exam.id {
        return Some("WRONG PATIENT, by Accession Number".to_owned());
    }
    let rest = |tree: &Tree| -> BTreeMap<u32, Node> {
        let elements = tree.elements();
        let rest = elements.filter(|(tag, _)| !COERCED.contains(tag));
        rest.map(|(tag, node)| (tag, node.clone())).collect()
    };
    if rest(&sent) != rest(&given) {
        return Some("CHANGED".to_owned());
    }
    // What the console wrote is there still.
    let originals = given.items_of(tag::ORIGINAL);
    let modified: Vec<&Tree> = originals
        .iter()
        .flat_map(|original| original.items_of(tag::MODIFIED))
        .collect();
    for tag in [tag::PATIENT_ID, tag::ACCESSION] {
        let was = sent.text_of(tag);
        let is_kept = modified.iter().any(|tree| tree.text_of(tag) == was);
        if was != given.text_of(tag) && !was.is_empty() && !is_kept {
            return Some(format!(
                "CHANGED, and the value before of {tag:08X} is gone"
            ));
        }
    }
    None
}
