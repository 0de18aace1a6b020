//! The domain and the one decision: who may open which session, when, and why not.
//!
//! Pure: no clock, no randomness, no IO. Time and random values are arguments.
//! What is deliberately absent: SQL (`store`), SSH (`bastion`), pages (`approval-web`).
//!
//! Reading order:
//!
//! | file | noun |
//! |---|---|
//! | [`time`], [`ids`], [`changed`], [`audit`] | the words everything else is said in |
//! | [`customer`], [`contact`], [`actor`], [`operator`], [`target`] | who and what |
//! | [`second_factor`], [`totp`], [`sealed`], [`lockout`], [`confirmation`], [`certificate`], [`credentials`] | how a person proves to be himself |
//! | [`grant`], [`review`] | named rights, reviewed each year (HDS activity 5, a) |
//! | [`plan`], [`forward`], [`intervention`], [`extension`], [`approval`], [`assertion`] | prior validation (HDS activity 5, d) |
//! | [`request`] | what a client can ask for, and what it takes |
//! | [`mod@decide`] | the one decision (HDS activity 5, b) |
//! | [`session`] | the trace of one access and its motive (HDS activity 5, c) |

pub mod actor;
pub mod approval;
pub mod assertion;
pub mod audit;
pub mod certificate;
pub mod changed;
pub mod confirmation;
pub mod contact;
pub mod credentials;
pub mod customer;
pub mod decide;
pub mod extension;
pub mod forward;
pub mod grant;
pub mod ids;
pub mod intervention;
pub mod lockout;
pub mod operator;
pub mod plan;
pub mod refusal;
pub mod request;
pub mod review;
pub mod sealed;
pub mod second_factor;
pub mod session;
pub mod target;
pub mod time;
pub mod totp;

pub use actor::Actor;
pub use approval::Approval;
pub use audit::{Event, Who};
pub use certificate::Certificate;
pub use changed::Changed;
pub use contact::Contact;
pub use credentials::Credentials;
pub use customer::Customer;
pub use decide::{Denial, Facts, Permit, decide};
pub use grant::Grant;
pub use ids::{
    AccountName, ActorId, CertificateId, ContactId, CustomerId, FactorId, GrantId, InterventionId,
    OperatorId, SessionId, TargetId,
};
pub use intervention::Intervention;
pub use operator::Operator;
pub use plan::Plan;
pub use refusal::Refusal;
pub use review::Review;
pub use session::Session;
pub use target::Target;
pub use time::Time;
