//! The key of a person name: structure kept, spelling folded.

use super::{each_composed, is_apostrophe, push_folded};

/// The key of one PN value with all its component groups.
pub(super) fn key(value: &str) -> String {
    let mut key = Key {
        text: String::with_capacity(value.len()),
        groups: 0,
        components: 0,
        spaces: 0,
    };
    if value.is_ascii() {
        value.bytes().for_each(|b| key.push(char::from(b)));
    } else {
        each_composed(value, |c| key.push(c));
    }
    key.text
}

/// Delimiters and spaces wait until a character shows that they are not at an end.
struct Key {
    text: String,
    groups: usize,
    components: usize,
    spaces: usize,
}

impl Key {
    fn push(&mut self, c: char) {
        match c {
            // What nearly all names are made of.
            'a'..='z' | 'A'..='Z' | 'а'..='я' | 'А'..='Я' => self.letter(c),
            '=' => {
                self.groups = self.groups.saturating_add(1);
                self.components = 0;
                self.spaces = 0;
            }
            '^' => {
                self.components = self.components.saturating_add(1);
                self.spaces = 0;
            }
            ' ' | '\0' => {
                let begins = self.text.is_empty() || self.groups > 0 || self.components > 0;
                self.spaces = if begins {
                    0
                } else {
                    self.spaces.saturating_add(1)
                };
            }
            c if is_apostrophe(c) => {}
            c => self.letter(c),
        }
    }

    fn letter(&mut self, c: char) {
        self.flush();
        push_folded(&mut self.text, c);
    }

    fn flush(&mut self) {
        if self.groups == 0 && self.components == 0 && self.spaces == 0 {
            return;
        }
        for (mark, count) in [
            ('=', &mut self.groups),
            ('^', &mut self.components),
            (' ', &mut self.spaces),
        ] {
            for _ in 0..std::mem::take(count) {
                self.text.push(mark);
            }
        }
    }
}
