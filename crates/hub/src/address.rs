//! The rules for redirects, and for the addresses that a name may resolve to.
//!
//! A hub serves its files from other hosts, so the client follows redirects. It does not follow them out of
//! TLS, nor to addresses that only mean something on this network: a remote server could otherwise make the
//! client query a printer, or the metadata service of a cloud. The endpoint itself is the user's choice and
//! may be anywhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Returns the reason why a hub at `endpoint` may not redirect to `to`, or `Ok` if it may.
pub(crate) fn check_redirect(endpoint: &Uri, to: &Uri) -> Result<(), &'static str> {
    let is_https = to.scheme_str() == Some("https");
    if !is_https && to.scheme_str() != Some("http") {
        return Err("it is neither https nor http");
    }
    if to.authority().is_none_or(|it| it.as_str().contains('@')) {
        return Err("it has no plain host");
    }
    let same_host = host(to) == host(endpoint);
    let was_plain_before = same_host && endpoint.scheme_str() == Some("http");
    if !is_https && !was_plain_before {
        return Err("it leads to plain http");
    }
    match host(to).parse::<IpAddr>() {
        Ok(ip) if !same_host && !is_public(ip) => Err(PRIVATE),
        _ => Ok(()),
    }
}

const PRIVATE: &str = "it leads to a private, loopback or link-local address";

/// Returns the host in lower case, without the brackets of an IPv6 address.
pub(crate) fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// Returns true for an address on the open internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b); // carrier-grade NAT
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || shared
        || protocols
        || benchmarks)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let embedded = match segments {
        // Mapped, NAT64 and 6to4 addresses lead to the IPv4 address inside them.
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => Some((a, b)),
        _ => None,
    };
    if let Some((a, b)) = embedded {
        return is_public_v4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)));
    }
    // Global unicast is 2000::/3, of which 2001:db8::/32 is reserved for documentation.
    segments[0] & 0xe000 == 0x2000 && segments[..2] != [0x2001, 0xdb8]
}

/// Resolves names, and refuses those with a private address unless they are the endpoint or the proxy.
///
/// The check runs where the connection is made, so that a name cannot resolve to one address when it is
/// checked and to another when it is used.
#[derive(Debug)]
pub(crate) struct GuardedResolver {
    /// The host of the endpoint.
    pub(crate) trusted: String,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout);
        let found = found.map_err(|error| ureq::Error::Other(Box::new(NotResolved(error.to_string()))))?;
        let host = host(uri);
        let is_proxy = config.proxy().is_some_and(|proxy| proxy.host().eq_ignore_ascii_case(&host));
        if host != self.trusted && !is_proxy && found.iter().any(|it| !is_public(it.ip())) {
            return Err(ureq::Error::Other(Box::new(NotPublic(uri.to_string()))));
        }
        Ok(found)
    }
}

/// The error for a redirect to a name that has a private address.
#[derive(Debug)]
pub(crate) struct NotPublic(pub(crate) String);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PRIVATE)
    }
}

impl std::error::Error for NotPublic {}

impl NotPublic {
    pub(crate) const REASON: &str = PRIVATE;
}

/// The error for a name that does not resolve. Another attempt right away would not help.
#[derive(Debug)]
pub(crate) struct NotResolved(String);

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotResolved {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        let check = |ip: &str, want: bool| assert_eq!(is_public(ip.parse().unwrap()), want, "{ip}");
        for ip in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "223.255.255.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            check(ip, true);
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.170",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            check(ip, false);
        }
    }

    #[test]
    fn redirects_stay_in_tls_and_out_of_private_networks() {
        let check = |endpoint: &str, to: &str, want: Result<(), &str>| {
            let (from, uri) = (endpoint.parse().unwrap(), to.parse().unwrap());
            match (check_redirect(&from, &uri), want) {
                (Ok(()), Ok(())) => {}
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{endpoint} to {to}: {reason}"),
                (got, want) => panic!("{endpoint} to {to}: {got:?} instead of {want:?}"),
            }
        };
        let hub = "https://hub.example";
        check(hub, "https://hub.example/x", Ok(()));
        check(hub, "https://cdn.example/x", Ok(()));
        check(hub, "http://cdn.example/x", Err("plain http"));
        check(hub, "http://hub.example/x", Err("plain http"));
        check(hub, "https://169.254.169.254/x", Err("private"));
        check(hub, "https://10.0.0.1/x", Err("private"));
        check(hub, "https://[::1]/x", Err("private"));
        check(hub, "https://[::ffff:127.0.0.1]/x", Err("private"));
        check(hub, "https://me@cdn.example/x", Err("plain host"));
        check(hub, "ftp://cdn.example/x", Err("neither https nor http"));
        // An endpoint on a private address may redirect to itself, but not to its neighbours.
        let local = "http://127.0.0.1:8080";
        check(local, "http://127.0.0.1:8080/cdn/x", Ok(()));
        check(local, "http://127.0.0.2:8080/x", Err("plain http"));
        check(local, "https://127.0.0.2/x", Err("private"));
        check(local, "https://cdn.example/x", Ok(()));
        check("https://10.0.0.5", "https://10.0.0.5/x", Ok(()));
        check("https://10.0.0.5", "https://10.0.0.6/x", Err("private"));
    }
}
