//! The address a request comes from, for limits, lockouts and traces.
//!
//! The proxies that speak TLS for the origin (`Web::trusted_proxies`) are believed when they say
//! whom they speak for; nobody else is.

use crate::error::Problem;
use crate::site::Site;
use access::operator::Network;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where the person is, as far as can be told.
#[derive(Clone, Copy)]
pub(crate) struct Source(pub(crate) IpAddr);

impl FromRequestParts<Arc<Site>> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let ConnectInfo(peer) =
            peer.ok_or_else(|| Problem::broken("the router is served without addresses"))?;
        let proxies = &site.web.trusted_proxies;
        Ok(Self(of(peer.ip(), &parts.headers, proxies)))
    }
}

/// Each proxy adds, at the end, the address it has seen itself. So from the end back to the first
/// that is no proxy of ours: what stands before that one is hearsay.
fn of(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let mut seen = peer.to_canonical();
    let lists = headers.get_all(FORWARDED_FOR).iter();
    let mut said = lists.rev().flat_map(|list| {
        let list = list.to_str().unwrap_or_default();
        list.rsplit(',').map(|one| one.trim().parse::<IpAddr>())
    });
    while proxies.iter().any(|proxy| proxy.contains(seen)) {
        let Some(Ok(address)) = said.next() else {
            break;
        };
        seen = address.to_canonical();
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_proxies_are_believed() {
        let here: &[&str] = &["127.0.0.0/8", "::1"];
        let apart: &[&str] = &["10.0.0.7", "2001:db8::/64"];
        let rows: [(&[&str], &str, &[&str], &str); 14] = [
            (here, "127.0.0.1", &[], "127.0.0.1"),
            (here, "127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (here, "::1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (
                here,
                "127.0.0.1",
                &["203.0.113.9", "198.51.100.7"],
                "198.51.100.7",
            ),
            (here, "127.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            (here, "127.0.0.1", &["nobody"], "127.0.0.1"),
            (here, "127.0.0.1", &["198.51.100.7, nobody"], "127.0.0.1"),
            (here, "192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            (apart, "127.0.0.1", &["198.51.100.7"], "127.0.0.1"),
            (apart, "10.0.0.7", &["198.51.100.7"], "198.51.100.7"),
            (apart, "::ffff:10.0.0.7", &["198.51.100.7"], "198.51.100.7"),
            (apart, "2001:db8::9", &["198.51.100.7"], "198.51.100.7"),
            (
                apart,
                "10.0.0.7",
                &["203.0.113.9, 198.51.100.7, 2001:db8::9"],
                "198.51.100.7",
            ),
            (apart, "10.0.0.8", &["198.51.100.7"], "10.0.0.8"),
        ];
        for (proxies, peer, said, expected) in rows {
            let proxies: Vec<Network> = proxies
                .iter()
                .map(|text| Network::parse(text).unwrap())
                .collect();
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            let expected: IpAddr = expected.parse().unwrap();
            assert_eq!(
                of(peer.parse().unwrap(), &headers, &proxies),
                expected,
                "{peer} {said:?}"
            );
        }
    }
}
