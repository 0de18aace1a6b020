//! INVARIANT: no state changes without a trace. A transition returns a [`Changed`], and the
//! store's only write takes one: the row and its audit entry go in one transaction.

use crate::audit::Event;

/// A new value together with the event that tells how it came to be.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a change that is not saved did not happen"]
pub struct Changed<T> {
    value: T,
    event: Event,
}

impl<T> Changed<T> {
    /// Only transitions of this crate make one.
    pub(crate) const fn new(value: T, event: Event) -> Self {
        Self { value, event }
    }

    /// The value as it will be once saved.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The event that will be appended to the audit log.
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// The two halves, for the store.
    pub fn into_parts(self) -> (T, Event) {
        (self.value, self.event)
    }
}
