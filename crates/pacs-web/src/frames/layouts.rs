//! Where the frames of multi-frame objects are that were asked for lately.
//!
//! What has thousands of frames often has megabytes of functional groups before them, or nothing
//! that says where each begins. Who leafs through it asks for one frame after the other: the head
//! is walked through for the first of them, and each further one is a read where it stands.

use crate::content::{self, Content};
use crate::error::Failure;
use crate::pixels::{self, Description, Frame, FrameTable, Pixels, TableLimits};
use crate::service::Web;
use pacs_core::access::Get;
use pacs_core::convert::PixelForm;
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_store::Digest;
use pacs_store::index::StoredInstance;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that one layout takes beside its table.
const LAYOUT_BYTES: usize = 512;

/// Where the frames of an instance are, and what they are.
#[derive(Debug)]
pub(super) struct Layout {
    description: Description,
    pub(super) pixels: Pixels,
    /// Where frames are encapsulated.
    table: Option<FrameTable>,
    /// The form of the frames, where they can be made anew.
    pub(super) form: Option<PixelForm>,
}

impl Layout {
    fn find(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<(Self, Content), Failure> {
        let mut walk = content::walk(web, permit, stored)?;
        let (description, pixels) = pixels::describe(&mut walk)?;
        let content = walk.into_source();
        let table = match &pixels {
            Pixels::Native { .. } => None,
            Pixels::Encapsulated { items } => {
                let limits = super::tables(web.limits());
                let fragments = (*items, &stored.instance.transfer_syntax);
                Some(FrameTable::find(&content, &description, fragments, limits)?)
            }
        };
        let form = super::transcode::form_of(web, &content, stored);
        let layout = Self {
            description,
            pixels,
            table,
            form,
        };
        Ok((layout, content))
    }

    /// The frames of these numbers, from 1 on, in this order.
    pub(super) fn frames(
        &self,
        content: &Content,
        numbers: &[u64],
        limits: TableLimits,
    ) -> Result<Vec<Frame>, Failure> {
        let numbers = numbers.iter().copied();
        Ok(match (&self.pixels, &self.table) {
            (native @ Pixels::Native { value, .. }, _) => {
                let value = (value, native.word());
                numbers
                    .map(|number| pixels::native_frame(&self.description, value, number))
                    .collect::<Result<_, _>>()?
            }
            (Pixels::Encapsulated { .. }, Some(table)) => table.frames(content, numbers, limits)?,
            (Pixels::Encapsulated { .. }, None) => return Err(Failure::Internal),
        })
    }

    fn bytes(&self) -> usize {
        let table = self.table.as_ref().map_or(0, FrameTable::bytes);
        table.saturating_add(LAYOUT_BYTES)
    }
}

/// What a layout is of: bytes, and how they are read.
type Key = (Digest, TransferSyntaxUid);

/// Layouts, by what they are of.
#[derive(Debug)]
pub(crate) struct Layouts {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Those that were used since the others became old.
    young: HashMap<Key, Arc<Layout>>,
    old: HashMap<Key, Arc<Layout>>,
    young_bytes: usize,
}

impl Layouts {
    /// Keeps up to about `bytes_max` of them.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// The layout of `stored`, and its content. Blocks.
    pub(super) fn find(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<(Arc<Layout>, Content), Failure> {
        let layouts = web.layouts();
        let key = (stored.digest, stored.instance.transfer_syntax.clone());
        if let Some(layout) = layouts.get(&key) {
            return Ok((layout, Content::open(web, permit, stored)?));
        }
        let (layout, content) = Layout::find(web, permit, stored)?;
        let layout = Arc::new(layout);
        // One frame is asked for once, as a rule.
        if layout.description.frames > 1 {
            layouts.keep(key, Arc::clone(&layout));
        }
        Ok((layout, content))
    }

    fn get(&self, key: &Key) -> Option<Arc<Layout>> {
        // Nothing is left half done under the lock.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = kept.young.get(key) {
            return Some(Arc::clone(layout));
        }
        let (key, layout) = kept.old.remove_entry(key)?;
        kept.put(key, Arc::clone(&layout), self.bytes_max);
        Some(layout)
    }

    fn keep(&self, key: Key, layout: Arc<Layout>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put(key, layout, self.bytes_max);
    }
}

impl Kept {
    fn put(&mut self, key: Key, layout: Arc<Layout>, bytes_max: usize) {
        let bytes = layout.bytes();
        let half = bytes_max / 2;
        if bytes > half {
            return;
        }
        if self.young_bytes.saturating_add(bytes) > half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes = self.young_bytes.saturating_add(bytes);
        self.young.insert(key, layout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WebLimits;

    fn layout(frames: u32) -> Arc<Layout> {
        let item = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            [b"\xFE\xFF\0\xE0", &length[..], bytes].concat()
        };
        let mut items = item(&[]);
        for _ in 0..frames {
            items.extend(item(b"frame!"));
        }
        let mut description = Description::default();
        description.frames = frames.into();
        let limits = super::super::tables(&WebLimits::default());
        let fragments = (0, &key(0).1);
        let table = FrameTable::find(&items.as_slice(), &description, fragments, limits).unwrap();
        Arc::new(Layout {
            description,
            pixels: Pixels::Encapsulated { items: 0 },
            table: Some(table),
            form: None,
        })
    }

    fn key(number: u8) -> Key {
        let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.4.50").unwrap();
        (Digest([number; 32]), syntax)
    }

    #[test]
    fn what_is_asked_for_again_stays_and_the_rest_goes() {
        let layouts = Layouts::new(64 << 10);
        layouts.keep(key(0), layout(100));
        for number in 1..=255 {
            assert!(layouts.get(&key(0)).is_some());
            layouts.keep(key(number), layout(100));
        }
        let kept = (1..=255).filter(|number| layouts.get(&key(*number)).is_some());
        assert!((10..100).contains(&kept.count()));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let layouts = Layouts::new(64 << 10);
        layouts.keep(key(1), layout(10_000));
        assert!(layouts.get(&key(1)).is_none());
    }
}
