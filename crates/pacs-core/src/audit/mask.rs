//! PINs in what was searched for, made unreadable.

/// Digits of a PIN, and how many of its last ones stay.
const DIGITS: usize = 14;
const SHOWN_AT_END: usize = 4;

/// `text` with every PIN in it as lists show it: its first digit and its last four. A PIN is 14
/// digits, perhaps with spaces and hyphens between them, as it is typed. Numbers that are longer
/// are masked whole, and so are others that make 14 digits together.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() || (!run.is_empty() && is_between(letter)) {
            run.push(letter);
        } else {
            put(&mut out, &run);
            run.clear();
            out.push(letter);
        }
    }
    put(&mut out, &run);
    out
}

const fn is_between(letter: char) -> bool {
    matches!(letter, ' ' | '-' | '\u{a0}')
}

/// Numbers, and what separates them.
fn put(out: &mut String, run: &str) {
    let numbers: Vec<&str> = run.split(is_between).collect();
    let mut is_masked = vec![false; numbers.len()];
    for (first, _) in numbers.iter().enumerate() {
        let mut digits_count = 0_usize;
        for (beyond, number) in numbers.iter().enumerate().skip(first) {
            digits_count = digits_count.saturating_add(number.len());
            if digits_count >= DIGITS {
                let is_alone = beyond == first;
                if digits_count == DIGITS || is_alone {
                    let masked = is_masked.get_mut(first..=beyond).unwrap_or_default();
                    masked.fill(true);
                }
                break;
            }
        }
    }
    let masked_count = run_length(&numbers, &is_masked);
    let is_one = masked_count == DIGITS;
    let mut letters = run.chars();
    let mut at = 0_usize;
    for (number, is_masked) in numbers.iter().zip(is_masked) {
        for digit in letters.by_ref().take(number.len()) {
            let is_shown = is_one && (at == 0 || at >= DIGITS.saturating_sub(SHOWN_AT_END));
            out.push(if is_masked && !is_shown { '•' } else { digit });
            at = at.saturating_add(usize::from(is_masked));
        }
        out.extend(letters.next());
    }
}

fn run_length(numbers: &[&str], is_masked: &[bool]) -> usize {
    let masked = numbers.iter().zip(is_masked).filter(|(_, is)| **is);
    masked.map(|(number, _)| number.len()).sum()
}
