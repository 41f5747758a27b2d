//! What a device can take in: its profile for worklists.
//!
//! Consoles differ in the characters they show, in how long a name may be and in whether they tell
//! when they begin. A [`DeviceProfile`] says so for one of them; the defaults suit the weakest.

use crate::examination::Status;
use chrono::{Days, NaiveDate, NaiveDateTime, TimeDelta};

/// The characters that a device shows (PS3.3 C.12.1.1.2).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum DeviceCharset {
    /// ISO-IR 6: names and texts in Latin letters.
    #[default]
    #[serde(rename = "ASCII")]
    Ascii,
    /// `ISO_IR 144`: Russian, with Kyrgyz letters as their Russian neighbours.
    #[serde(rename = "CYR144")]
    Cyrillic,
    /// `ISO_IR 192`: everything.
    #[serde(rename = "UTF8")]
    Utf8,
}

/// Which form of a patient's name a device is given.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum NameStyle {
    /// In Latin letters, whatever the device could show.
    Latin,
    /// In Latin letters, and in Cyrillic as the second component group, for viewers that show it.
    LatinAndOwn,
    /// In Cyrillic where the device can show it, else in Latin letters.
    #[default]
    Own,
}

/// From when to when a device sees examinations, where its query names no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct WorklistWindow {
    /// Days before today.
    pub days_back: u16,
    /// Days after today.
    pub days_ahead: u16,
}

/// Until when an examination stays in the worklist of a device.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KeepUntil {
    /// Until all its images are there, or the device says that it has ended (MPPS).
    Completed,
    /// For so many hours after the device began, or sent a first image.
    Hours(u16),
    /// Until the device says that it begins (MPPS N-CREATE).
    #[default]
    Started,
}

/// What a device can take in, and how long it is to see an examination. Absent parts have their
/// defaults when it is read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct DeviceProfile {
    /// The characters it shows.
    pub charset: DeviceCharset,
    /// Which form of names it gets.
    pub name_style: NameStyle,
    /// Characters of one component group of a name that it takes: 64 in the standard (PS3.5 6.2).
    pub name_chars_max: u8,
    /// Characters of a text (LO) that it takes: 64 in the standard.
    pub text_chars_max: u8,
    /// Whether it is told the PIN of a patient.
    pub send_pin: bool,
    /// From when to when it sees examinations.
    pub window: WorklistWindow,
    /// Until when it sees one that has begun.
    pub keep_until: KeepUntil,
}

/// What is known of an examination that stands in a worklist. Times are those at the place of the
/// archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Where the examination stands.
    pub status: Status,
    /// It waited so long that worklists do not show it.
    pub is_expired: bool,
    /// When it is planned.
    pub scheduled_at: NaiveDateTime,
    /// When the device said that it begins (MPPS N-CREATE).
    pub began_at: Option<NaiveDateTime>,
    /// When the device said that it has ended.
    pub ended_at: Option<NaiveDateTime>,
    /// When its first image came.
    pub first_image_at: Option<NaiveDateTime>,
    /// When all its images were there.
    pub received_at: Option<NaiveDateTime>,
}

/// An examination of which the device says nothing leaves worklists so long after it was planned;
/// its order stays open.
const SILENT_FOR: TimeDelta = TimeDelta::hours(48);

/// An examination of which the device says nothing leaves worklists so long after its images are
/// there.
const AFTER_IMAGES: TimeDelta = TimeDelta::hours(1);

impl Default for WorklistWindow {
    fn default() -> Self {
        Self {
            days_back: 1,
            days_ahead: 7,
        }
    }
}

impl WorklistWindow {
    /// Its first and its last day.
    #[must_use]
    pub fn around(self, today: NaiveDate) -> (NaiveDate, NaiveDate) {
        let first = today.checked_sub_days(Days::new(self.days_back.into()));
        let last = today.checked_add_days(Days::new(self.days_ahead.into()));
        (first.unwrap_or(today), last.unwrap_or(today))
    }
}

impl Default for DeviceProfile {
    fn default() -> Self {
        Self {
            charset: DeviceCharset::default(),
            name_style: NameStyle::default(),
            name_chars_max: 64,
            text_chars_max: 64,
            send_pin: false,
            window: WorklistWindow::default(),
            keep_until: KeepUntil::default(),
        }
    }
}

impl KeepUntil {
    /// Whether an examination is still to be seen at `now`.
    ///
    /// Of one whose device never says that it begins, images tell: it goes an hour after all of
    /// them are there, or two days after it was planned.
    #[must_use]
    pub fn lists(self, examination: &Listing, now: NaiveDateTime) -> bool {
        let is_over = |since: Option<NaiveDateTime>, after: TimeDelta| {
            let until = since.and_then(|since| since.checked_add_signed(after));
            until.is_some_and(|until| now >= until)
        };
        let is_silent = examination.began_at.is_none();
        let is_forgotten = is_over(Some(examination.scheduled_at), SILENT_FOR)
            || is_over(examination.received_at, AFTER_IMAGES);
        match examination.status {
            Status::Scheduled => !examination.is_expired && !is_forgotten,
            Status::InProgress => match self {
                Self::Started => is_silent && !is_forgotten,
                Self::Completed => examination.ended_at.is_none() && (!is_silent || !is_forgotten),
                Self::Hours(hours) => {
                    let began = examination.began_at.or(examination.first_image_at);
                    !is_over(began, TimeDelta::hours(hours.into()))
                }
            },
            Status::ImagesReceived => match self {
                Self::Started | Self::Completed => is_silent && !is_forgotten,
                Self::Hours(hours) => {
                    let began = examination.began_at.or(examination.first_image_at);
                    let until = began.or(examination.received_at);
                    until.is_some() && !is_over(until, TimeDelta::hours(hours.into()))
                }
            },
            Status::Cancelled
            | Status::Delivered
            | Status::Discontinued
            | Status::Registered
            | Status::Rejected
            | Status::Reported
            | Status::Sent
            | Status::UnderReview => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> NaiveDateTime {
        let day = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        let midnight = day.and_hms_opt(0, 0, 0).unwrap();
        midnight.checked_add_signed(TimeDelta::hours(hour)).unwrap()
    }

    const fn listing(status: Status, scheduled_at: NaiveDateTime) -> Listing {
        Listing {
            status,
            is_expired: false,
            scheduled_at,
            began_at: None,
            ended_at: None,
            first_image_at: None,
            received_at: None,
        }
    }

    #[test]
    fn what_waits_is_listed_for_two_days_and_what_is_cancelled_never() {
        let waiting = listing(Status::Scheduled, at(9));
        for keep in [
            KeepUntil::Started,
            KeepUntil::Completed,
            KeepUntil::Hours(5),
        ] {
            assert!(keep.lists(&waiting, at(0)));
            assert!(keep.lists(&waiting, at(56)));
            assert!(!keep.lists(&waiting, at(57)));
            let cancelled = listing(Status::Cancelled, at(9));
            assert!(!keep.lists(&cancelled, at(9)));
            let expired = Listing {
                is_expired: true,
                ..waiting
            };
            assert!(!keep.lists(&expired, at(9)));
        }
    }

    #[test]
    fn what_has_begun_goes_when_the_profile_says() {
        let begun = Listing {
            began_at: Some(at(10)),
            first_image_at: Some(at(11)),
            ..listing(Status::InProgress, at(9))
        };
        assert!(!KeepUntil::Started.lists(&begun, at(10)));
        assert!(KeepUntil::Completed.lists(&begun, at(99)));
        let told = Listing {
            ended_at: Some(at(11)),
            ..begun
        };
        assert!(!KeepUntil::Completed.lists(&told, at(11)));
        assert!(KeepUntil::Hours(2).lists(&told, at(11)));
        assert!(KeepUntil::Hours(2).lists(&begun, at(11)));
        assert!(!KeepUntil::Hours(2).lists(&begun, at(12)));
        let ended = Listing {
            status: Status::ImagesReceived,
            received_at: Some(at(11)),
            ..begun
        };
        assert!(!KeepUntil::Completed.lists(&ended, at(11)));
        assert!(KeepUntil::Hours(2).lists(&ended, at(11)));
    }

    #[test]
    fn of_a_device_that_never_says_that_it_begins_the_images_tell() {
        let arriving = Listing {
            first_image_at: Some(at(10)),
            ..listing(Status::InProgress, at(9))
        };
        assert!(KeepUntil::Started.lists(&arriving, at(12)));
        assert!(!KeepUntil::Started.lists(&arriving, at(57)));
        let received = Listing {
            status: Status::ImagesReceived,
            received_at: Some(at(12)),
            ..arriving
        };
        for keep in [KeepUntil::Started, KeepUntil::Completed] {
            assert!(keep.lists(&received, at(12)));
            assert!(!keep.lists(&received, at(13)));
        }
    }

    #[test]
    fn a_profile_is_read_with_defaults_for_what_is_absent() {
        let read: DeviceProfile =
            serde_json::from_str(r#"{"charset":"CYR144","keep_until":{"hours":12}}"#).unwrap();

        let expected = DeviceProfile {
            charset: DeviceCharset::Cyrillic,
            keep_until: KeepUntil::Hours(12),
            ..DeviceProfile::default()
        };
        assert_eq!(read, expected);
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<DeviceProfile>(&again).unwrap(), read);
        let today = at(0).date();
        let (first, last) = read.window.around(today);
        assert_eq!(today.signed_duration_since(first).num_days(), 1);
        assert_eq!(last.signed_duration_since(today).num_days(), 7);
    }
}
