//! Wild cards: `*` is any text, `?` one character (PS3.4 C.2.2.2.4). Without backtracking.

use memchr::memmem::Finder;

/// A compiled pattern.
///
/// The pattern is cut at its `*` into segments, and each is taken where it is found first: if the
/// pattern matches at all, it matches so. The time is linear in the text where segments hold no
/// `?`, and never more than the product of both lengths.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: String,
    /// What must stand at the beginning; all of the text where there is no `*`.
    head: Segment,
    /// Between two `*`, in order.
    middle: Vec<Segment>,
    /// What must stand at the end; `None` where there is no `*`.
    tail: Option<Segment>,
    /// For names: the pattern without empty components at its end, `ivanov` for `ivanov^*`.
    shorter: Option<Box<Self>>,
}

#[derive(Clone)]
enum Segment {
    Literal(Box<Finder<'static>>),
    /// `None` is any character.
    Mixed(Vec<Option<char>>),
}

impl Pattern {
    /// Compiles a folded pattern.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut segments = pattern.split('*');
        let head = Segment::new(segments.next().unwrap_or_default());
        let mut middle: Vec<Segment> = segments.map(Segment::new).collect();
        let tail = middle.pop();
        middle.retain(|segment| !segment.is_empty());
        Self {
            text: pattern.to_owned(),
            head,
            middle,
            tail,
            shorter: None,
        }
    }

    /// Compiles a folded pattern for a name, whose empty components at the end need not be written:
    /// what `ivanov^*` asks for holds for `ivanov`, which is `ivanov^`.
    pub(crate) fn of_name(pattern: &str) -> Self {
        let mut compiled = Self::new(pattern);
        let without_components = pattern.trim_end_matches(['*', '^']);
        let ending = pattern.get(without_components.len()..).unwrap_or_default();
        if let Some(at) = ending.rfind('^') {
            // Everything before the last `^` that only `*` follows, without the `^` that end it
            // then.
            let shorter = without_components.len().saturating_add(at);
            let shorter = pattern
                .get(..shorter)
                .unwrap_or_default()
                .trim_end_matches('^');
            compiled.shorter = Some(Box::new(Self::of_name(shorter)));
        }
        compiled
    }

    /// Whether `text`, folded as the pattern was, matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut pattern = self;
        loop {
            if pattern.matches_whole(text) {
                return true;
            }
            match &pattern.shorter {
                Some(shorter) => pattern = shorter,
                None => return false,
            }
        }
    }

    /// The text before the first wild card, which all that matches begins with.
    pub(crate) fn prefix(&self) -> &str {
        super::literal_prefix(&self.shortest().text)
    }

    fn shortest(&self) -> &Self {
        let mut pattern = self;
        while let Some(shorter) = &pattern.shorter {
            pattern = shorter;
        }
        pattern
    }

    fn matches_whole(&self, text: &str) -> bool {
        let Some(mut rest) = self.head.strip_from(text) else {
            return false;
        };
        let Some(tail) = &self.tail else {
            return rest.is_empty();
        };
        for segment in &self.middle {
            match segment.strip_first(rest) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        tail.ends(rest)
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        if text.contains('?') {
            Self::Mixed(text.chars().map(|c| (c != '?').then_some(c)).collect())
        } else {
            Self::Literal(Box::new(Finder::new(text).into_owned()))
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Literal(finder) if finder.needle().is_empty())
    }

    /// What follows the segment at the beginning of `text`.
    fn strip_from<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(finder) => {
                let needle = finder.needle();
                text.as_bytes()
                    .starts_with(needle)
                    .then(|| text.get(needle.len()..))?
            }
            Self::Mixed(chars) => {
                let mut rest = text.chars();
                for wanted in chars {
                    let found = rest.next()?;
                    if wanted.is_some_and(|wanted| wanted != found) {
                        return None;
                    }
                }
                Some(rest.as_str())
            }
        }
    }

    /// What follows the segment where it stands first in `text`.
    fn strip_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(finder) => {
                let at = finder.find(text.as_bytes())?;
                text.get(at.checked_add(finder.needle().len())?..)
            }
            Self::Mixed(_) => {
                let mut rest = text.chars();
                loop {
                    if let Some(after) = self.strip_from(rest.as_str()) {
                        return Some(after);
                    }
                    rest.next()?;
                }
            }
        }
    }

    /// Whether `text` ends with the segment.
    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Literal(finder) => text.as_bytes().ends_with(finder.needle()),
            Self::Mixed(chars) => {
                let mut rest = text.chars();
                chars.iter().rev().all(|wanted| {
                    rest.next_back()
                        .is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
                })
            }
        }
    }
}
