//! Placeholder until the services stand.

fn main() {}
