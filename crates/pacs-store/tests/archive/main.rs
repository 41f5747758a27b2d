//! The archive over packs, from outside: what was acknowledged is there, whatever happened.

mod deposit;
mod rig;
