//! What conversions for weaker peers count.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Counters of conversions.
#[derive(Debug, Clone)]
pub struct ConversionCounters {
    conversions: IntCounterVec,
    bytes: IntCounter,
}

/// How a conversion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was no memory for it.
    Busy,
    /// All of it can be given.
    Converted,
    /// All of it can be given as it is to be said: who the patient is, what was ordered.
    Corrected,
    /// The data set is none that can be converted.
    Refused,
    /// What is stored could not be read.
    Unreadable,
}

impl ConversionCounters {
    /// All at zero, in `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = Self {
            conversions: IntCounterVec::new(
                Opts::new(
                    "pacs_conversions_total",
                    "Conversions for peers that take no stored transfer syntax, by outcome",
                ),
                &["outcome"],
            )?,
            bytes: IntCounter::new(
                "pacs_conversion_bytes_total",
                "Bytes of data sets that were converted",
            )?,
        };
        for ended in [
            Ended::Busy,
            Ended::Converted,
            Ended::Corrected,
            Ended::Refused,
            Ended::Unreadable,
        ] {
            counters.conversions.with_label_values(&[ended.name()]);
        }
        registry.register(Box::new(counters.conversions.clone()))?;
        registry.register(Box::new(counters.bytes.clone()))?;
        Ok(counters)
    }

    /// One conversion ended, with so many bytes of a data set.
    pub(super) fn ended(&self, how: Ended, bytes: u64) {
        self.conversions.with_label_values(&[how.name()]).inc();
        self.bytes.inc_by(bytes);
    }
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Converted => "converted",
            Self::Corrected => "corrected",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}
