//! The tables of routes, walked: every route answers its audience and nobody else, takes no form of
//! another site, and carries the headers that hold a browser.

use crate::desk::browser::{Browser, Reply};
use crate::desk::{CUSTOMER_URL, Desk, HOST_URL};
use access::operator::Role;
use approval_web::{Audience, Route};
use axum::body::Body;
use axum::http::Method;
use std::path::Path;

/// Who holds which role alone, in the tests' world.
const PEOPLE: [(&str, Role); 5] = [
    ("alice", Role::Operator),
    ("bob", Role::Manager),
    ("sam", Role::Security),
    ("ada", Role::Auditor),
    ("adam", Role::Admin),
];

#[tokio::test]
async fn a_route_of_the_host_answers_its_roles_and_no_other() {
    let desk = Desk::open().await;
    for (login, role) in PEOPLE {
        let signed_in = desk.signed_in(login).await;
        let mut routes = approval_web::host_routes();
        // Leaving comes last: nobody is there after it.
        routes.sort_by_key(|route| route.path == "/sign-out");
        for route in routes {
            let Audience::Host(roles) = route.audience else {
                continue;
            };
            let reply = ask(signed_in.clone(), &route).await;
            let forbidden = reply.status == 403 && reply.body.contains("votre rôle");
            assert_eq!(
                forbidden,
                !roles.contains(&role),
                "{login} {}",
                said(&route)
            );
        }
    }
}

#[tokio::test]
async fn who_is_not_signed_in_reaches_only_what_it_takes_to_sign_in() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let mut claire = desk.signed_in("claire").await;
    // Each one's cookies, sent to the other origin.
    std::mem::swap(&mut alice.cookies, &mut claire.cookies);
    let (at_host, at_customer) = (alice, claire);
    for (browser, routes) in [
        (
            Browser::new(&desk.host, HOST_URL),
            approval_web::host_routes(),
        ),
        (
            Browser::new(&desk.customer, CUSTOMER_URL),
            approval_web::customer_routes(),
        ),
        (at_host, approval_web::host_routes()),
        (at_customer, approval_web::customer_routes()),
    ] {
        for route in routes {
            if route.audience == Audience::Anyone {
                continue;
            }
            let reply = ask(browser.clone(), &route).await;
            if route.method == Method::GET {
                assert!(reply.location().starts_with("/sign-in"), "{}", said(&route));
            } else {
                assert_eq!(reply.status, 401, "{}", said(&route));
            }
        }
    }
}

#[tokio::test]
async fn no_form_of_another_site_is_taken() {
    let desk = Desk::open().await;
    for (login, routes) in [
        ("sam", approval_web::host_routes()),
        ("claire", approval_web::customer_routes()),
    ] {
        let before = desk.signed_in(login).await;
        let head = desk.store.head().await.unwrap();
        for route in routes {
            if route.method == Method::GET {
                continue;
            }
            for headers in [
                &[
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "cross-site"),
                ][..],
                &[
                    ("origin", "http://localhost:9999"),
                    ("sec-fetch-site", "same-site"),
                ],
                &[("origin", "null"), ("sec-fetch-site", "cross-site")],
                &[("origin", "null")],
                &[
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                &[("sec-fetch-site", "none")],
                &[],
            ] {
                let mut browser = before.clone();
                let mut request = browser.request(Method::POST, &path(&route));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let reply = browser.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(reply.status, 403, "{} {headers:?}", said(&route));
            }
        }
        assert_eq!(desk.store.head().await.unwrap(), head, "something was done");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_hold_a_browser() {
    let desk = Desk::open().await;
    for (login, routes) in [
        ("sam", approval_web::host_routes()),
        ("claire", approval_web::customer_routes()),
    ] {
        let browser = desk.signed_in(login).await;
        for route in routes {
            let reply = ask(browser.clone(), &route).await;
            let policy = reply.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'"), "{}", said(&route));
            assert!(!policy.contains("unsafe-inline"), "{}", said(&route));
            assert_eq!(reply.headers["x-content-type-options"], "nosniff");
            assert_eq!(reply.headers["referrer-policy"], "no-referrer");
            assert!(!reply.body.contains(" style=\""), "{}", said(&route));
            assert!(!reply.body.contains(" onclick"), "{}", said(&route));
        }
    }
}

#[test]
fn every_text_is_there_in_both_languages() {
    let (french, english) = (keys("fr"), keys("en"));
    assert!(french.len() > 100, "the texts were not found");
    assert_eq!(french, english);
}

/// The keys of a language's messages, in order. Refusals are said in English by the domain.
fn keys(language: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("locales")
        .join(language);
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(" =").map(|(key, _)| key.to_owned()))
        .filter(|key| !key.starts_with("refusal-"))
        .collect();
    found.sort_unstable();
    let all = found.len();
    found.dedup();
    assert_eq!(found.len(), all, "a key is there twice");
    found
}

async fn ask(mut browser: Browser, route: &Route) -> Reply {
    if route.method == Method::GET {
        browser.get(&path(route)).await
    } else {
        browser.post(&path(route), &[]).await
    }
}

/// The route's path with names of nothing in it.
fn path(route: &Route) -> String {
    let parts: Vec<&str> = route
        .path
        .split('/')
        .map(|part| {
            if part.starts_with('{') {
                "nothing"
            } else {
                part
            }
        })
        .collect();
    parts.join("/")
}

fn said(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}
