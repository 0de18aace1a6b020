//! Style, script and the player, inside the binary.
//!
//! `assets/` is ours; the player comes from npm when the crate is built (`build.rs`).

use crate::error::Problem;
use access::audit::{hex, sha256};
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Own;

/// The player's files as npm gave them, each with its type.
const PLAYER: [(&str, &[u8]); 3] = [
    (
        "asciinema-player.js",
        include_bytes!(concat!(env!("OUT_DIR"), "/player/asciinema-player.min.js")),
    ),
    (
        "asciinema-player.css",
        include_bytes!(concat!(env!("OUT_DIR"), "/player/asciinema-player.css")),
    ),
    (
        "asciinema-player.LICENSE.txt",
        include_bytes!(concat!(env!("OUT_DIR"), "/player/LICENSE")),
    ),
];

/// `GET /assets/{file}`
pub(crate) async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let content = find(&name).ok_or(Problem::NotFound)?;
    let tag = format!("\"{}\"", hex(&sha256(&content)));
    let tag = HeaderValue::from_str(&tag).map_err(|error| Problem::broken(&error))?;
    let known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        content.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(type_of(&name)));
    Ok(response)
}

fn find(name: &str) -> Option<Bytes> {
    if let Some((_, content)) = PLAYER.iter().find(|(file, _)| *file == name) {
        return Some(Bytes::from_static(content));
    }
    Own::get(name).map(|file| Bytes::from(file.data.into_owned()))
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
