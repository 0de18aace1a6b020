//! The store on both engines: every test of the shared suite runs on `SQLite` and on a real
//! `PostgreSQL` server of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test that is how it fails; clippy knows only functions marked as tests"
)]

mod audit;
mod customers;
mod decision;
mod engines;
mod people;
mod postgres;
mod register;
mod rows;
mod world;
mod writing;
