//! The two web origins: customers decide and see on one, the host's people work on the other.
//!
//! Server-rendered pages over `store`; the rules are `access`'s, recordings are `recordings`'s.
//! What is deliberately absent: any rule of the trade, any clock, any way to approve without the
//! contact's own passkey.
//!
//! | file | what it is for |
//! |---|---|
//! | here | ALL routes of both origins, each with its audience |
//! | `route`, `guard`, `site`, `error` | how a request is let in and how a problem is said |
//! | `sign_in`, `invitation`, `passkey`, `ceremony`, `cookie`, `rate`, `source` | who is there |
//! | `language`, `vocabulary`, `page`, `plan`, `extension`, `assets` | what a page is made of |
//! | `customer` | the contacts' pages, one file per noun |
//! | `host` | the host's pages, one file per noun |
//!
//! Serve a router with `into_make_service_with_connect_info::<SocketAddr>()`: sign-in counts by
//! source address and answers nothing without one.

mod assets;
mod ceremony;
mod cookie;
mod customer;
mod error;
mod extension;
mod guard;
mod host;
mod invitation;
mod language;
mod page;
mod passkey;
mod plan;
mod rate;
mod route;
mod sign_in;
mod site;
mod source;
mod vocabulary;

pub use invitation::invite;
pub use route::{Audience, Route};
pub use site::WebError;

use access::Time;
use access::decide::Policy;
use access::operator::{Network, Role};
use access::sealed::SealingKey;
use axum::Router;
use recordings::{ManifestPublicKey, Storage};
use route::{get, post};
use site::Site;
use std::sync::Arc;
use store::{Origin, Store};
use zeroize::Zeroizing;

/// What both origins work with.
pub struct Web {
    pub store: Store,
    pub recordings: Storage,
    /// The customer origin as browsers see it: `https://…`, or `http://localhost:…` for practice.
    pub customer_url: String,
    /// The host origin as browsers see it.
    pub host_url: String,
    /// How operators reach the SSH front, for the commands they copy.
    pub ssh_name: String,
    pub ssh_port: u16,
    /// The proxies in front of both origins, whose word on where a request comes from is taken.
    pub trusted_proxies: Vec<Network>,
    pub policy: Policy,
    /// Seals the secrets of code generators.
    pub factors: SealingKey,
    /// Unwraps customers' recording keys.
    pub recording_master: Zeroizing<[u8; 32]>,
    /// Checks what the SSH side signed at the end of a recording.
    pub manifest_key: ManifestPublicKey,
    pub clock: fn() -> Time,
    pub random: fn(&mut [u8]) -> Result<(), ring::error::Unspecified>,
}

/// The router of the customer origin.
pub fn customer(web: Arc<Web>) -> Result<Router, WebError> {
    let site = Arc::new(Site::new(web, Origin::Customer)?);
    Ok(route::build(site, customer_routes()))
}

/// The router of the host origin.
pub fn host(web: Arc<Web>) -> Result<Router, WebError> {
    let site = Arc::new(Site::new(web, Origin::Host)?);
    Ok(route::build(site, host_routes()))
}

/// Every route of the customer origin.
pub fn customer_routes() -> Vec<Route> {
    use Audience::{Anyone, Contacts};
    vec![
        get("/sign-in", Anyone, sign_in::page),
        post("/sign-in/options", Anyone, sign_in::options),
        post("/sign-in/finish", Anyone, sign_in::finish),
        get("/invitation", Anyone, invitation::page),
        post("/invitation/options", Anyone, invitation::options),
        post("/invitation/finish", Anyone, invitation::finish),
        post("/language", Anyone, page::choose_language),
        get("/assets/{file}", Anyone, assets::file),
        post("/fresh/options", Contacts, sign_in::fresh_options),
        post("/fresh/finish", Contacts, sign_in::fresh_finish),
        post("/sign-out", Contacts, sign_in::sign_out),
        get("/", Contacts, customer::home::page),
        get(
            "/interventions/{id}",
            Contacts,
            customer::intervention::page,
        ),
        post(
            "/interventions/{id}/question",
            Contacts,
            customer::intervention::ask,
        ),
        post(
            "/interventions/{id}/revoke",
            Contacts,
            customer::intervention::revoke,
        ),
        post(
            "/interventions/{id}/decision/options",
            Contacts,
            customer::decision::options,
        ),
        post(
            "/interventions/{id}/decision/finish",
            Contacts,
            customer::decision::finish,
        ),
        get("/access", Contacts, customer::access::page),
        get("/contacts", Contacts, customer::contacts::page),
        post(
            "/contacts/{id}/confirm",
            Contacts,
            customer::contacts::confirm,
        ),
    ]
}

/// Everybody of the host.
const ALL: &[Role] = &[
    Role::Operator,
    Role::Manager,
    Role::Security,
    Role::Auditor,
    Role::Admin,
];
/// Who plans work.
const PLANNERS: &[Role] = &[Role::Operator, Role::Manager];
/// Who sees interventions.
const WORK: &[Role] = &[Role::Operator, Role::Manager, Role::Security, Role::Auditor];
/// Who stops work for all.
const SECURITY: &[Role] = &[Role::Security];
/// Who proposes rights.
const PROPOSERS: &[Role] = &[Role::Manager];
/// Who sees rights.
const RIGHTS: &[Role] = &[Role::Manager, Role::Security, Role::Auditor];
/// Who decides on rights.
const RIGHTS_DECIDED: &[Role] = &[Role::Manager, Role::Security];
/// Who sees sessions, and may replay those of others.
const SESSIONS: &[Role] = &[Role::Security, Role::Auditor];
/// Who reads the log.
const READERS: &[Role] = &[Role::Security, Role::Auditor, Role::Admin];

/// Every route of the host origin.
#[allow(clippy::too_many_lines, reason = "a flat table, one line a route")]
pub fn host_routes() -> Vec<Route> {
    use Audience::{Anyone, Host};
    use host::{charter, factors, interventions, proposal};
    vec![
        get("/sign-in", Anyone, sign_in::page),
        post("/sign-in/options", Anyone, sign_in::options),
        post("/sign-in/finish", Anyone, sign_in::finish),
        get("/invitation", Anyone, invitation::page),
        post("/invitation/options", Anyone, invitation::options),
        post("/invitation/finish", Anyone, invitation::finish),
        post("/language", Anyone, page::choose_language),
        get("/assets/{file}", Anyone, assets::file),
        post("/fresh/options", Host(ALL), sign_in::fresh_options),
        post("/fresh/finish", Host(ALL), sign_in::fresh_finish),
        post("/sign-out", Host(ALL), sign_in::sign_out),
        get("/", Host(ALL), host::home::page),
        get("/charter", Host(ALL), charter::page),
        post("/charter", Host(ALL), charter::accept),
        get("/factors", Host(ALL), factors::page),
        post(
            "/factors/passkey/options",
            Host(ALL),
            factors::passkey_options,
        ),
        post(
            "/factors/passkey/finish",
            Host(ALL),
            factors::passkey_finish,
        ),
        post("/factors/totp", Host(ALL), factors::totp_begin),
        post("/factors/totp/confirm", Host(ALL), factors::totp_confirm),
        post("/factors/{id}/revoke", Host(ALL), factors::revoke),
        get("/interventions", Host(WORK), interventions::page),
        post("/interventions", Host(PLANNERS), interventions::create),
        get(
            "/interventions/new",
            Host(PLANNERS),
            interventions::new_page,
        ),
        get("/interventions/{id}", Host(WORK), interventions::one_page),
        get(
            "/interventions/{id}/edit",
            Host(PLANNERS),
            interventions::edit_page,
        ),
        post(
            "/interventions/{id}/edit",
            Host(PLANNERS),
            interventions::edit,
        ),
        post(
            "/interventions/{id}/submit",
            Host(PLANNERS),
            interventions::submit,
        ),
        post(
            "/interventions/{id}/answer",
            Host(PLANNERS),
            interventions::answer,
        ),
        post(
            "/interventions/{id}/withdraw",
            Host(PLANNERS),
            interventions::withdraw,
        ),
        post(
            "/interventions/{id}/close",
            Host(PLANNERS),
            interventions::close,
        ),
        post(
            "/interventions/{id}/extension",
            Host(PLANNERS),
            interventions::extend,
        ),
        post(
            "/interventions/{id}/revoke",
            Host(SECURITY),
            interventions::revoke,
        ),
        get("/grants/new", Host(PROPOSERS), proposal::page),
        post("/grants", Host(PROPOSERS), proposal::propose),
        get("/confirm/{code}", Host(ALL), host::confirm::page),
        post("/confirm/{code}/options", Host(ALL), host::confirm::options),
        post("/confirm/{code}/finish", Host(ALL), host::confirm::finish),
        get("/sessions", Host(SESSIONS), host::session::list),
        get("/sessions/{id}", Host(SESSIONS), host::session::page),
        post("/sessions/{id}/replay", Host(SESSIONS), host::replay::start),
        get(
            "/sessions/{id}/replay/{replay}",
            Host(SESSIONS),
            host::replay::page,
        ),
        get(
            "/sessions/{id}/replay/{replay}/{file}",
            Host(SESSIONS),
            host::replay::file,
        ),
        get("/audit", Host(READERS), host::audit::page),
        get("/grants", Host(RIGHTS), host::grant::list),
        get("/grants/{id}", Host(ALL), host::grant::page),
        post(
            "/grants/{id}/approve",
            Host(RIGHTS_DECIDED),
            host::grant::approve,
        ),
        post(
            "/grants/{id}/review",
            Host(RIGHTS_DECIDED),
            host::grant::review,
        ),
        post(
            "/grants/{id}/call-review",
            Host(RIGHTS_DECIDED),
            host::grant::call_review,
        ),
    ]
}
