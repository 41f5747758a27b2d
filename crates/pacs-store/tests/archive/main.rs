//! The archive over packs, from outside: what was acknowledged is there, whatever happened.

mod deposit;
mod faults;
mod faulty;
mod maintain;
mod packs;
mod recover;
mod rig;
