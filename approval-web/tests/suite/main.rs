//! Both origins as they are served, over a real store and real recordings, with a software
//! authenticator in place of the person's device.

mod desk;

mod decision;
mod host;
mod routes;
mod sign_in;
