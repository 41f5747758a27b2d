//! A step as a person reads it in a backup: `{"00400252": "COMPLETED", "00400340": [{...}]}`.
//!
//! A text stands for itself where its VR is the one of PS3.6; else, and where its bytes did not
//! follow their character set, it is an object that says so.

use pacs_core::mpps::ProcedureStep;
use pacs_core::tag::{Tag, Vr, vr_of};
use pacs_core::{Attributes, Value};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

type Readable = BTreeMap<String, Content>;

/// A value, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Items(Vec<Readable>),
    Odd {
        vr: String,
        text: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        suspect: bool,
    },
}

pub(super) fn serialize<S: Serializer>(
    step: &ProcedureStep,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    written(step.attributes()).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ProcedureStep, D::Error> {
    let readable = Readable::deserialize(deserializer)?;
    // What was wrong is not told: it would quote the document.
    let unread = || D::Error::custom("no performed procedure step");
    let attributes = read(readable).ok_or_else(unread)?;
    ProcedureStep::kept(attributes).ok_or_else(unread)
}

fn written(attributes: &Attributes) -> Readable {
    let one = |attribute: &pacs_core::attributes::Attribute| {
        let (tag, vr) = (attribute.tag, attribute.vr);
        let content = match &attribute.value {
            Value::Items(items) => Content::Items(items.iter().map(written).collect()),
            Value::Text(text) if vr == vr_of(tag) => Content::Text(text.to_string()),
            Value::Suspect(text) | Value::Text(text) => Content::Odd {
                vr: vr.to_string().to_owned(),
                text: text.to_string(),
                suspect: matches!(attribute.value, Value::Suspect(_)),
            },
        };
        (format!("{:04X}{:04X}", tag.group(), tag.element()), content)
    };
    attributes.iter().map(one).collect()
}

fn read(readable: Readable) -> Option<Attributes> {
    let mut attributes = Attributes::with_capacity(readable.len());
    for (key, content) in readable {
        let half = |range| {
            let digits: &str = key.get(range)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let tag = Tag(half(0..4)?, half(4..8)?);
        match content {
            Content::Text(text) => attributes.insert_text(tag, vr_of(tag), text),
            Content::Items(items) => {
                let items: Option<Vec<_>> = items.into_iter().map(read).collect();
                attributes.insert(tag, Vr::SQ, Value::Items(items?));
            }
            Content::Odd { vr, text, suspect } => {
                let vr: Vr = vr.parse().ok()?;
                let value = if suspect {
                    Value::Suspect(text.into())
                } else {
                    Value::Text(text.into())
                };
                attributes.insert(tag, vr, value);
            }
        }
    }
    Some(attributes)
}
