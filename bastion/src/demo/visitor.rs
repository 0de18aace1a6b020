//! Somebody at a browser, without the browser: the same requests, cookies and passkey ceremonies
//! as the pages make. Blocking.

use super::passkey::SoftwarePasskey;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// A person with a passkey, at one origin.
pub(crate) struct Visitor {
    agent: ureq::Agent,
    passkey: SoftwarePasskey,
}

impl Visitor {
    /// Somebody who is not signed in.
    pub(crate) fn new(passkey: SoftwarePasskey) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        Self { agent, passkey }
    }

    /// Enrols the passkey with the token of an invitation; signs in.
    pub(crate) fn enrol(&self, token: &str) -> Result<()> {
        let options = self.post_json("/invitation/options", &json!({ "token": token }))?;
        let credential = self.passkey.register(public_key(&options)?)?;
        self.post_json(
            "/invitation/finish",
            &json!({ "token": token, "credential": credential }),
        )?;
        Ok(())
    }

    /// Signs in with the passkey.
    pub(crate) fn sign_in(&self) -> Result<()> {
        self.ceremony("/sign-in", &json!({ "login": self.passkey.login }))
            .map(drop)
    }

    /// Proves once more to be there, for what asks for a fresh passkey.
    pub(crate) fn freshen(&self) -> Result<()> {
        self.ceremony("/fresh", &json!({})).map(drop)
    }

    /// Asks `PATH/options`, signs what comes, sends it to `PATH/finish`. Returns the options.
    pub(crate) fn ceremony(&self, path: &str, asked: &Value) -> Result<Value> {
        let options = self.post_json(&format!("{path}/options"), asked)?;
        let mut answer = asked.clone();
        let credential = self.passkey.sign(public_key(&options)?)?;
        answer
            .as_object_mut()
            .context("what is asked has no fields")?
            .insert("credential".to_owned(), credential);
        self.post_json(&format!("{path}/finish"), &answer)?;
        Ok(options)
    }

    /// Reads a page or a file.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let mut answer = self
            .agent
            .get(self.url(path))
            .call()
            .with_context(|| format!("GET {path}"))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .read_to_string()
            .with_context(|| format!("GET {path}"))?;
        if status != 200 {
            bail!(
                "GET {path} was answered with {status}: {}",
                shortened(&text)
            );
        }
        Ok(text)
    }

    /// Sends a form; returns where the page leads to next.
    pub(crate) fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Result<String> {
        let mut answer = self
            .agent
            .post(self.url(path))
            .header("Origin", &self.passkey.origin)
            .send_form(fields.iter().copied())
            .with_context(|| format!("POST {path}"))?;
        let status = answer.status().as_u16();
        if status == 303 || status == 302 {
            let location = answer
                .headers()
                .get("location")
                .and_then(|to| to.to_str().ok());
            return Ok(location.unwrap_or_default().to_owned());
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        bail!(
            "POST {path} was answered with {status}: {}",
            shortened(&text)
        );
    }

    fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let mut answer = self
            .agent
            .post(self.url(path))
            .header("Origin", &self.passkey.origin)
            .send_json(body)
            .with_context(|| format!("POST {path}"))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .read_to_string()
            .with_context(|| format!("POST {path}"))?;
        match status {
            200 => serde_json::from_str(&text).with_context(|| format!("POST {path}")),
            204 => Ok(Value::Null),
            _ => bail!(
                "POST {path} was answered with {status}: {}",
                shortened(&text)
            ),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.passkey.origin)
    }
}

/// What a hidden field of a page's form says.
pub(crate) fn hidden<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field)?;
    rest.split('"').next()
}

/// The options that the browser is given.
fn public_key(options: &Value) -> Result<&Value> {
    options
        .get("publicKey")
        .context("the answer carries no options")
}

fn shortened(text: &str) -> String {
    text.chars().take(600).collect()
}
