//! The check digit of Damm, which notices every wrong digit and every swap of neighbours.

/// A quasigroup of order 10 that is weakly totally anti-symmetric (H. M. Damm, 2004): row is the
/// digit so far, column the next digit.
const TABLE: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// The check digit of `digits`, ASCII digits; of digits that end with their check digit it is 0.
/// `None` where something is no digit.
pub(crate) fn check_digit(digits: &str) -> Option<u8> {
    digits.bytes().try_fold(0, |so_far: u8, byte| {
        let digit = byte.checked_sub(b'0')?;
        TABLE
            .get(usize::from(so_far))?
            .get(usize::from(digit))
            .copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_digit_has_no_check_digit() {
        for text in ["12a4", "12 4", "/", ":", "٣"] {
            assert_eq!(check_digit(text), None, "{text}");
        }
        assert_eq!(check_digit("572"), Some(4));
        assert_eq!(check_digit("5724"), Some(0));
    }

    proptest! {
        #[test]
        fn one_wrong_digit_and_two_swapped_ones_are_noticed(
            digits in "[0-9]{11}", at in 0_usize..12, with in b'0'..=b'9', first in 0_usize..11,
        ) {
            let whole = format!("{digits}{}", check_digit(&digits).unwrap());
            prop_assert_eq!(check_digit(&whole), Some(0));

            let mut wrong = whole.clone().into_bytes();
            let is_changed = std::mem::replace(&mut wrong[at], with) != with;
            let wrong = String::from_utf8(wrong).unwrap();
            prop_assert_eq!(check_digit(&wrong) != Some(0), is_changed);

            let mut swapped = whole.clone().into_bytes();
            swapped.swap(first, first.saturating_add(1));
            let swapped = String::from_utf8(swapped).unwrap();
            prop_assert!(swapped == whole || check_digit(&swapped) != Some(0));
        }
    }
}
