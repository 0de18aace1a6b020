//! The store on both engines: every test of the shared suite runs on `SQLite` and on a real
//! `PostgreSQL` server of its own.

mod audit;
mod customers;
mod decision;
mod engines;
mod people;
mod postgres;
mod register;
mod world;
mod writing;
