//! pacs-examples.
