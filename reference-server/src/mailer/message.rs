//! What e-mail says, in three languages, and of patients nothing.

use mail_send::mail_builder::MessageBuilder;
use mail_send::mail_builder::headers::raw::Raw;
use pacs_core::account::break_glass::review_due;
use pacs_store::registry::audit::AuditRecord;
use std::io;

/// The words, by key.
const WORDS: &str = include_str!("../../mail.tsv");

/// The language columns, in their order.
const LANGUAGES_COUNT: usize = 3;

/// The words of a key, in each language.
fn words(key: &str) -> [&'static str; LANGUAGES_COUNT] {
    let line = WORDS.lines().find_map(|line| {
        let (of, words) = line.split_once('\t')?;
        (of == key).then_some(words)
    });
    let mut all = [""; LANGUAGES_COUNT];
    for (place, words) in all.iter_mut().zip(line.unwrap_or_default().split('\t')) {
        *place = words;
    }
    all
}

/// A message as it is submitted.
pub(super) struct Message<'m> {
    /// Whose it is.
    pub(super) from: &'m str,
    /// To whom.
    pub(super) to: &'m str,
    /// It (RFC 5322).
    pub(super) bytes: Vec<u8>,
}

/// What tells that a patient was opened in an emergency: of whom it is, when, why by the list, and
/// by when somebody has to look at it.
pub(super) struct Told {
    subject: String,
    body: String,
    id: String,
}

impl Told {
    /// What `record` tells.
    pub(super) fn of(record: &AuditRecord) -> Self {
        let event = &record.event;
        let reasons = words(event.reason.as_deref().unwrap_or("other"));
        let body = words("break_glass.body").into_iter().zip(reasons);
        let body = body.map(|(text, reason)| {
            text.replace("{at}", &event.at.format("%d.%m.%Y %H:%M (%:z)").to_string())
                .replace("{reason}", reason)
                .replace(
                    "{due}",
                    &review_due(event.at.date_naive())
                        .format("%d.%m.%Y")
                        .to_string(),
                )
                .replace("{id}", event.correlation.as_deref().unwrap_or_default())
                // Last: nothing that a name has is taken for a place.
                .replace("{user}", &event.actor.name)
        });
        let body: Vec<String> = body.collect();
        Self {
            subject: words("break_glass.subject").join(" / "),
            body: body.join("\r\n\r\n") + "\r\n",
            id: format!("{}.{}", record.number, record.digest),
        }
    }

    /// The message to one address. That of one record has the same Message-ID whenever it is sent.
    ///
    /// # Errors
    /// None, as nothing is read to make it.
    pub(super) fn to<'m>(&self, from: &'m str, address: &'m str) -> io::Result<Message<'m>> {
        let host = from.rsplit('@').next().unwrap_or_default();
        let message = MessageBuilder::new()
            .from(("PACS", from))
            .to(address)
            .message_id(format!("{}@{host}", self.id))
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .subject(self.subject.as_str())
            .text_body(self.body.as_str());
        Ok(Message {
            from,
            to: address,
            bytes: message.write_to_vec()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::account::break_glass::BreakGlassReason;

    #[test]
    fn every_key_has_words_in_every_language() {
        let keys = [
            "break_glass.subject",
            "break_glass.body",
            BreakGlassReason::Emergency.name(),
            BreakGlassReason::MassCasualty.name(),
            BreakGlassReason::NobodyReachable.name(),
            BreakGlassReason::Other.name(),
            BreakGlassReason::Unconscious.name(),
        ];
        for key in keys {
            assert!(words(key).iter().all(|words| !words.is_empty()), "{key}");
        }
        assert_eq!(WORDS.lines().count(), keys.len() + 1);
        for text in words("break_glass.body") {
            for place in ["{user}", "{at}", "{reason}", "{due}", "{id}"] {
                assert_eq!(text.matches(place).count(), 1, "{text}");
            }
        }
    }
}
