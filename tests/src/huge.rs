//! Instances too long to be held in memory: made while they are sent, compared while they come.

use std::io::Write as _;

use crate::samples::{Random, Slice};
use crate::wire::command::{element, field};
use crate::wire::pdu::{self, kind};
use crate::wire::{Association, Command, Keys, WireError, association, uid};

/// The pixels of any huge instance repeat with this period, but for the number of the period.
const PERIOD: usize = 1 << 20;

/// An instance of any length.
#[derive(Clone, Debug)]
pub struct Huge {
    slice: Slice,
    syntax: &'static str,
    fragments: u64,
    fragment_bytes: u64,
}

impl Huge {
    /// The `number`th instance of the `study`th study with `pixel_bytes` of native pixel data.
    #[must_use]
    pub fn native(study: u32, number: u32, pixel_bytes: u64) -> Self {
        Self {
            slice: Slice::new(study, number),
            syntax: uid::EXPLICIT_LITTLE_ENDIAN,
            fragments: 1,
            fragment_bytes: pixel_bytes,
        }
    }

    /// The same with encapsulated pixel data in many fragments, which may be longer than 4 GiB
    /// together (PS3.5 A.4).
    #[must_use]
    pub fn encapsulated(study: u32, number: u32, fragments: u64, fragment_bytes: u64) -> Self {
        Self {
            slice: Slice::new(study, number),
            syntax: uid::JPEG_BASELINE,
            fragments,
            fragment_bytes,
        }
    }

    /// The study it belongs to.
    #[must_use]
    pub fn study(&self) -> &str {
        &self.slice.study
    }

    /// Its SOP Instance UID.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.slice.instance
    }

    /// Its transfer syntax.
    #[must_use]
    pub fn syntax(&self) -> &'static str {
        self.syntax
    }

    /// Reads its data set from the beginning.
    #[must_use]
    pub fn data_set(&self) -> DataSet {
        let mut head = self.slice.head();
        let is_native = self.syntax == uid::EXPLICIT_LITTLE_ENDIAN;
        let mut parts = Vec::new();
        if is_native {
            head.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
            head.extend_from_slice(&length(self.fragment_bytes));
            parts.push(Part::Bytes(head));
            parts.push(Part::Pixels(self.fragment_bytes));
        } else {
            head.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0]);
            head.extend_from_slice(&[0xFF; 4]);
            // An empty offset table.
            head.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
            parts.push(Part::Bytes(head));
            for _ in 0..self.fragments {
                let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
                item.extend_from_slice(&length(self.fragment_bytes));
                parts.push(Part::Bytes(item));
                parts.push(Part::Pixels(self.fragment_bytes));
            }
            parts.push(Part::Bytes(vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]));
        }
        parts.reverse();
        DataSet {
            parts,
            period: period(self.slice.seed),
            pixel: 0,
        }
    }

    /// Sends it by C-STORE; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn store(&self, association: &mut Association) -> Result<u16, WireError> {
        let class = uid::CT_IMAGE_STORAGE;
        let context = association
            .context(class, self.syntax)
            .ok_or_else(|| WireError::NoContext(self.syntax.to_owned()))?;
        let request = Command::request(field::STORE, class, 1, true).text(
            element::AFFECTED_INSTANCE,
            self.instance(),
            '\0',
        );
        association.send(context, &request, None)?;
        let size = association.peer_pdu_bytes_max().min(1 << 20) - 6;
        let mut data_set = self.data_set();
        let (mut now, mut next) = (Vec::new(), Vec::new());
        data_set.read(size, &mut now);
        loop {
            data_set.read(size, &mut next);
            let control = if next.is_empty() { 2 } else { 0 };
            association
                .stream()
                .write_all(&head_of_data(context, control, now.len()))?;
            association.stream().write_all(&now)?;
            if next.is_empty() {
                break;
            }
            std::mem::swap(&mut now, &mut next);
        }
        Ok(association.receive()?.command.get(element::STATUS))
    }
}

fn length(bytes: u64) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a value length has 32 bits")
        .to_le_bytes()
}

fn head_of_data(context: u8, control: u8, bytes: usize) -> [u8; 12] {
    let value = u32::try_from(bytes + 2).expect("a fragment is short");
    let [a, b, c, d] = (value + 4).to_be_bytes();
    let [e, f, g, h] = value.to_be_bytes();
    [kind::P_DATA, 0, a, b, c, d, e, f, g, h, context, control]
}

fn period(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(|| random.number().to_le_bytes())
        .take(PERIOD / 8)
        .flatten()
        .collect()
}

/// What a data set is made of.
#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Pixels(u64),
}

/// A data set while it is made.
#[derive(Debug)]
pub struct DataSet {
    /// What is left, the next part last.
    parts: Vec<Part>,
    period: Vec<u8>,
    /// Pixel bytes made so far.
    pixel: u64,
}

impl DataSet {
    /// Replaces `buffer` by the next `size` bytes; fewer at the end, none after it.
    pub fn read(&mut self, size: usize, buffer: &mut Vec<u8>) {
        buffer.clear();
        while buffer.len() < size {
            let left = size - buffer.len();
            match self.parts.pop() {
                None => return,
                Some(Part::Bytes(mut bytes)) => {
                    let rest = bytes.split_off(left.min(bytes.len()));
                    buffer.extend_from_slice(&bytes);
                    if !rest.is_empty() {
                        self.parts.push(Part::Bytes(rest));
                    }
                }
                Some(Part::Pixels(bytes)) => {
                    let taken = self.pixels(bytes.min(left as u64), buffer);
                    if taken < bytes {
                        self.parts.push(Part::Pixels(bytes - taken));
                    }
                }
            }
        }
    }

    /// Appends at most `most` bytes of pixels, up to the end of a period; how many.
    fn pixels(&mut self, most: u64, buffer: &mut Vec<u8>) -> u64 {
        let at = usize::try_from(self.pixel % PERIOD as u64).expect("below a period");
        if at == 0 {
            let number = self.pixel / PERIOD as u64;
            self.period[..8].copy_from_slice(&number.to_le_bytes());
        }
        let most = usize::try_from(most).expect("a buffer");
        let end = PERIOD.min(at + most);
        buffer.extend_from_slice(&self.period[at..end]);
        self.pixel += (end - at) as u64;
        (end - at) as u64
    }
}

/// Retrieves the study of `expected` by C-GET and compares it as it comes; the final status.
///
/// # Errors
/// When no context fits or the association ends.
///
/// # Panics
/// When what comes is anything but `expected`, byte for byte.
pub fn get(association: &mut Association, expected: &Huge) -> Result<u16, WireError> {
    let keys = Keys::at("STUDY").with(crate::wire::identifier::tag::STUDY, expected.study());
    let model = uid::STUDY_ROOT_GET;
    let context = association
        .context(model, uid::IMPLICIT_LITTLE_ENDIAN)
        .ok_or_else(|| WireError::NoContext(model.to_owned()))?;
    let request = Command::request(field::GET, model, 7, true);
    association.send(context, &request, Some(&keys.encode()))?;
    let mut wanted = Vec::new();
    let mut data_set = expected.data_set();
    let mut store: Option<Command> = None;
    let mut whole = 0;
    loop {
        let pdu = pdu::read(association.stream())?;
        if pdu.kind != kind::P_DATA {
            return Err(association::refusal(&pdu));
        }
        let mut rest = pdu.body.as_slice();
        while let Some(head) = rest.get(..6) {
            let value = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let (context, control) = (head[4], head[5]);
            let fragment = &rest[6..4 + value];
            rest = &rest[4 + value..];
            if control & 1 == 1 {
                // A command of ours fits one fragment.
                let command = Command::decode(fragment).expect("a command set");
                if command.get(element::COMMAND_FIELD) == field::STORE {
                    assert_eq!(
                        command.get_text(element::AFFECTED_INSTANCE),
                        expected.instance()
                    );
                    store = Some(command);
                } else if command.get(element::STATUS) != 0xFF00 {
                    assert_eq!(whole, 1, "instances that came");
                    return Ok(command.get(element::STATUS));
                }
                continue;
            }
            data_set.read(fragment.len(), &mut wanted);
            assert!(wanted == fragment, "another byte came back");
            if control & 2 == 2 {
                data_set.read(1, &mut wanted);
                assert!(wanted.is_empty(), "the end is missing");
                whole += 1;
                let request = store.take().expect("a request before its data");
                association.send(context, &Command::response(&request, 0), None)?;
            }
        }
    }
}

impl Slice {
    /// Its data set up to the pixel data, without it.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut small = self.clone();
        small.side = 0;
        let mut head = small.data_set();
        // The empty element at the end: tag, representation, reserved, length.
        head.truncate(head.len() - 12);
        head
    }
}
