//! A real Chromium with a virtual authenticator: a person at a phone or a desk, with a passkey.

use crate::{eventually, free_port, keeper};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::{ParseError, Url};

/// A phone's width and height, CSS pixels.
pub const PHONE: (u32, u32) = (390, 844);
/// A desk's.
pub const DESK: (u32, u32) = (1280, 900);
/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open browser; closed when dropped.
pub struct Browser {
    client: Client,
    runtime: Runtime,
    driver: Child,
    size: (u32, u32),
    /// Its profile.
    _profile: TempDir,
}

impl Browser {
    /// One whose authenticator recognises its person.
    #[must_use]
    pub fn open(size: (u32, u32)) -> Self {
        Self::with_authenticator(size, true)
    }

    /// One whose authenticator knows that somebody is there, and not who.
    #[must_use]
    pub fn that_recognises_nobody(size: (u32, u32)) -> Self {
        Self::with_authenticator(size, false)
    }

    fn with_authenticator(size: (u32, u32), recognises: bool) -> Self {
        let port = free_port();
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "chromedriver"])
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = keeper::spawn(command).expect("chromedriver is installed (tests/run does)");
        eventually("chromedriver listens", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut arguments = vec![
            "--headless".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--no-first-run".to_owned(),
            "--lang=fr".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},{}", size.0, size.1),
        ];
        if crate::sshd::current_user() == "root" {
            arguments.push("--no-sandbox".to_owned());
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "prefs": { "intl.accept_languages": "fr" } },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!()
        };
        let client = runtime
            .block_on(
                ClientBuilder::new(HttpConnector::new())
                    .capabilities(capabilities)
                    .connect(&format!("http://127.0.0.1:{port}")),
            )
            .expect("Chromium starts");
        let browser = Self {
            client,
            runtime,
            driver,
            size,
            _profile: profile,
        };
        let _ = browser.issue(
            "webauthn/authenticator",
            json!({
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": true,
                "hasUserVerification": true,
                "isUserConsenting": true,
                "isUserVerified": recognises,
            }),
        );
        browser.lay_out(size.1);
        browser
    }

    /// Goes to an address.
    pub fn go(&self, address: &str) {
        self.run(self.client.goto(address));
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> String {
        self.run(self.client.current_url()).to_string()
    }

    /// What can be read on the page.
    #[must_use]
    pub fn text(&self) -> String {
        self.script("return document.body.innerText")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until this can be read on the page.
    pub fn sees(&self, text: &str) {
        eventually(&format!("`{text}` on the page"), PATIENCE, || {
            self.text().contains(text)
        });
    }

    /// Touches the first thing that this CSS selector finds.
    pub fn touch(&self, selector: &str) {
        let found = self.run(self.client.find(Locator::Css(selector)));
        self.run(found.click());
    }

    /// Touches the button or the link with this text.
    pub fn touch_text(&self, text: &str) {
        let path = format!(
            "//*[(self::button or self::a or self::summary) and contains(normalize-space(.), \"{text}\")]"
        );
        let found = self.run(self.client.find(Locator::XPath(&path)));
        self.run(found.click());
    }

    /// Types into the field that this CSS selector finds.
    pub fn type_into(&self, selector: &str, text: &str) {
        let found = self.run(self.client.find(Locator::Css(selector)));
        self.run(found.send_keys(text));
    }

    /// What this script returns.
    #[must_use]
    pub fn script(&self, script: &str) -> Value {
        self.run(self.client.execute(script, Vec::new()))
    }

    /// Opens an invitation and makes the passkey.
    pub fn enrol(&self, invitation: &str) {
        self.go(invitation);
        self.touch("form[data-ceremony] button");
        eventually("the passkey is enrolled", PATIENCE, || {
            !self.address().contains("/invitation")
        });
    }

    /// Nothing of the page is wider than the screen.
    pub fn fits(&self) {
        let wide = self.script("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().unwrap() <= u64::from(self.size.0),
            "{} is {wide} wide",
            self.address()
        );
    }

    /// A picture of the whole page under `target/screenshots`, to be looked at.
    pub fn picture(&self, name: &str) {
        let height = self.script("return document.documentElement.scrollHeight");
        self.lay_out(u32::try_from(height.as_u64().unwrap()).unwrap().min(6000));
        let picture = self.run(self.client.screenshot());
        self.lay_out(self.size.1);
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }

    /// As wide as the screen: a window is never narrower than 500.
    fn lay_out(&self, height: u32) {
        let (width, mobile) = (self.size.0, self.size.0 < 600);
        let parameters =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": parameters });
        let _ = self.issue("goog/cdp/execute", command);
    }

    fn issue(&self, path: &'static str, body: Value) -> Value {
        self.run(self.client.issue_cmd(Extension { path, body }))
    }

    fn run<T, E: std::fmt::Debug>(&self, work: impl Future<Output = Result<T, E>>) -> T {
        let done = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, work).await });
        done.expect("the browser answers").unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let closed = self.client.clone().close();
        self.runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(5), closed).await })
            .map(drop)
            .ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// A command that WebDriver's extensions define: WebAuthn level 3 §11, or the browser's own.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _url: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
