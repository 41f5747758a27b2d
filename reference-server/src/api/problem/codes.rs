//! The codes that any family may answer with; what a family alone has stands with it.
//!
//! Every key is one of the glossary, or of `messages.tsv` beside this crate, which has the words
//! that the glossary lacks.

use super::Code;

macro_rules! codes {
    ($($name:ident = $status:literal $key:literal $detail:literal;)*) => {
        $(
            pub(in crate::api) const $name: Code = Code {
                status: $status,
                code: stringify!($name),
                key: $key,
                detail: $detail,
            };
        )*

        /// All of them.
        #[cfg(test)]
        pub(in crate::api) const ALL: &[&Code] = &[$(&$name,)*];
    };
}
pub(in crate::api) use codes;

codes! {
    BAD_BODY = 400 "error.request" "the body is not what is asked for";
    BAD_CURSOR = 422 "error.request" "the cursor is none of this list";
    BUSY = 503 "error.busy" "too much at once: nothing was done";
    CODE_NEEDED = 401 "auth.second_factor" "the code of the second factor is needed";
    CROSS_SITE = 403 "error.request" "the request comes from elsewhere, or without its token";
    EXHAUSTED = 409 "error.exhausted" "all of them are given";
    EXPLANATION = 422 "error.explanation" "an explanation is needed";
    FULL = 503 "error.full" "the disk is full: nothing was done";
    IF_MATCH_NEEDED = 428 "error.if_match" "If-Match must name the state that was read";
    INTERNAL = 500 "error.internal" "the server could not do it";
    JSON_NEEDED = 415 "error.request" "a body is application/json";
    KEY_NEEDED = 400 "error.request" "Idempotency-Key must have 8 to 64 characters";
    KEY_REUSED = 422 "error.request" "this Idempotency-Key was used for another request";
    MALFORMED = 422 "error.request" "a value is not of the form that is asked for";
    METHOD = 405 "error.request" "this path has no such method";
    NOT_FOUND = 404 "error.not_found" "there is no such thing";
    NOT_LINKED = 403 "auth.not_linked" "no account here is linked with this identity";
    NOT_PERMITTED = 403 "error.not_permitted" "not permitted";
    NOT_SIGNED_IN = 401 "auth.session_expired" "nobody is signed in, or not any more";
    ORGANISATION_NEEDED = 422 "error.organisation" "it must be said for which organisation";
    PASSWORD_GUESSABLE = 422 "auth.password_guessable" "the password can be guessed";
    PASSWORD_MUST_CHANGE = 403 "auth.password_must_change" "another password comes first";
    PASSWORD_REFUSED = 422 "auth.password_refused" "the password is not taken";
    PASSWORD_TOO_LONG = 422 "auth.password_too_long" "the password is too long";
    PASSWORD_TOO_SHORT = 422 "auth.password_too_short" "the password is too short";
    REASON_NEEDED = 422 "notice.reason_required" "a reason of up to 1,000 characters is needed";
    REFUSED = 409 "error.refused" "a rule forbids it";
    SET_UP_OVER = 403 "auth.set_up_over" "the set-up token is none, or is over";
    STALE = 412 "error.stale" "it was changed in the meantime: read it again";
    TAKEN = 409 "error.taken" "another one has this already";
    TOO_LARGE = 413 "error.request" "the body is too long, or takes too long";
    TOO_LATE = 409 "error.too_late" "the time for it is over";
    WAIT = 429 "auth.wait" "too much was wrong; wait";
    WRONG_CREDENTIALS = 401 "auth.wrong" "wrong user name, password or code";
}
