//! How this implementation names itself (PS3.7 D.3.3.2).

/// Implementation Class UID: one for all versions of this software, from a UUID (PS3.5 B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.115847212956754561100155950033870225079";

/// Implementation Version Name.
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!("PACS_RS_", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_obey_the_standard() {
        assert!(pacs_core::Uid::parse(IMPLEMENTATION_CLASS_UID).is_ok());
        assert!((1..=16).contains(&IMPLEMENTATION_VERSION_NAME.len()));
    }
}
