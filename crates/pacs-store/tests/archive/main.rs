//! The archive over packs, from outside: what was acknowledged is there, whatever happened.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod backup;
mod beside;
mod cursor;
mod deposit;
mod erasing;
mod every_call;
mod faults;
mod faulty;
mod in_place;
mod maintain;
mod packs;
mod recover;
mod rig;
mod safekeeping;
mod scrub;
