//! The configuration: one TOML file, every default in [`Config::default`] and the `Default` of its
//! sections, and nowhere else. Holds no secret.

use crate::declared::{Declared, Fault, Faults, Place};
use access::decide::Policy;
use access::operator::Network;
use access::second_factor::Proof;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use webauthn_rs::WebauthnBuilder;
use webauthn_rs::prelude::Url;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where keys, the database and everything else lie.
    pub(crate) state: PathBuf,
    /// `sqlite://…` or `postgres://…`; `<state>/bastion.db` where absent.
    pub(crate) database: Option<String>,
    /// The directory of the recordings; `<state>/recordings` where absent.
    pub(crate) recordings: Option<PathBuf>,
    pub(crate) ssh: Ssh,
    pub(crate) web: Web,
    pub(crate) policy: PolicySection,
}

/// `[ssh]`: the side that faces operators.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ssh {
    pub(crate) listen: SocketAddr,
    /// How operators reach it, for the sentences they read.
    pub(crate) name: String,
    /// What connections of operators are protected with. Those to targets are not touched by it.
    pub(crate) algorithms: Algorithms,
    /// From connection to proven second factor, whatever is sent meanwhile.
    pub(crate) login_grace_s: u64,
    pub(crate) max_connections: usize,
    /// Sessions on targets at once.
    pub(crate) max_sessions: usize,
    pub(crate) max_unauthenticated: usize,
    /// For IPv6, of one /64. So many at once, and then five a second.
    pub(crate) max_unauthenticated_per_address: usize,
    pub(crate) max_attempts: usize,
    pub(crate) max_channels: usize,
    /// A session in which nothing happens ends after this; a connection without one, too.
    pub(crate) idle_limit_s: u64,
    /// How long after the second factor a connection opens anything new.
    pub(crate) login_limit_s: u64,
    /// The longest a session may last, whatever the window.
    pub(crate) session_limit_s: u64,
    /// How long a proven second factor stands for further connections of the same key from the
    /// same address; 0 asks for it each time. At most 900.
    pub(crate) reuse_second_factor_s: u64,
    /// Shown before login.
    pub(crate) banner: String,
    /// Bytes kept of the output of one command; all of it is counted and hashed.
    pub(crate) exec_record_cap: u64,
}

/// What operators are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithms {
    /// Hybrid post-quantum key exchange first, then curve25519.
    #[default]
    Default,
    /// Hybrid post-quantum key exchange (OpenSSH since 9.9) and AES-GCM, and nothing else.
    Strict,
}

/// `[web]`: the two origins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Web {
    pub(crate) customer_listen: SocketAddr,
    /// The customer origin as browsers see it; passkeys are bound to it.
    pub(crate) customer_url: String,
    pub(crate) host_listen: SocketAddr,
    /// The host origin as browsers see it; passkeys are bound to it.
    pub(crate) host_url: String,
    /// The proxies that speak TLS for the two origins, as addresses or networks: their
    /// `X-Forwarded-For` says where a request comes from.
    pub(crate) trusted_proxies: Vec<String>,
}

/// `[policy]`: what is asked of everybody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicySection {
    /// The charter version everybody must have accepted.
    pub(crate) charter: Option<String>,
    /// `totp` or `passkey`.
    pub(crate) weakest_proof: Proof,
    /// Countries one may come from (ISO 3166, two letters); absent: not looked at.
    pub(crate) countries: Option<BTreeSet<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/bastion"),
            database: None,
            recordings: None,
            ssh: Ssh::default(),
            web: Web::default(),
            policy: PolicySection::default(),
        }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 2222)),
            name: "localhost".to_owned(),
            algorithms: Algorithms::Default,
            login_grace_s: 30,
            max_connections: 2000,
            max_sessions: 1000,
            max_unauthenticated: 100,
            max_unauthenticated_per_address: 20,
            max_attempts: 6,
            max_channels: 32,
            idle_limit_s: 900,
            login_limit_s: 28_800,
            session_limit_s: 28_800,
            reuse_second_factor_s: 0,
            banner: BANNER.to_owned(),
            exec_record_cap: 16 * 1024 * 1024,
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            customer_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            customer_url: "http://localhost:8080".to_owned(),
            host_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            host_url: "http://localhost:8081".to_owned(),
            trusted_proxies: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
        }
    }
}

impl Default for PolicySection {
    fn default() -> Self {
        Self {
            charter: None,
            weakest_proof: Proof::Totp,
            countries: None,
        }
    }
}

const BANNER: &str = "\
Accès réservé aux personnes habilitées. Chaque session est enregistrée (connexions, commandes,
fichiers, affichage à l'écran) pour la sécurité des données de santé et la preuve des accès exigée
des hébergeurs. Traces conservées 12 mois, enregistrements 6 mois ; consultables par l'équipe
sécurité et le client concerné, chaque consultation étant elle-même tracée. Questions et droits :
votre responsable ou le délégué à la protection des données.

Authorised persons only. Every session is recorded (logins, commands, files, screen) to protect
health data and to prove accesses as hosts must. Traces are kept 12 months, recordings 6 months;
the security team and the customer concerned may view them, and each viewing is traced. Questions
and rights: your manager or the data protection officer.
";

/// What the reuse of a second factor is limited to, in seconds.
const LONGEST_REUSE: u64 = 900;
/// What the age of a login is limited to, in seconds.
const LONGEST_LOGIN: u64 = 24 * 3600;
const LONGEST_NUMBER: u64 = 7 * 24 * 3600;

impl Config {
    /// Reads and checks a file. Relative paths in it start from its directory.
    pub(crate) fn read(path: &Path) -> Result<Self, Faults> {
        let one = |fault: Fault| Faults(vec![fault]);
        let declared = Declared::read(path).map_err(one)?;
        let mut config: Self = declared.parse().map_err(one)?;
        let faults: Vec<Fault> = config
            .wrong()
            .into_iter()
            .map(|(place, sentence)| declared.fault(&place, sentence))
            .collect();
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        config.state = declared.directory().join(&config.state);
        config.database = config
            .database
            .map(|url| from_directory(&url, declared.directory()));
        config.recordings = config
            .recordings
            .map(|recordings| declared.directory().join(recordings));
        Ok(config)
    }

    /// The defaults, with everything under `state`.
    pub(crate) fn in_state(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            ..Self::default()
        }
    }

    /// The address of the database.
    pub(crate) fn database_url(&self) -> String {
        match &self.database {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.state.join("bastion.db").display()),
        }
    }

    /// The directory of the recordings.
    pub(crate) fn recordings_path(&self) -> PathBuf {
        match &self.recordings {
            Some(path) => path.clone(),
            None => self.state.join("recordings"),
        }
    }

    /// What the decision asks of everybody.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            charter: self.policy.charter.clone(),
            countries: self.policy.countries.clone(),
            weakest_proof: self.policy.weakest_proof,
            session_limit: Duration::from_secs(self.ssh.session_limit_s),
            ssh_name: self.ssh_destination(),
            host_web: self.web.host_url.clone(),
        }
    }

    /// How an operator names the bastion to his client: `ssh alice@…`, ready to copy.
    pub(crate) fn ssh_destination(&self) -> String {
        match self.ssh.listen.port() {
            22 => self.ssh.name.clone(),
            port => format!("{} -p {port}", self.ssh.name),
        }
    }

    fn wrong(&self) -> Vec<(Place, String)> {
        let mut wrong = Vec::new();
        self.wrong_top(&mut wrong);
        self.ssh.wrong(&mut wrong);
        self.web.wrong(&mut wrong);
        self.wrong_addresses(&mut wrong);
        if self.policy.countries.is_some() {
            wrong.push((
                at("policy", "countries"),
                "cannot be set yet: nothing tells the bastion which country an address is in, so everybody would be refused".to_owned(),
            ));
        }
        wrong
    }

    fn wrong_top(&self, wrong: &mut Vec<(Place, String)>) {
        let known = [SQLITE, "postgres://", "postgresql://"];
        if let Some(url) = &self.database
            && !known.iter().any(|scheme| {
                url.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty())
            })
        {
            // The address may carry a password: it is not repeated.
            wrong.push((
                Place::default().key("database"),
                "is neither `sqlite://PATH` nor `postgres://…`".to_owned(),
            ));
        }
        if self.state.as_os_str().is_empty() {
            wrong.push((
                Place::default().key("state"),
                "is empty; name a directory".to_owned(),
            ));
        }
        let empty = |path: &PathBuf| path.as_os_str().is_empty();
        if self.recordings.as_ref().is_some_and(empty) {
            wrong.push((
                Place::default().key("recordings"),
                "is empty; name a directory".to_owned(),
            ));
        }
    }

    /// Two sides at one address: the second could not listen.
    fn wrong_addresses(&self, wrong: &mut Vec<(Place, String)>) {
        let listening = [
            ("ssh", "listen", self.ssh.listen),
            ("web", "customer_listen", self.web.customer_listen),
            ("web", "host_listen", self.web.host_listen),
        ];
        for (number, (section, key, address)) in listening.iter().enumerate() {
            let before = listening.iter().take(number);
            for (other_section, other_key, other) in before {
                if collide(*address, *other) {
                    wrong.push((
                        at(section, key),
                        format!(
                            "is `{address}`, where `{other_section}.{other_key}` listens already (`{other}`)"
                        ),
                    ));
                }
            }
        }
    }
}

const SQLITE: &str = "sqlite://";

/// A database file that is named without a directory lies where the configuration does, wherever
/// the command was started.
fn from_directory(url: &str, directory: &Path) -> String {
    match url.strip_prefix(SQLITE) {
        Some(path) => format!("{SQLITE}{}", directory.join(path).display()),
        None => url.to_owned(),
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || everywhere)
}

impl Ssh {
    fn wrong(&self, wrong: &mut Vec<(Place, String)>) {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
        if self.name.is_empty() || self.name.starts_with('-') || !self.name.chars().all(usable) {
            wrong.push((
                at("ssh", "name"),
                "is not a host name like `bastion.example`".to_owned(),
            ));
        }
        if self.reuse_second_factor_s > LONGEST_REUSE {
            wrong.push((
                at("ssh", "reuse_second_factor_s"),
                format!(
                    "is more than {LONGEST_REUSE} seconds, the longest a second factor is reused"
                ),
            ));
        }
        let limits = [
            ("login_grace_s", self.login_grace_s),
            ("idle_limit_s", self.idle_limit_s),
            ("session_limit_s", self.session_limit_s),
        ];
        for (key, value) in limits {
            if value == 0 || value > LONGEST_NUMBER {
                wrong.push((
                    at("ssh", key),
                    format!("is {value}; give 1 to {LONGEST_NUMBER} seconds"),
                ));
            }
        }
        if self.login_limit_s == 0 || self.login_limit_s > LONGEST_LOGIN {
            wrong.push((
                at("ssh", "login_limit_s"),
                format!(
                    "is {}; give 1 to {LONGEST_LOGIN} seconds, the longest a login stands",
                    self.login_limit_s
                ),
            ));
        }
        let counts = [
            ("max_connections", self.max_connections),
            ("max_sessions", self.max_sessions),
            ("max_unauthenticated", self.max_unauthenticated),
            (
                "max_unauthenticated_per_address",
                self.max_unauthenticated_per_address,
            ),
            ("max_attempts", self.max_attempts),
            ("max_channels", self.max_channels),
        ];
        for (key, value) in counts {
            if value == 0 {
                wrong.push((at("ssh", key), "is 0, which lets nobody in".to_owned()));
            }
        }
        if self.exec_record_cap == 0 {
            wrong.push((
                at("ssh", "exec_record_cap"),
                "is 0, which keeps nothing of what commands print".to_owned(),
            ));
        }
    }
}

impl Web {
    /// The proxies whose word is taken. [`Config::read`] has refused what is none.
    pub(crate) fn trusted_proxies(&self) -> Vec<Network> {
        self.trusted_proxies
            .iter()
            .filter_map(|proxy| Network::parse(proxy).ok())
            .collect()
    }

    fn wrong(&self, wrong: &mut Vec<(Place, String)>) {
        for (key, url) in [
            ("customer_url", &self.customer_url),
            ("host_url", &self.host_url),
        ] {
            if let Some(sentence) = unusable_origin(url) {
                wrong.push((at("web", key), sentence));
            }
        }
        let origin = |url: &str| Url::parse(url).map(|url| url.origin());
        let same = match (origin(&self.customer_url), origin(&self.host_url)) {
            (Ok(customer), Ok(host)) => customer == host,
            (_, _) => self.customer_url == self.host_url,
        };
        if same {
            wrong.push((
                at("web", "host_url"),
                "is the customer origin too; the two sides never share one".to_owned(),
            ));
        }
        for proxy in &self.trusted_proxies {
            if Network::parse(proxy).is_err() {
                let named = proxy.escape_debug();
                wrong.push((
                    at("web", "trusted_proxies"),
                    format!("`{named}` is not an address or a network like `192.0.2.0/24`"),
                ));
            } else if proxy.ends_with("/0") {
                wrong.push((
                    at("web", "trusted_proxies"),
                    format!("`{proxy}` is everybody, and so anybody could say to be anywhere"),
                ));
            }
        }
    }
}

/// Why browsers could not use this as an origin with passkeys.
fn unusable_origin(url: &str) -> Option<String> {
    let none =
        || Some("is not an origin like `https://bastion.example`, without a path".to_owned());
    let Some((scheme, authority)) = url.split_once("://") else {
        return none();
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().is_ok()),
        None => (authority, true),
    };
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if host.is_empty() || !host.chars().all(usable) || !port {
        return none();
    }
    match scheme {
        "https" => {}
        "http" if host == "localhost" => {}
        "http" => {
            return Some(
                "is not `https://`; without it only `http://localhost` can use passkeys".to_owned(),
            );
        }
        _ => return none(),
    }
    // What the web side does with it when it starts.
    let Ok(parsed) = Url::parse(url) else {
        return none();
    };
    let Some(domain) = parsed.domain() else {
        return Some("is an address; passkeys are bound to a name".to_owned());
    };
    match WebauthnBuilder::new(domain, &parsed).and_then(WebauthnBuilder::build) {
        Ok(_) => None,
        Err(_) => Some("is nothing that passkeys can be bound to".to_owned()),
    }
}

fn at(section: &str, key: &str) -> Place {
    Place::default().key(section).key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = read("").unwrap();
        assert_eq!(config.ssh, Ssh::default());
        assert_eq!(config.policy().session_limit, Duration::from_hours(8));
        assert_eq!(config.ssh_destination(), "localhost -p 2222");
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a flat table, a row a mistake")]
    fn everything_wrong_is_said_with_file_line_and_key() {
        let rows = [
            ("[ssh]\nlisten = '127.0.0.1'", "line 2, `ssh.listen`: "),
            (
                "[ssh]\n\nlisten_on = 1",
                "line 3, `ssh.listen_on`: unknown field",
            ),
            (
                "[ssh]\nmax_channels = 0",
                "line 2, `ssh.max_channels`: is 0",
            ),
            ("[ssh]\nmax_channels = -1", "line 2, `ssh.max_channels`: "),
            (
                "[ssh]\nname = '-oProxyCommand=x'",
                "line 2, `ssh.name`: is not a host name",
            ),
            (
                "[ssh]\n\nalgorithms = 'weak'",
                "line 3, `ssh.algorithms`: unknown variant `weak`, expected `default` or `strict`",
            ),
            (
                "[ssh]\nreuse_second_factor_s = 901",
                "line 2, `ssh.reuse_second_factor_s`: is more",
            ),
            (
                "[ssh]\nlogin_limit_s = 86401",
                "line 2, `ssh.login_limit_s`: is 86401; give 1 to 86400",
            ),
            (
                "[web]\nhost_url = 'http://bastion.example'",
                "line 2, `web.host_url`: is not `https://`",
            ),
            (
                "[web]\nhost_url = 'https://b.example/x'",
                "line 2, `web.host_url`: is not an origin",
            ),
            (
                "[web]\nhost_url = 'bastion'",
                "line 2, `web.host_url`: is not an origin",
            ),
            (
                "[web]\nhost_url = 'http://localhost:8080'",
                "line 2, `web.host_url`: is the customer",
            ),
            (
                "[web]\ntrusted_proxies = [\n  '192.0.2.7',\n  'proxy.example',\n]",
                "line 2, `web.trusted_proxies`: `proxy.example` is not an address",
            ),
            (
                "[web]\ntrusted_proxies = ['0.0.0.0/0']",
                "line 2, `web.trusted_proxies`: `0.0.0.0/0` is everybody",
            ),
            (
                "[web]\ntrusted_proxies = '192.0.2.7'",
                "line 2, `web.trusted_proxies`: ",
            ),
            (
                "[policy]\nweakest_proof = 'sms'",
                "line 2, `policy.weakest_proof`: unknown variant",
            ),
            (
                "[policy]\ncountries = ['FR']",
                "line 2, `policy.countries`: cannot be set yet",
            ),
            (
                "database = 'mysql://me:secret@db'",
                "line 1, `database`: is neither",
            ),
            ("state = ''", "line 1, `state`: is empty"),
            ("recordings = ''", "line 1, `recordings`: is empty"),
            ("database = 'sqlite://'", "line 1, `database`: is neither"),
            ("database = 'sqlite:x.db'", "line 1, `database`: is neither"),
            (
                "[ssh]\nmax_sessions = 0",
                "line 2, `ssh.max_sessions`: is 0",
            ),
            (
                "[ssh]\nexec_record_cap = 0",
                "line 2, `ssh.exec_record_cap`: is 0",
            ),
            (
                "[web]\nhost_url = 'https://192.0.2.1'",
                "line 2, `web.host_url`: is an address",
            ),
            (
                "[web]\nhost_url = 'https://b.example:443'\ncustomer_url = 'https://b.example'",
                "line 2, `web.host_url`: is the customer",
            ),
            (
                "[ssh]\nlisten = '127.0.0.1:8080'",
                "`web.customer_listen`: is `127.0.0.1:8080`, where `ssh.listen` listens already",
            ),
            (
                "[web]\nhost_listen = '0.0.0.0:8080'",
                "line 2, `web.host_listen`: is `0.0.0.0:8080`, where `web.customer_listen`",
            ),
            ("state = ", "line 1: "),
        ];
        for (text, said) in rows {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("bastion.toml, ") && error.contains(said),
                "{text:?}: {error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn all_faults_come_at_once() {
        let faults = read("[ssh]\nmax_channels = 0\nidle_limit_s = 0").unwrap_err();
        assert_eq!(faults.0.len(), 2);
    }

    #[test]
    fn relative_paths_start_from_the_files_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bastion.toml");
        let with_database = |url: &str| {
            std::fs::write(&file, format!("database = '{url}'")).unwrap();
            Config::read(&file).unwrap().database_url()
        };
        assert_eq!(
            with_database("sqlite://st2/b.db"),
            format!("sqlite://{}/st2/b.db", directory.path().display())
        );
        assert_eq!(with_database("sqlite:///srv/b.db"), "sqlite:///srv/b.db");
        assert_eq!(with_database("postgres://db/b"), "postgres://db/b");
        std::fs::write(&file, "state = 'here'\nrecordings = '/elsewhere'").unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!(config.state, directory.path().join("here"));
        assert_eq!(config.recordings_path(), PathBuf::from("/elsewhere"));
        assert_eq!(
            config.database_url(),
            format!("sqlite://{}/here/bastion.db", directory.path().display())
        );
    }

    fn read(text: &str) -> Result<Config, Faults> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bastion.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file)
    }
}
