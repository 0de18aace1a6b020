//! The frame around every page: language, navigation, the person; and the pages of no noun: sign-in,
//! invitation, problems.

use crate::error::Problem;
use crate::language::Words;
use crate::route::Audience;
use crate::sign_in::{Person, Visit};
use crate::site::Site;
use access::contact::Language;
use askama::Template;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Json};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use serde::Deserialize;
use serde_json::json;
use std::ops::Deref;
use std::sync::Arc;

const LANGUAGE_COOKIE: &str = "bastion-language";

/// What the frame of a page shows. Stands for the [`Words`] of its language, too.
pub(crate) struct Frame {
    words: Words,
    /// `customer` or `host`.
    pub(crate) origin: &'static str,
    /// Who is signed in.
    pub(crate) name: Option<String>,
    pub(crate) login: String,
    pub(crate) roles: String,
    pub(crate) tabs: Vec<Tab>,
    /// This page, to come back to.
    pub(crate) here: String,
}

/// One entry of the navigation.
pub(crate) struct Tab {
    pub(crate) path: &'static str,
    pub(crate) text: String,
    pub(crate) current: bool,
}

impl Deref for Frame {
    type Target = Words;
    fn deref(&self) -> &Words {
        &self.words
    }
}

impl Frame {
    pub(crate) fn words(&self) -> Words {
        self.words
    }

    fn anonymous(site: &Site, words: Words, here: &str) -> Self {
        Self {
            words,
            origin: site.name(),
            name: None,
            login: String::new(),
            roles: String::new(),
            tabs: Vec::new(),
            here: here.to_owned(),
        }
    }

    fn of(site: &Site, visit: &Visit, chosen: Option<Language>, here: String) -> Self {
        let words = Words(chosen.unwrap_or(visit.language));
        let (login, roles, tabs) = match &visit.person {
            Person::Contact(contact) => (
                contact.id.to_string(),
                String::new(),
                tabs(words, &here, &CONTACT_TABS, |_| true),
            ),
            Person::Operator(operator) => {
                let roles = &operator.details.roles;
                let named: Vec<String> = roles.iter().map(|role| words.role(*role)).collect();
                let may_see = |audience: Audience| match audience {
                    Audience::Host(wanted) => wanted.iter().any(|role| roles.contains(role)),
                    Audience::Anyone => true,
                    Audience::Contacts => false,
                };
                (
                    operator.id.to_string(),
                    named.join(", "),
                    tabs(words, &here, &HOST_TABS, may_see),
                )
            }
        };
        Self {
            words,
            origin: site.name(),
            name: Some(visit.person.name().to_owned()),
            login,
            roles,
            tabs,
            here,
        }
    }
}

type Place = (&'static str, &'static str, Audience);

const CONTACT_TABS: [Place; 3] = [
    ("/", "tab-home", Audience::Contacts),
    ("/access", "tab-access", Audience::Contacts),
    ("/contacts", "tab-contacts", Audience::Contacts),
];

const HOST_TABS: [Place; 5] = [
    ("/", "tab-work", Audience::Host(crate::ALL)),
    (
        "/interventions",
        "tab-interventions",
        Audience::Host(crate::WORK),
    ),
    ("/grants", "tab-grants", Audience::Host(crate::RIGHTS)),
    ("/sessions", "tab-sessions", Audience::Host(crate::SESSIONS)),
    ("/audit", "tab-audit", Audience::Host(crate::READERS)),
];

fn tabs(
    words: Words,
    here: &str,
    places: &[Place],
    may_see: impl Fn(Audience) -> bool,
) -> Vec<Tab> {
    places
        .iter()
        .filter(|(_, _, audience)| may_see(*audience))
        .map(|(path, key, _)| Tab {
            path,
            text: words.t(key),
            current: if *path == "/" {
                here == "/"
            } else {
                here.starts_with(path)
            },
        })
        .collect()
}

impl FromRequestParts<Arc<Site>> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let chosen = chosen_language(&parts.headers);
        let here = parts
            .uri
            .path_and_query()
            .map_or("/", axum::http::uri::PathAndQuery::as_str)
            .to_owned();
        Ok(match parts.extensions.get::<Visit>() {
            Some(visit) => Self::of(site, visit, chosen, here),
            None => Self::anonymous(site, Words(chosen.unwrap_or_default()), &here),
        })
    }
}

/// `GET /sign-in`
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage {
    pub(crate) f: Frame,
    pub(crate) next: String,
}

/// `GET /invitation`
#[derive(Template)]
#[template(path = "invitation.html")]
pub(crate) struct InvitationPage {
    pub(crate) f: Frame,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    f: Frame,
    title: String,
    text: String,
    next: String,
    back: &'static str,
    sign_in: Option<String>,
    fresh: Option<String>,
}

/// A page from its template.
pub(crate) fn render(template: &impl Template) -> Result<Response, Problem> {
    let html = template.render().map_err(|error| Problem::broken(&error))?;
    Ok(Html(html).into_response())
}

/// A problem as a page that says what to do next. Who only needs to sign in is led there.
pub(crate) fn problem(site: &Site, words: Words, problem: &Problem, asked: &Asked) -> Response {
    if matches!(problem, Problem::SignIn) && asked.reading {
        return Redirect::to(&sign_in_path(&asked.path)).into_response();
    }
    let page = ProblemPage {
        title: title_of(words, problem),
        text: text_of(words, problem),
        next: words.t(&format!("problem-{}-next", problem.code())),
        back: if matches!(problem, Problem::Invitation) {
            "/sign-in"
        } else {
            "/"
        },
        sign_in: matches!(problem, Problem::SignIn).then(|| sign_in_path("/")),
        fresh: matches!(problem, Problem::Fresh).then(|| asked.path.clone()),
        f: Frame::anonymous(site, words, &asked.path),
    };
    let body = page.render().unwrap_or_else(|error| {
        tracing::error!("the page of a problem did not render: {error}");
        String::new()
    });
    (problem.status(), Html(body)).into_response()
}

/// A problem for the pages' script: a stable code and the sentences to show.
pub(crate) fn problem_for_script(words: Words, problem: &Problem) -> Response {
    let code = if let Problem::Refused(refusal) = problem {
        refusal.code
    } else {
        problem.code()
    };
    let answer = json!({
        "code": code,
        "sentence": text_of(words, problem),
        "next": words.t(&format!("problem-{}-next", problem.code())),
    });
    (problem.status(), Json(answer)).into_response()
}

fn title_of(words: Words, problem: &Problem) -> String {
    words.t(&format!("problem-{}-title", problem.code()))
}

/// What is wrong, in a sentence.
pub(crate) fn text_of(words: Words, problem: &Problem) -> String {
    match problem {
        Problem::Refused(refusal) => words.refusal(refusal),
        Problem::Locked(until) => words.with("problem-locked-text", "until", words.time(*until)),
        Problem::Form(field) if !field.is_empty() => words.with(
            "problem-form-field",
            "field",
            words.t(&format!("field-{field}")),
        ),
        Problem::SignIn
        | Problem::Fresh
        | Problem::Forbidden
        | Problem::NotFound
        | Problem::CrossSite
        | Problem::Passkey
        | Problem::Invitation
        | Problem::TooOften
        | Problem::Form(_)
        | Problem::Stale
        | Problem::Unavailable
        | Problem::TooLarge
        | Problem::Slow
        | Problem::Method
        | Problem::Broken => words.t(&format!("problem-{}-text", problem.code())),
    }
}

/// What was asked, for the page of a problem.
pub(crate) struct Asked {
    path: String,
    reading: bool,
}

pub(crate) fn asked(request: &Request) -> Asked {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", axum::http::uri::PathAndQuery::as_str);
    Asked {
        path: path.to_owned(),
        reading: request.method().is_safe(),
    }
}

fn sign_in_path(next: &str) -> String {
    if next == "/" {
        return "/sign-in".to_owned();
    }
    let next: String = next
        .bytes()
        .map(|b| match b {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect();
    format!("/sign-in?next={next}")
}

/// A path of this origin, and nothing that a browser would take for another one: browsers drop
/// tabs and line ends from an address, and read `\` as `/`.
pub(crate) fn local_path(text: Option<&str>) -> String {
    text.filter(|path| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    })
    .unwrap_or("/")
    .to_owned()
}

/// `POST /language`
pub(crate) async fn choose_language(
    State(site): State<Arc<Site>>,
    jar: CookieJar,
    Form(choice): Form<Choice>,
) -> Result<Response, Problem> {
    let cookie = Cookie::build((LANGUAGE_COOKIE, choice.language.clone()))
        .path("/")
        .same_site(SameSite::Strict)
        .http_only(true)
        .secure(site.transport == crate::site::Transport::Tls)
        .build();
    if read_language(&choice.language).is_none() {
        return Err(Problem::Form("language"));
    }
    let mut response = (StatusCode::SEE_OTHER, jar.add(cookie)).into_response();
    let next = HeaderValue::from_str(&local_path(choice.next.as_deref()))
        .map_err(|error| Problem::broken(&error))?;
    response.headers_mut().insert(LOCATION, next);
    Ok(response)
}

/// The language switched to, where one was.
pub(crate) fn chosen_language(headers: &HeaderMap) -> Option<Language> {
    read_language(
        CookieJar::from_headers(headers)
            .get(LANGUAGE_COOKIE)?
            .value(),
    )
}

fn read_language(code: &str) -> Option<Language> {
    match code {
        "fr" => Some(Language::French),
        "en" => Some(Language::English),
        _ => None,
    }
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    language: String,
    next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_origin_is_gone_to() {
        for path in ["/", "/interventions/INT-2026-00042", "/audit?name=a.b#c"] {
            assert_eq!(local_path(Some(path)), path);
        }
        for elsewhere in [
            "",
            "home",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "/\t/evil.example/x",
            "/\n/evil.example",
            "/\r/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/ /evil.example",
            "/\0/evil.example",
            "/\x7f/evil.example",
            "/\u{a0}/evil.example",
        ] {
            assert_eq!(local_path(Some(elsewhere)), "/", "{elsewhere:?}");
        }
        assert_eq!(local_path(None), "/");
    }
}
