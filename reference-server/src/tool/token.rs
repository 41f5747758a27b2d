//! `pacs token`: the tokens by which clients of DICOMweb are known. The server may be running.

use super::backup::{ask, expect, unexpected};
use super::failure::{Failure, chain};
use super::output::Output;
use super::registering::Target;
use super::{Local, TokenCommand, TokenScope, TokenSees};
use crate::control::audit::{Asked, TokenAct, answer};
use crate::control::{Reply, Request};
use crate::tokens::{
    Change, Token, TokenSight, Tokens, TokensError, hash_of, is_name, new_secret, now_unix_s,
};
use pacs_core::Action;
use serde_json::json;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest life of a token.
const LIFE_DAYS: u64 = 3_650;

pub(super) async fn token(command: &TokenCommand, output: &Output) -> Result<(), Failure> {
    match command {
        TokenCommand::Create {
            name,
            scope,
            expires,
            sight,
            local,
        } => create((name, scope, sight.sight()), *expires, local, output).await,
        TokenCommand::List { local } => list(local, output),
        TokenCommand::Revoke { name, local } => {
            change(local, Change::Revoke(name.clone())).await?;
            let text = format!("{name} is revoked");
            output.summary(&text, &json!({ "name": name, "revoked": true }));
            Ok(())
        }
    }
}

/// Reads how long a token is to live: `90d`, `12h`, `30m`.
pub(super) fn parse_life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a time such as 90d, 12h or 30m, up to {LIFE_DAYS}d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(wrong()),
    };
    let count = text.strip_suffix(unit).unwrap_or_default();
    let life = count
        .parse::<u64>()
        .map_err(|_| wrong())?
        .checked_mul(seconds);
    match life {
        Some(life) if life > 0 && life <= LIFE_DAYS * 86_400 => Ok(Duration::from_secs(life)),
        _ => Err(wrong()),
    }
}

async fn create(
    (name, scope, sees): (&str, &[TokenScope], Option<TokenSight>),
    life: Duration,
    local: &Local,
    output: &Output,
) -> Result<(), Failure> {
    if !is_name(name) {
        let what = "a token's name has 1 to 64 letters, digits and -_.@";
        return Err(Failure::CommandLine(what.to_owned()));
    }
    let secret = new_secret().map_err(|error| Failure::archive(&error))?;
    let now = now_unix_s();
    let token = Token {
        name: name.to_owned(),
        secret_blake3: hash_of(&secret),
        scope: scope.iter().map(|scope| scope.action()).collect(),
        sees,
        created_unix_s: now,
        expires_unix_s: now.saturating_add(life.as_secs()),
    };
    change(local, Change::Create(token.clone())).await?;
    output.note("This is shown once: the secret of the token, as bearer token or as password of");
    output.note(&format!("HTTP Basic with the user {name}:"));
    let value = json!({
        "name": name,
        "secret": secret,
        "scope": names(&token),
        "sees": token.sees,
        "expires_unix_s": token.expires_unix_s,
    });
    output.result(&secret, &value);
    Ok(())
}

fn list(local: &Local, output: &Output) -> Result<(), Failure> {
    let tokens = Tokens::list(&local.data).map_err(|error| failure(local, &error))?;
    let now = now_unix_s();
    output.note("NAME\tSCOPE\tSEES\tEXPIRES");
    for token in &tokens {
        let left = token.expires_unix_s.saturating_sub(now);
        let expires = match (left / 86_400, left / 60) {
            (_, 0) if token.is_expired(now) => "expired".to_owned(),
            (0, minutes) => format!("in {minutes} minutes"),
            (days, _) => format!("in {days} days"),
        };
        let sees = match token.sees {
            Some(TokenSight::Everything) => "everything".to_owned(),
            Some(TokenSight::Organisation(code)) => code.to_string(),
            None => "-".to_owned(),
        };
        let scope = names(token).join(",");
        let text = format!("{}\t{scope}\t{sees}\t{expires}", token.name);
        let value = json!({
            "name": token.name,
            "scope": names(token),
            "sees": token.sees,
            "created_unix_s": token.created_unix_s,
            "expires_unix_s": token.expires_unix_s,
            "expired": token.is_expired(now),
        });
        output.result(&text, &value);
    }
    output.summary("", &json!({ "count": tokens.len() }));
    Ok(())
}

fn names(token: &Token) -> Vec<String> {
    let name = |action: &Action| format!("{action:?}").to_lowercase();
    token.scope.iter().map(name).collect()
}

/// Changes the tokens, and has it recorded before. Where there is no archive yet there is no trail
/// either.
async fn change(local: &Local, change: Change) -> Result<(), Failure> {
    let is_archive = local.data.join("FORMAT").is_file();
    let asked = match &change {
        Change::Create(token) => (TokenAct::Created, token.name.clone()),
        Change::Revoke(name) => (TokenAct::Revoked, name.clone()),
    };
    let target = match is_archive {
        true => Some(Target::open(local).await?),
        false => None,
    };
    let record = || match &target {
        Some(target) => tokio::task::block_in_place(|| {
            let recorded = recorded(target, asked);
            Handle::current().block_on(recorded)
        }),
        None => Ok(()),
    };
    let changed = Tokens::change_recorded(&local.data, change, record);
    if let Some(target) = target {
        target.close().await;
    }
    changed.map_err(|error| failure(local, &error))
}

/// Records it, or has the server do so that has the archive open; why not.
async fn recorded(target: &Target<'_>, (act, name): (TokenAct, String)) -> Result<(), String> {
    let asked = Asked::Token { act, name };
    match target {
        Target::Here(archive) => {
            let told = answer(&archive.registry(), asked).await;
            told.map(drop).map_err(|error| chain(&error))
        }
        Target::Served(data) => {
            let told = async {
                let mut answered = ask(data, Request::Audit(asked)).await?;
                let reply = expect(&mut answered).await?;
                if let Reply::Audit(_) = reply {
                    return Ok(());
                }
                Err(unexpected(&reply))
            };
            told.await.map_err(|failure: Failure| failure.to_string())
        }
    }
}

fn failure(local: &Local, error: &TokensError) -> Failure {
    match error {
        TokensError::Exists | TokensError::Missing | TokensError::TooMany => {
            Failure::CommandLine(error.to_string())
        }
        TokensError::Damaged | TokensError::File(_) => Failure::file(&local.data, error),
        TokensError::Unrecorded(_) => Failure::Archive(error.to_string()),
    }
}

impl TokenSees {
    const fn sight(&self) -> Option<TokenSight> {
        match self.organisation {
            Some(organisation) => Some(TokenSight::Organisation(organisation)),
            None if self.everything => Some(TokenSight::Everything),
            None => None,
        }
    }
}

impl TokenScope {
    /// The right that it gives.
    const fn action(self) -> Action {
        match self {
            Self::Commit => Action::Commit,
            Self::Find => Action::Find,
            Self::Get => Action::Get,
            Self::Hide => Action::Hide,
            Self::Store => Action::Store,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_read_in_days_hours_and_minutes() {
        assert_eq!(parse_life("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_life("12h"), Ok(Duration::from_secs(12 * 3_600)));
        assert_eq!(parse_life("1m"), Ok(Duration::from_secs(60)));
        for text in [
            "",
            "d",
            "0d",
            "1",
            "1w",
            "-1d",
            "1.5d",
            "3651d",
            "99999999999999999999d",
        ] {
            assert!(parse_life(text).is_err(), "{text}");
        }
    }
}
