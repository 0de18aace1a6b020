//! What every request passes: origin check, size, time, audience; and what every answer carries:
//! the headers that keep a browser from doing more than these pages need, and a page for what went
//! wrong. Decides nothing about interventions or grants.

use crate::error::Problem;
use crate::language::Words;
use crate::page;
use crate::route::Audience;
use crate::sign_in::{self, Person, Visit};
use crate::site::Site;
use access::contact::Language;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

/// More than the longest form.
const LARGEST_BODY: usize = 64 * 1024;
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";
/// The player of recordings is WebAssembly.
const POLICY_WITH_PLAYER: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// Marks the answer that needs the player.
#[derive(Clone, Copy)]
pub(crate) struct WithPlayer;

/// Marks a page that says itself what is wrong, such as a form that was sent.
#[derive(Clone)]
pub(crate) struct SaysItself;

/// Puts the guard around all routes, the last line outermost.
pub(crate) fn protect(router: Router<Arc<Site>>, site: &Arc<Site>) -> Router<Arc<Site>> {
    router
        .layer(middleware::from_fn_with_state(site.clone(), same_origin))
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            LONGEST_ANSWER,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(site.clone(), finish))
}

/// Lets in whom the route is for, and nobody else.
pub(crate) async fn admit(
    State((site, audience)): State<(Arc<Site>, Audience)>,
    jar: CookieJar,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if audience == Audience::Anyone {
        return Ok(next.run(request).await);
    }
    let visit = sign_in::visit(&site, &jar).await?;
    let language = visit.language;
    let allowed = may_enter(audience, &visit);
    let mut response = match allowed {
        Ok(()) => {
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(language);
    Ok(response)
}

fn may_enter(audience: Audience, visit: &Visit) -> Result<(), Problem> {
    match (audience, &visit.person) {
        (Audience::Anyone, _) | (Audience::Contacts, Person::Contact(_)) => Ok(()),
        (Audience::Host(roles), Person::Operator(operator))
            if roles.iter().any(|role| operator.may(*role).is_ok()) =>
        {
            Ok(())
        }
        (Audience::Host(_) | Audience::Contacts, _) => Err(Problem::Forbidden),
    }
}

/// A form or call must come from a page of this very origin.
async fn same_origin(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD)
        || comes_from(&site.address, request.headers())
    {
        next.run(request).await
    } else {
        Problem::CrossSite.into_response()
    }
}

/// The browser's own word first. It says `Origin: null` for the forms of a page that sends no
/// referrer, as all of these do; so that is no contradiction.
fn comes_from(address: &str, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN);
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => {
            site == "same-origin" && origin.is_none_or(|from| from == address || from == "null")
        }
        None => origin.is_some_and(|from| from == address),
    }
}

/// Turns problems into pages, and puts the headers on every answer.
async fn finish(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let script = wants_json(request.headers());
    let asked = page::asked(&request);
    let chosen = page::chosen_language(request.headers());
    let mut response = next.run(request).await;
    let player = response.extensions_mut().remove::<WithPlayer>();
    let persons = response.extensions_mut().remove::<Language>();
    let said = response.extensions_mut().remove::<SaysItself>();
    let problem = response
        .extensions_mut()
        .remove::<Problem>()
        .or_else(|| Problem::of_status(response.status()))
        .filter(|_| said.is_none());
    if let Some(problem) = problem {
        let words = Words(chosen.or(persons).unwrap_or_default());
        let cookies: Vec<HeaderValue> = response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        response = if script {
            page::problem_for_script(words, &problem)
        } else {
            page::problem(&site, words, &problem, &asked)
        };
        for cookie in cookies {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    secure(&site, response.headers_mut(), player);
    response
}

fn secure(site: &Site, headers: &mut HeaderMap, player: Option<WithPlayer>) {
    let policy = match player {
        Some(WithPlayer) => POLICY_WITH_PLAYER,
        None => POLICY,
    };
    let fixed = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
        (
            PERMISSIONS_POLICY,
            "camera=(), geolocation=(), microphone=(), publickey-credentials-create=(self), publickey-credentials-get=(self)",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if site.transport == crate::site::Transport::Tls {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    [ACCEPT, CONTENT_TYPE].iter().any(|name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/json"))
    })
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the layer asks for this signature"
)]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Problem::broken(&format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_form_comes_from_this_origin_or_is_refused() {
        let here = "https://bastion.example";
        let rows: [(&[(&str, &str)], bool); 9] = [
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://bastion.example"),
                ],
                true,
            ),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://bastion.example")], true),
            (&[("origin", "null")], false),
            (&[("origin", "https://bastion.example.evil")], false),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("origin", "https://bastion.example"),
                ],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://evil.example"),
                ],
                false,
            ),
            (&[], false),
        ];
        for (sent, taken) in rows {
            assert_eq!(comes_from(here, &headers(sent)), taken, "{sent:?}");
        }
    }

    #[test]
    fn a_panic_is_a_problem_that_names_no_cause() {
        let response = panicked(Box::new("a secret"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.extensions().get::<Problem>().is_some());
    }
}
