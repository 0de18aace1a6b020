//! The only code that knows SQL: every value of the trade is kept, found and traced here.
//!
//! One query text serves `SQLite` and `PostgreSQL`. What is deliberately absent: any rule of the trade
//! (`access`), any clock, any write of a state without its audit entry.
//!
//! | file | what it keeps |
//! |---|---|
//! | [`error`](StoreError), `engine` | how the two databases are spoken to |
//! | `row`, `history` | INVARIANT: the row, its history and its audit entry go in one transaction |
//! | `customer` `contact` `actor` `operator` `target` `grant` `intervention` `session` `second_factor` `confirmation` `certificate` | one noun each |
//! | `scope` | what one customer may see |
//! | `facts` | what a decision is made from |
//! | `lockout` `web_session` `invitation` `recording_key` `setting` | what has no transitions of its own |
//! | [`audit`] | the log: entries, Merkle tree, checkpoints, verification, export |

pub mod audit;

mod actor;
mod certificate;
mod confirmation;
mod contact;
mod customer;
mod engine;
mod error;
mod facts;
mod grant;
mod history;
mod intervention;
mod invitation;
mod lockout;
mod operator;
mod recording_key;
mod row;
mod scope;
mod second_factor;
mod session;
mod setting;
mod target;
mod web_session;

pub use audit::{AuditSigner, AuditVerifier, Checkpoint, Entry, EntryFilter, VerifyReport};
pub use engine::Store;
pub use error::StoreError;
pub use facts::Ask;
pub use grant::{GrantFilter, GrantUse};
pub use intervention::InterventionFilter;
pub use invitation::Invitation;
pub use row::{Kept, Saving};
pub use scope::CustomerScope;
pub use session::SessionFilter;
pub use web_session::{Origin, WebSession};
