//! The pages of the host's people, one file per noun.

pub(crate) mod home;
