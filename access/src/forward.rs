//! Where connections through a target may go: the pairs of host and port that a plan lists.
//!
//! Names are compared as they are written, in canonical form: nothing is resolved here, so that
//! `localhost` and `127.0.0.1` are two different destinations, and what the target is asked for is
//! what the contact read. What is deliberately absent: ranges, wildcards in hosts, networks.

use crate::grant::Operation;
use crate::ids::printable;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most destinations that one plan lists.
pub const MOST: usize = 16;

const LISTED: &str = "a host name, an IPv4 address or an IPv6 address in brackets, `:`, and a port \
     from 1 to 65535 or `*`, as in `localhost:5432` or `[2001:db8::1]:443`";
const ASKED: &str = "a host name or an IP address, and a port from 1 to 65535";

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid destination: {rule}")]
pub struct ForwardError {
    text: String,
    rule: &'static str,
}

/// A destination as a plan lists it: `db.internal:5432`, `[2001:db8::1]:443`, `localhost:*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ForwardTo {
    host: Host,
    port: Ports,
}

/// Where one connection wants to go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Ports {
    Any,
    One(u16),
}

/// Canonical: lower case, no dot at the end, addresses in their shortest form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl ForwardTo {
    /// Takes what a person typed.
    pub fn parse(text: &str) -> Result<Self, ForwardError> {
        let read = || {
            let (host, port) = text.rsplit_once(':')?;
            let host = match host.strip_prefix('[') {
                Some(rest) => Host::v6(rest.strip_suffix(']')?)?,
                None => Host::parse(host)?,
            };
            let port = match port {
                "*" => Ports::Any,
                number => Ports::One(port_of(number)?),
            };
            Some(Self { host, port })
        };
        read().ok_or_else(|| ForwardError {
            text: printable(text),
            rule: LISTED,
        })
    }

    fn lists(&self, endpoint: &Endpoint) -> bool {
        self.host == endpoint.host
            && match self.port {
                Ports::Any => true,
                Ports::One(port) => port == endpoint.port,
            }
    }
}

impl Endpoint {
    /// Takes host and port as a client sends them (RFC 4254, 7.2): an IPv6 address without
    /// brackets.
    pub fn parse(host: &str, port: u32) -> Result<Self, ForwardError> {
        let read = || {
            let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
            let host = Host::v6(host).or_else(|| Host::parse(host))?;
            Some(Self { host, port })
        };
        read().ok_or_else(|| ForwardError {
            text: printable(&format!("{host}:{port}")),
            rule: ASKED,
        })
    }

    /// The host as a target is asked for it.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::V4(address) => address.to_string(),
            Host::V6(address) => address.to_string(),
        }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether a plan that lists these lists this one.
    pub fn is_listed(&self, listed: &BTreeSet<ForwardTo>) -> bool {
        listed.iter().any(|one| one.lists(self))
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Ok(address) = text.parse() {
            return Some(Self::V4(address));
        }
        is_name(&text).then_some(Self::Name(text))
    }

    fn v6(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::V6)
    }
}

/// Whether it is a host's name (RFC 1123, 2.1; `_` as many internal names have it). What the
/// libraries of targets would read as a number is none: `127.1`, `2130706433` and `0x7f000001`
/// are ways to write an address that nobody recognises.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    text.len() <= 253 && !number && text.split('.').all(label)
}

fn port_of(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl std::fmt::Display for ForwardTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Ports::Any => write!(f, "{}:*", self.host),
            Ports::One(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for ForwardTo {
    type Error = ForwardError;

    /// Takes what was kept, which is canonical.
    fn try_from(text: String) -> Result<Self, ForwardError> {
        let read = Self::parse(&text)?;
        if read.to_string() == text {
            Ok(read)
        } else {
            Err(ForwardError {
                text: printable(&text),
                rule: "it is kept in another form than this one",
            })
        }
    }
}

impl From<ForwardTo> for String {
    fn from(one: ForwardTo) -> Self {
        one.to_string()
    }
}

/// Reads a list of destinations as a person typed it: one a line, or between commas or spaces.
pub fn parse_list(text: &str) -> Result<BTreeSet<ForwardTo>, ForwardError> {
    text.split(|c: char| c.is_whitespace() || c == ',')
        .filter(|entry| !entry.is_empty())
        .map(ForwardTo::parse)
        .collect()
}

/// Refuses a list that a plan for `operations` cannot have.
pub(crate) fn check(
    listed: &BTreeSet<ForwardTo>,
    operations: &BTreeSet<Operation>,
) -> Result<(), Refusal> {
    if listed.len() > MOST {
        return Err(Refusal::new(
            "too_many_destinations",
            format!("a plan lists at most {MOST} destinations; split the work"),
        ));
    }
    if !listed.is_empty() && !operations.contains(&Operation::Forward) {
        return Err(Refusal::new(
            "destinations_without_forward",
            "destinations are listed but the operation `forward` is not planned; add it, or leave them out",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_to_the_letter_is_covered() {
        let listed = [
            "localhost:5432",
            "db.internal:*",
            "192.0.2.7:443",
            "[2001:db8::1]:443",
            "[::1]:*",
        ];
        let rows = [
            ("localhost", 5432, true),
            ("LocalHost", 5432, true),
            ("localhost.", 5432, true),
            ("localhost", 5433, false),
            ("localhost", 0, false),
            ("localhost", 5432 + 65_536, false),
            ("localhost.localdomain", 5432, false),
            ("127.0.0.1", 5432, false),
            ("::1", 5432, true),
            ("0:0:0:0:0:0:0:1", 22, true),
            ("::0001", 1, true),
            ("::1", 65_536, false),
            ("[::1]", 22, false),
            ("::ffff:127.0.0.1", 22, false),
            ("::1%lo", 22, false),
            ("db.internal", 1, true),
            ("DB.Internal.", 65_535, true),
            ("db.internal", 0, false),
            ("db.internal..", 80, false),
            ("db.internal.example", 80, false),
            ("xdb.internal", 80, false),
            ("db.internal\0.example", 80, false),
            ("db.internal ", 80, false),
            ("db", 80, false),
            ("*", 80, false),
            ("", 80, false),
            (".", 80, false),
            ("192.0.2.7", 443, true),
            ("192.0.2.007", 443, false),
            ("192.0.519", 443, false),
            ("3221225991", 443, false),
            ("0xc0000207", 443, false),
            ("::ffff:192.0.2.7", 443, false),
            ("2001:DB8::1", 443, true),
            ("2001:db8:0:0::1", 443, true),
            ("2001:db8::2", 443, false),
            ("2001:db8::1", 444, false),
        ];
        let listed = parse_list(&listed.join("\n")).unwrap();
        for (host, port, covered) in rows {
            let endpoint = Endpoint::parse(host, port);
            let is_listed = endpoint.is_ok_and(|endpoint| endpoint.is_listed(&listed));
            assert_eq!(is_listed, covered, "{host:?} {port}");
        }
    }

    #[test]
    fn what_is_listed_is_kept_in_one_form() {
        for (typed, kept) in [
            ("localhost:80", "localhost:80"),
            ("LOCALHOST.:80", "localhost:80"),
            ("localhost:*", "localhost:*"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("[2001:DB8:0:0:0::1]:1", "[2001:db8::1]:1"),
            ("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80"),
            ("my_host-1.x:22", "my_host-1.x:22"),
        ] {
            let read = ForwardTo::parse(typed).unwrap();
            assert_eq!(read.to_string(), kept);
            assert_eq!(ForwardTo::try_from(kept.to_owned()), Ok(read));
            let as_typed = ForwardTo::try_from(typed.to_owned());
            assert_eq!(as_typed.is_ok(), typed == kept, "{typed}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused_and_named() {
        let long = format!("{}:80", "a".repeat(64));
        let longer = format!("{}:80", ["a"; 128].join("."));
        for bad in [
            "",
            ":",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:00",
            "localhost:080",
            "localhost:+80",
            "localhost:-1",
            "localhost:65536",
            "localhost:80-90",
            "localhost:80:81",
            "localhost:**",
            "*:80",
            "*:*",
            "*.internal:80",
            "10.0.0.0/8:80",
            "10.0.0.256:80",
            "127.1:80",
            "2130706433:80",
            "0x7f000001:80",
            "a.0x1:80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "::1]:80",
            "[127.0.0.1]:80",
            "[localhost]:80",
            "[fe80::1%eth0]:80",
            "user@host:80",
            "http://host:80",
            "-host:80",
            "host-:80",
            "a..b:80",
            ".:80",
            "hôte:80",
            "host\0:80",
            "host\u{202e}:80",
            &long,
            &longer,
        ] {
            let error = ForwardTo::parse(bad).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{}`", printable(bad))),
                "{error}"
            );
        }
        let error = parse_list("localhost:80\nnot a port")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("`not` is not"), "{error}");
    }

    #[test]
    fn a_list_says_each_destination_once() {
        let read = parse_list(" localhost:80\r\nLOCALHOST:80, localhost.:80\n\nb:1 ").unwrap();
        let kept: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["b:1", "localhost:80"]);
    }

    #[test]
    fn a_list_is_bounded_and_is_nothing_without_its_operation() {
        let list = |count: usize| {
            (1..=count).map(|port| ForwardTo {
                host: Host::Name("h".to_owned()),
                port: Ports::One(u16::try_from(port).unwrap()),
            })
        };
        let forward = BTreeSet::from([Operation::Shell, Operation::Forward]);
        let shell = BTreeSet::from([Operation::Shell]);
        let code =
            |count, operations| check(&list(count).collect(), operations).map_err(|r| r.code);
        assert_eq!(code(0, &shell), Ok(()));
        assert_eq!(code(0, &forward), Ok(()));
        assert_eq!(code(MOST, &forward), Ok(()));
        assert_eq!(code(MOST + 1, &forward), Err("too_many_destinations"));
        assert_eq!(code(1, &shell), Err("destinations_without_forward"));
    }
}
