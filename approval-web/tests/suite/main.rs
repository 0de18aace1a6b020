//! Both origins as they are served, over a real store and real recordings, with a software
//! authenticator in place of the person's device.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test that is how it fails; clippy knows only functions marked as tests"
)]

mod desk;

mod decision;
mod extension;
mod factors;
mod host;
mod pages;
mod plans;
mod routes;
mod sign_in;
