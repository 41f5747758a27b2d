//! Texts and names in the characters and within the lengths of a device.

use crate::device::{DeviceCharset, DeviceProfile, NameStyle};
use crate::encode::Repertoire;
use crate::fold::{interchanged, transliterate};
use crate::tag::Vr;
use std::fmt;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// A text in its own script, and in Latin letters where somebody wrote that down: the passport of
/// a patient, the English name of a procedure. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Spelled {
    own: Box<str>,
    latin: Option<Box<str>>,
}

impl Spelled {
    /// A text whose Latin form is made by [`transliterate`].
    #[must_use]
    pub fn new(own: &str) -> Self {
        Self {
            own: own.into(),
            latin: None,
        }
    }

    /// A text, and its Latin form as somebody wrote it.
    #[must_use]
    pub fn with_latin(own: &str, latin: &str) -> Self {
        Self {
            own: own.into(),
            latin: (!latin.trim().is_empty()).then(|| latin.into()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.trim().is_empty() && self.latin.is_none()
    }

    /// In all its characters.
    fn own(&self) -> String {
        match &self.latin {
            Some(latin) if self.own.trim().is_empty() => latin.to_string(),
            _ => self.own.nfc().collect(),
        }
    }

    /// In the letters of ISO 8859-5.
    fn cyrillic(&self) -> String {
        let mut out = String::new();
        for c in self.own().chars() {
            cyrillic(c, &mut out);
        }
        out
    }

    /// In ASCII.
    fn latin(&self) -> String {
        let text = match &self.latin {
            Some(latin) => latin.to_string(),
            None if self.own.is_ascii() => return self.own.to_string(),
            None => transliterate(&self.cyrillic()),
        };
        let mut out = String::new();
        for c in text.nfc() {
            ascii(c, &mut out);
        }
        out
    }

    fn in_charset(&self, charset: DeviceCharset) -> String {
        match charset {
            DeviceCharset::Ascii => self.latin(),
            DeviceCharset::Cyrillic => self.cyrillic(),
            DeviceCharset::Utf8 => self.own(),
        }
    }
}

impl fmt::Debug for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl DeviceCharset {
    /// How data sets for the device are written.
    #[must_use]
    pub const fn repertoire(self) -> Repertoire {
        match self {
            Self::Ascii => Repertoire::Ascii,
            Self::Cyrillic => Repertoire::Cyrillic,
            Self::Utf8 => Repertoire::Utf8,
        }
    }
}

/// A text of `vr` for a device: its characters, no control characters, no longer than it takes.
pub(super) fn text(of: &Spelled, vr: Vr, profile: &DeviceProfile) -> String {
    let long = matches!(vr, Vr::LT | Vr::ST | Vr::UT);
    let text: String = of
        .in_charset(profile.charset)
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' if long => c,
            '\\' if !long => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    cut(text.trim(), chars_max(vr, profile))
}

/// Characters of a value (PS3.5 Table 6.2-1), and what the device takes.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other text here is as long as LO"
)]
fn chars_max(vr: Vr, profile: &DeviceProfile) -> usize {
    match vr {
        Vr::SH | Vr::CS | Vr::AE => 16,
        Vr::ST => 1024,
        Vr::LT => 10_240,
        _ => usize::from(profile.text_chars_max).clamp(1, 64),
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    let cut: String = text.chars().take(chars_max).collect();
    cut.trim_end().to_owned()
}

/// A name for a device: one component group, or two where its profile says so.
pub(super) fn name(of: &Spelled, profile: &DeviceProfile) -> String {
    if of.is_empty() {
        return String::new();
    }
    let chars_max = usize::from(profile.name_chars_max).clamp(1, 64);
    let latin = || fitted(&of.latin(), chars_max);
    let own = || fitted(&of.in_charset(profile.charset), chars_max);
    match profile.name_style {
        NameStyle::Latin => latin(),
        NameStyle::LatinAndOwn if profile.charset != DeviceCharset::Ascii => {
            format!("{}={}", latin(), own())
        }
        NameStyle::LatinAndOwn | NameStyle::Own => own(),
    }
}

/// A name in every form in which a device may ask for it: component groups of one PN value.
pub(super) fn names_to_match(of: &Spelled, profile: &DeviceProfile) -> String {
    if of.is_empty() {
        return String::new();
    }
    let given = name(of, profile);
    let all = [components(&of.latin()), components(&of.own())].map(|parts| parts.join("^"));
    let mut forms: Vec<&str> = all.iter().map(String::as_str).collect();
    for form in given.split('=') {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.join("=")
}

/// The components of a component group, clean; empty ones at the end left out.
fn components(group: &str) -> Vec<String> {
    let clean = |component: &str| {
        let kept = component.chars().map(|c| match c {
            '\\' | '=' => ' ',
            c if c.is_control() => ' ',
            c => c,
        });
        kept.collect::<String>().trim().to_owned()
    };
    // PS3.5 6.2: five components.
    let mut components: Vec<String> = group.split('^').take(5).map(clean).collect();
    while components.last().is_some_and(String::is_empty) {
        components.pop();
    }
    components
}

/// A component group of at most `chars_max` characters. It gets shorter at components: prefix and
/// suffix go first, the patronymic becomes an initial and goes, then the given name.
fn fitted(group: &str, chars_max: usize) -> String {
    let mut components = components(group);
    let fits = |components: &[String]| components.join("^").chars().count() <= chars_max;
    if fits(&components) {
        return components.join("^");
    }
    components.truncate(3);
    while components.len() > 1 && !fits(&components) {
        if let Some(last) = components.last_mut() {
            *last = last.chars().take(1).collect();
        }
        if !fits(&components) || components.last().is_some_and(String::is_empty) {
            components.pop();
        }
    }
    cut(&components.join("^"), chars_max)
}

/// Appends `c` in ISO 8859-5: itself, its Russian neighbour, or what is left without its marks.
fn cyrillic(c: char, out: &mut String) {
    if in_iso_8859_5(c) {
        out.push(c);
        return;
    }
    if let Some(text) = punctuation(c) {
        out.push_str(text);
        return;
    }
    let is_capital = c.is_uppercase();
    for lower in c.to_lowercase() {
        let near = neighbour(lower);
        for c in std::iter::once(near)
            .nfkd()
            .filter(|c| !is_combining_mark(*c))
        {
            let c = if is_capital {
                c.to_uppercase().next().unwrap_or(c)
            } else {
                c
            };
            out.push(if in_iso_8859_5(c) { c } else { '?' });
        }
    }
}

/// The Russian letter nearest to one of a neighbouring language.
const fn neighbour(lower: char) -> char {
    match lower {
        'қ' | 'ҡ' => 'к',
        'ғ' => 'г',
        'ұ' | 'ў' => 'у',
        'һ' | 'ҳ' => 'х',
        'ә' => 'а',
        'ҷ' | 'җ' => 'ж',
        other => interchanged(other),
    }
}

const fn in_iso_8859_5(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{a0}'
            | '\u{a7}'
            | '\u{ad}'
            | '\u{401}'..='\u{40c}'
            | '\u{40e}'..='\u{44f}'
            | '\u{451}'..='\u{45c}'
            | '\u{45e}'
            | '\u{45f}'
            | '\u{2116}'
    )
}

fn ascii(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c);
    } else if c == '№' {
        out.push_str("No.");
    } else if let Some(text) = punctuation(c) {
        out.push_str(text);
    } else {
        let plain = std::iter::once(c).nfkd().filter(|c| !is_combining_mark(*c));
        out.extend(plain.map(|c| if c.is_ascii() { c } else { '?' }));
    }
}

/// What stands for a mark that neither ASCII nor ISO 8859-5 has.
const fn punctuation(c: char) -> Option<&'static str> {
    Some(match c {
        '«' | '»' | '“' | '”' | '„' | '‟' => "\"",
        '‘' | '’' | '‚' | 'ʼ' | 'ʻ' | '′' => "'",
        '–' | '—' | '‒' | '―' | '−' | '‑' => "-",
        '…' => "...",
        '\u{a0}' | '\u{2009}' | '\u{202f}' => " ",
        '\u{ad}' => "",
        '×' => "x",
        '°' => " deg",
        _ => return None,
    })
}
