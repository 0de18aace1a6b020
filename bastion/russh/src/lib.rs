//! russh, as the registry has it, with our short list of changes (`changes.rs`) applied by `build.rs`.
//!
//! Nothing of the library is kept in this repository. What the changes do: window credit is given
//! on consumption instead of on receipt, so that a relay of two connections neither deadlocks nor
//! grows; a writer learns that its channel is gone; unknown channel requests reach the channel.
#![allow(
    warnings,
    clippy::all,
    clippy::pedantic,
    macro_expanded_macro_exports_accessed_by_absolute_paths,
    rustdoc::all,
    reason = "the text is the library's, not ours"
)]

include!(concat!(env!("OUT_DIR"), "/russh/lib_inner.rs"));
