//! The index backends against the shared suite.

use pacs_store::index::Index;
use pacs_store::index::memory::MemoryIndex;
use pacs_store_conformance::index_conformance;
use std::sync::Arc;

fn memory() -> (Arc<dyn Index>, ()) {
    (Arc::new(MemoryIndex::new()), ())
}

index_conformance!(in_memory, memory);
