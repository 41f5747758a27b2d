//! Parts of lists. A cursor says behind which entry the next part begins, so that what comes in or
//! goes meanwhile neither hides an entry nor shows one twice.

use super::asked::Asked;
use super::cursor::Cursors;
use super::guard::Signed;
use super::problem::codes;
use super::routes::Parameter;
use super::{Api, Problem};
use crate::limits::{API_PAGE_COUNT, API_PAGE_COUNT_MAX};
use serde::Serialize;

/// The parameter by which a part is asked for.
pub(super) const CURSOR: Parameter = Parameter {
    name: "cursor",
    summary: "where the next part begins, as the part before says",
    schema: r#"{"type": "string", "pattern": "^[0-9a-f]+$"}"#,
};

/// The parameter that says how many entries a part has at most.
pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    summary: "how many entries a part has at most",
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 200, "default": 50}"#,
};

/// Which part of a list is asked for.
pub(super) struct Page {
    /// How many entries it has at most.
    pub(super) limit: usize,
    /// Behind what it begins; `None`: at the first.
    pub(super) after: Option<String>,
    list: String,
    user: String,
    cursors: Cursors,
}

impl Page {
    /// Takes cursor and limit. `list` names the list with all that it is asked for by: the cursor
    /// of another one, or of somebody else, is refused.
    pub(super) fn take(
        asked: &mut Asked,
        (api, signed): (&Api, &Signed),
        list: &str,
    ) -> Result<Self, Problem> {
        let user = signed.who.user.value.name.as_str();
        Self::take_of(asked, (&api.cursors, user), list)
    }

    fn take_of(
        asked: &mut Asked,
        (cursors, user): (&Cursors, &str),
        list: &str,
    ) -> Result<Self, Problem> {
        let limit = asked.take::<usize>("limit")?.unwrap_or(API_PAGE_COUNT);
        if !(1..=API_PAGE_COUNT_MAX).contains(&limit) {
            return Err(Problem::Malformed);
        }
        let cursor = asked.take::<String>("cursor")?;
        let after = cursor.map(|cursor| {
            let place = cursors.open_sealed(user, list, &cursor);
            place.ok_or(&codes::BAD_CURSOR)
        });
        Ok(Self {
            limit,
            after: after.transpose()?,
            list: list.to_owned(),
            user: user.to_owned(),
            cursors: cursors.clone(),
        })
    }

    /// The part of a list that only grows at its end, and where the next one begins.
    pub(super) fn part<T>(&self, all: Vec<T>) -> Result<(Vec<T>, Option<String>), Problem> {
        let first = match &self.after {
            None => 0,
            Some(position) => position.parse::<usize>().map_err(|_| &codes::BAD_CURSOR)?,
        };
        let next = first.saturating_add(self.limit);
        let next = (next < all.len()).then(|| next.to_string());
        let part = all.into_iter().skip(first).take(self.limit);
        Ok((part.collect(), next))
    }

    /// The part, which the next one begins behind `next`.
    pub(super) fn of<T>(&self, items: Vec<T>, next: Option<&str>) -> List<T> {
        let seal = |place| self.cursors.seal(&self.user, &self.list, place);
        let next = next.map(seal);
        List { items, next }
    }
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// The cursor of the next part; `None` after the last.
    pub(super) next: Option<String>,
}

impl<T> List<T> {
    /// A list that has one part.
    pub(super) const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_store::registry::secrets::Secret;

    /// The page that a query of somebody asks of a list.
    fn page(query: &str, user: &str, list: &str) -> Result<Page, Problem> {
        let cursors = Cursors::from(&Secret::from([7; 32]));
        let mut asked = Asked::parse(query).ok_or(Problem::Malformed)?;
        let page = Page::take_of(&mut asked, (&cursors, user), list)?;
        asked.done()?;
        Ok(page)
    }

    #[test]
    fn a_cursor_leads_on_in_its_own_list_alone() {
        let first = page("", "a", "examinations 006").unwrap();
        assert_eq!((first.limit, &first.after), (API_PAGE_COUNT, &None));
        let next = first.of(vec![1], Some("a\u{1f}Ж")).next.unwrap();
        let query = format!("limit=7&cursor={next}");
        let second = page(&query, "a", "examinations 006").unwrap();
        assert_eq!(
            (second.limit, second.after.as_deref()),
            (7, Some("a\u{1f}Ж"))
        );
        assert!(page(&query, "a", "examinations 001").is_err());
        assert!(page(&query, "b", "examinations 006").is_err());
        assert!(first.of(Vec::<u8>::new(), None).next.is_none());
    }

    #[test]
    fn what_is_no_cursor_and_no_limit_is_refused() {
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=",
            "cursor=zz",
            "cursor=0",
            "cursor=61",
        ] {
            assert!(page(query, "a", "l").is_err(), "{query}");
        }
    }
}
