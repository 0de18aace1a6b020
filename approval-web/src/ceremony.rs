//! The server's half of a passkey ceremony: kept in the store under the hash of a cookie's token,
//! of one kind, for five minutes, and taken once.

use crate::cookie::{self, Kind, Token};
use crate::error::Problem;
use crate::site::Site;
use axum_extra::extract::CookieJar;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

const ALIVE: Duration = Duration::from_mins(5);

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// What the ceremony is for.
    about: T,
    /// The passkey library's state.
    state: Value,
}

/// Keeps a ceremony and gives the browser the cookie that finds it again.
pub(crate) async fn begin<T: Serialize>(
    site: &Site,
    jar: CookieJar,
    kind: &str,
    about: T,
    state: Value,
) -> Result<CookieJar, Problem> {
    let token = Token::fresh(site)?;
    let text =
        serde_json::to_string(&Kept { about, state }).map_err(|error| Problem::broken(&error))?;
    site.store()
        .keep_ceremony(
            token.sha256,
            &kind_at(site, kind),
            &text,
            site.now().plus(ALIVE),
        )
        .await?;
    Ok(cookie::give(site, jar, Kind::Ceremony, token))
}

/// Takes the browser's ceremony of this kind. It is then used, whatever comes of it.
pub(crate) async fn take<T: DeserializeOwned>(
    site: &Site,
    jar: &CookieJar,
    kind: &str,
) -> Result<(T, Value), Problem> {
    let none = || Problem::not_verified("no ceremony of this kind is under way");
    let sha256 = cookie::sent(site, jar, Kind::Ceremony).ok_or_else(none)?;
    let text = site
        .store()
        .take_ceremony(&sha256, &kind_at(site, kind), site.now())
        .await?
        .ok_or_else(none)?;
    let kept: Kept<T> = serde_json::from_str(&text).map_err(|error| Problem::broken(&error))?;
    Ok((kept.about, kept.state))
}

/// A ceremony of one origin is none of the other.
fn kind_at(site: &Site, kind: &str) -> String {
    format!("{}:{kind}", site.name())
}
