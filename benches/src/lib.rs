//! pacs-benches.
