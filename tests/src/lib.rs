//! pacs-tests.
