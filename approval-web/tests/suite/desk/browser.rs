//! A browser: one origin, its cookies, one device, and the pages' own script.

use super::device::{Device, User};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tower::ServiceExt;

/// One browser of one person.
#[derive(Clone)]
pub(crate) struct Browser {
    router: Router,
    pub(crate) origin: String,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) device: Device,
    pub(crate) source: SocketAddr,
    /// What a proxy in front of the origin says of where the browser is.
    pub(crate) forwarded_for: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The stable code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn location(&self) -> &str {
        self.headers
            .get("location")
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Browser {
    pub(crate) fn new(router: &Router, origin: &str) -> Self {
        Self {
            router: router.clone(),
            origin: origin.to_owned(),
            cookies: BTreeMap::new(),
            device: Device::default(),
            source: SocketAddr::from(([192, 0, 2, 1], 50_000)),
            forwarded_for: None,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = self.request(Method::GET, path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Sends a form as a browser does for a page that sends no referrer: without its origin.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect::<Vec<_>>()
            .join("&");
        let request = self
            .request(Method::POST, path)
            .header("origin", "null")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body));
        self.send(request.unwrap()).await
    }

    /// Calls as the pages' script does.
    pub(crate) async fn call(&mut self, path: &str, value: &Value) -> Reply {
        let request = self
            .request(Method::POST, path)
            .header("origin", &self.origin)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(Body::from(value.to_string()));
        self.send(request.unwrap()).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", cookies.join("; "))
            .extension(ConnectInfo(self.source));
        match &self.forwarded_for {
            Some(said) => request.header("x-forwarded-for", said),
            None => request,
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        for cookie in headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() || rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Reply {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// Follows an invitation: options, a new passkey, finish.
    pub(crate) async fn enrol(&mut self, invitation: &str) -> Reply {
        let token = invitation.split_once('#').unwrap().1.to_owned();
        let options = self
            .call("/invitation/options", &json!({ "token": token }))
            .await;
        if options.status != StatusCode::OK {
            return options;
        }
        let origin = self.origin.clone();
        let public_key = &options.json()["publicKey"];
        let credential = self.device.create(&origin, public_key).await;
        let finish = json!({ "token": token, "credential": credential });
        self.call("/invitation/finish", &finish).await
    }

    pub(crate) async fn sign_in(&mut self, login: &str) -> Reply {
        self.ceremony("/sign-in", &json!({ "login": login }), User::Verified)
            .await
    }

    /// Gives the passkey again.
    pub(crate) async fn freshen(&mut self) {
        let reply = self.ceremony("/fresh", &json!({}), User::Verified).await;
        assert_eq!(reply.status, 204, "{}", reply.body);
    }

    /// Reads the page of an intervention and decides as its script does; `fields` are what is
    /// filled in.
    pub(crate) async fn decide(&mut self, id: &str, fields: &Value) -> Reply {
        let path = format!("/interventions/{id}/decision");
        let fields = self.read(id, fields).await;
        self.ceremony(&path, &fields, User::Verified).await
    }

    /// `fields` with what the form of the intervention's page says of the plan it shows; with
    /// nothing more where there is no such form.
    pub(crate) async fn read(&mut self, id: &str, fields: &Value) -> Value {
        let page = self.get(&format!("/interventions/{id}")).await;
        let mut fields = fields.clone();
        for name in ["plan_version", "plan_sha256"] {
            let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
            if let Some((_, rest)) = page.body.split_once(&field) {
                fields[name] = rest.split('"').next().into();
            }
        }
        fields
    }

    /// Options, the device's answer, finish; or the first problem.
    pub(crate) async fn ceremony(&mut self, path: &str, fields: &Value, user: User) -> Reply {
        let options = self.call(&format!("{path}/options"), fields).await;
        if options.status != StatusCode::OK {
            return options;
        }
        let credential = self.assertion(&options, user).await;
        let mut finish = fields.clone();
        finish["credential"] = credential;
        self.call(&format!("{path}/finish"), &finish).await
    }

    /// What the device answers to these options.
    pub(crate) async fn assertion(&mut self, options: &Reply, user: User) -> Value {
        let origin = self.origin.clone();
        let public_key = &options.json()["publicKey"];
        self.device
            .get(&origin, public_key, user)
            .await
            .expect("the device holds no passkey that would do")
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
