//! Passcodes that are nobody's, at the door: counted, recorded and told.

use super::{Access, Knock, Refusal};
use std::time::Instant;

impl Access {
    /// Takes note that what a peer shows is nobody's passcode; `user` is the account that it names,
    /// where there is one. A right passcode always gets in: 140 random bits are not guessed, and a
    /// workstation that goes on showing an old one keeps nobody out who is behind the same router.
    pub fn refuse_passcode(&self, knock: Knock<'_>, user: Option<&str>) -> Refusal {
        let wrong = || Err::<(), ()>(());
        let counted = self
            .passcode_guesses
            .evaluate(knock.address, Instant::now(), wrong);
        if let Some(metrics) = &self.metrics {
            metrics.refused(Refusal::Passcode.name());
        }
        if let Some(alerts) = &self.alerts {
            alerts.passcode_refused(knock.address, knock.calling.as_str(), user);
        }
        let Err(turned_away) = counted else {
            tracing::warn!(
                address = %knock.address,
                calling = %knock.calling,
                user,
                reason = %Refusal::Passcode,
                "association refused"
            );
            return Refusal::Passcode;
        };
        if let Some(turned_away) = turned_away.alarm {
            if let Some(metrics) = &self.metrics {
                metrics.guessing_alarm();
            }
            tracing::error!(
                alarm = "passcode_guessing",
                address = %knock.address,
                turned_away,
                "an address tries out passcodes"
            );
        }
        Refusal::Guessing
    }
}
