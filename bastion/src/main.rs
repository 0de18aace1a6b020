//! The bastion's binary.

mod clock;
mod config;
mod declared;
mod secrets;
mod ssh;
mod watch;

fn main() {}
