//! The two cookies of an origin: the sign-in, and the ceremony under way. Each carries 256 random
//! bits and nothing else; only their SHA-256 is kept.
//!
//! The names tell the origins apart even on `localhost`, where browsers share cookies across ports.

use crate::error::Problem;
use crate::site::{Site, Transport};
use access::audit::sha256;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A fresh token and the hash under which it is kept.
pub(crate) struct Token {
    text: String,
    pub(crate) sha256: [u8; 32],
}

/// What a cookie stands for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    SignIn,
    Ceremony,
}

impl Token {
    pub(crate) fn fresh(site: &Site) -> Result<Self, Problem> {
        let bytes: [u8; 32] = site.random()?;
        Ok(Self {
            text: URL_SAFE_NO_PAD.encode(bytes),
            sha256: sha256(&bytes),
        })
    }
}

/// The hash of a token as it came, where it has the right form.
pub(crate) fn hash_of(text: &str) -> Option<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == 32).then(|| sha256(&bytes))
}

/// The hash of this origin's cookie, where the browser sent one.
pub(crate) fn sent(site: &Site, jar: &CookieJar, kind: Kind) -> Option<[u8; 32]> {
    hash_of(jar.get(&name(site, kind))?.value())
}

/// Gives the browser a token; it lives as long as the browser and ends on the server.
pub(crate) fn give(site: &Site, jar: CookieJar, kind: Kind, token: Token) -> CookieJar {
    jar.add(build(site, name(site, kind), token.text))
}

/// Takes a token back.
pub(crate) fn take(site: &Site, jar: CookieJar, kind: Kind) -> CookieJar {
    jar.remove(build(site, name(site, kind), String::new()))
}

fn name(site: &Site, kind: Kind) -> String {
    let prefix = match site.transport {
        Transport::Tls => "__Host-",
        Transport::Plain => "",
    };
    let what = match kind {
        Kind::SignIn => "sign-in",
        Kind::Ceremony => "ceremony",
    };
    format!("{prefix}bastion-{}-{what}", site.name())
}

fn build(site: &Site, name: String, value: String) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(site.transport == Transport::Tls)
        .build()
}
