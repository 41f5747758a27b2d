//! Tokens that are made, used, revoked, expired, and files that are no good.

use super::*;

fn token(name: &str, secret: &str, scope: &[Action]) -> Token {
    Token {
        name: name.to_owned(),
        secret_blake3: hash_of(secret),
        scope: scope.iter().copied().collect(),
        sees: None,
        created_unix_s: 0,
        expires_unix_s: now_unix_s() + 1_000,
    }
}

#[test]
fn a_token_is_good_from_its_making_to_its_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::of(folder.path());
    assert_eq!(tokens.find(None, "s1"), None);

    let first = token("one", "s1", &[Action::Find]);
    Tokens::change(folder.path(), Change::Create(first.clone())).unwrap();
    let second = token("two", "s2", &[Action::Store]);
    Tokens::change(folder.path(), Change::Create(second)).unwrap();

    assert_eq!(tokens.find(None, "s1"), Some(first.clone()));
    assert_eq!(tokens.find(Some("one"), "s1"), Some(first));
    assert_eq!(tokens.find(Some("two"), "s1"), None, "another's name");
    assert_eq!(tokens.find(None, "s3"), None);
    assert!(tokens.permits("one", Action::Find));
    assert!(!tokens.permits("one", Action::Store));
    assert!(!tokens.permits("three", Action::Find));

    Tokens::change(folder.path(), Change::Revoke("one".to_owned())).unwrap();
    assert_eq!(tokens.find(None, "s1"), None);
    assert!(!tokens.permits("one", Action::Find));
    assert!(tokens.permits("two", Action::Store));
}

#[test]
fn an_expired_token_permits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let expired = Token {
        expires_unix_s: now_unix_s(),
        ..token("old", "s", &[Action::Find])
    };
    Tokens::change(folder.path(), Change::Create(expired)).unwrap();

    let tokens = Tokens::of(folder.path());

    assert!(tokens.find(None, "s").unwrap().is_expired(now_unix_s()));
    assert!(!tokens.permits("old", Action::Find));
}

#[test]
fn a_file_that_is_damaged_lets_nobody_in_and_is_not_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let new = || Change::Create(token("one", "s", &[Action::Find]));
    Tokens::change(folder.path(), new()).unwrap();
    let path = file::path_in(folder.path());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let tokens = Tokens::of(folder.path());
    assert!(tokens.permits("one", Action::Find));

    for text in [
        "",
        "{",
        r#"{"version":2,"tokens":[]}"#,
        r#"{"version":1,"tokens":[{}]}"#,
    ] {
        std::fs::write(&path, text).unwrap();

        assert!(!tokens.permits("one", Action::Find), "{text}");
        let refused = Tokens::change(folder.path(), new());
        assert!(matches!(refused, Err(TokensError::Damaged)), "{text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn names_are_unique_and_fit_for_basic_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| {
        let change = Change::Create(token(name, name, &[Action::Find]));
        Tokens::change(folder.path(), change)
    };
    create("one").unwrap();

    assert!(matches!(create("one"), Err(TokensError::Exists)));
    let missing = Tokens::change(folder.path(), Change::Revoke("two".to_owned()));
    assert!(matches!(missing, Err(TokensError::Missing)));
    for name in ["", "a b", "a:b", "a\n", "\u{e4}", &"x".repeat(65)] {
        assert!(!is_name(name), "{name:?}");
    }
    assert!(is_name("viewer-1_b.c@example"));
}

#[test]
fn secrets_are_long_and_never_the_same() {
    let secrets = [new_secret().unwrap(), new_secret().unwrap()];

    assert_ne!(secrets[0], secrets[1]);
    assert_eq!(secrets[0].len(), SECRET_PREFIX.len() + 64);
    assert!(!hash_of(&secrets[0]).contains(&secrets[0]));
}

#[test]
fn changes_at_the_same_time_are_all_made() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let directory = folder.path();
            scope.spawn(move || {
                let token = token(&format!("t{number}"), "s", &[Action::Find]);
                Tokens::change(directory, Change::Create(token)).unwrap();
            });
        }
    });

    assert_eq!(Tokens::list(folder.path()).unwrap().len(), 8);
}

#[test]
fn a_link_in_the_place_of_a_file_of_the_tokens_leads_nowhere() {
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir_in(folder.path()).unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "of root").unwrap();
    // As root, the files are given to whoever the directory belongs to.
    chown(data.path(), Some(5), Some(6)).ok();
    let before = victim.metadata().unwrap();
    let lock = data.path().join("access-tokens.lock");
    let new = data.path().join("access-tokens.json.new");
    let create = |name| {
        let change = Change::Create(token(name, name, &[Action::Find]));
        Tokens::change(data.path(), change)
    };

    symlink(&victim, &lock).unwrap();
    assert!(create("one").is_err());
    std::fs::remove_file(&lock).unwrap();
    std::fs::hard_link(&victim, &lock).unwrap();
    assert!(create("one").is_err());
    assert!(Tokens::list(data.path()).unwrap().is_empty());
    // What is left of a change that broke off makes room, whatever it is.
    std::fs::remove_file(&lock).unwrap();
    symlink(&victim, &new).unwrap();
    create("one").unwrap();
    std::fs::hard_link(&victim, &new).unwrap();
    create("two").unwrap();

    let tokens = data.path().join("access-tokens.json");
    let aside = folder.path().join("tokens-of-somebody");
    std::fs::rename(&tokens, &aside).unwrap();
    symlink(&aside, &tokens).unwrap();
    assert!(Tokens::list(data.path()).is_err());
    std::fs::remove_file(&tokens).unwrap();
    std::fs::rename(&aside, &tokens).unwrap();

    let after = victim.metadata().unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"of root");
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_eq!(Tokens::list(data.path()).unwrap().len(), 2);
    let (written, owner) = (
        data.path().join("access-tokens.json").metadata().unwrap(),
        data.path().metadata().unwrap(),
    );
    assert_eq!((written.uid(), written.gid()), (owner.uid(), owner.gid()));
}
