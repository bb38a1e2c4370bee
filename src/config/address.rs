//! The address that clients are told, and the one that the listener binds to.
//!
//! *Which core*: any. *Invariants*: an [`Advertised`] is one that a client can connect to from somewhere: no wildcard, no port twice.
//! *Not here*: DNS. A name is not looked up: it may be known only where the clients are.
//! *Why so strict*: a wrong advertised address works for the first request and for none after it, far from its cause.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// If it is not the listener's own (behind a port that is forwarded).
    pub port: Option<u16>,
}

const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Advertised, String> {
        let (host, port) = split(text)?;
        let advertised = Advertised { host: host.into(), port };
        match advertised.ip() {
            Some(ip) => check_ip(ip)?,
            None => check_name(host)?,
        }
        Ok(advertised)
    }
}

impl Advertised {
    /// Only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        let name = self.host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Where the listener binds unless it is told: to loopback if clients are told a loopback name, else to all interfaces.
    pub fn default_bind(&self) -> IpAddr {
        match self.ip() {
            Some(ip) if ip.is_loopback() => ip,
            Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            None if self.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            Some(IpAddr::V4(_)) | None => Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// The host, if it is an address; an IPv4 one in IPv6's clothes as the former.
    fn ip(&self) -> Option<IpAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }
}

/// As it is written: with brackets around an IPv6 address that a port follows.
impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

fn split(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.is_empty() {
        return Err("it is empty; clients need a name or an address to connect to".into());
    }
    if text.contains("://") {
        return Err("give the host alone, without a protocol before it".into());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else { return Err("a bracket is open".into()) };
        host.parse::<Ipv6Addr>().map_err(|_| format!("{host} is no IPv6 address"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse_port(port)?))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("{after} follows the bracket where only a port may")),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Err("a port may follow the host once, not twice".into()),
        Some((host, port)) => Ok((host, Some(parse_port(port)?))),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("{text:?} is no port (1 to 65535)")),
    }
}

fn check_ip(ip: IpAddr) -> Result<(), String> {
    let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if ip.is_unspecified() {
        return Err(format!(
            "{ip} stands for every interface, and no client can connect to it; give the name or address by which \
             clients reach this machine (--bind-addr says where to listen)"
        ));
    }
    if ip.is_multicast() || is_broadcast {
        return Err(format!("{ip} is not the address of one machine"));
    }
    Ok(())
}

fn check_name(host: &str) -> Result<(), String> {
    if host == "*" {
        return Err("* stands for every interface, and no client can connect to it".into());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > HOST_BYTES_MAX {
        return Err(format!("a host name has at most {HOST_BYTES_MAX} characters"));
    }
    // Underscores are no part of host names, but of names that container networks give.
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(is_label) {
        return Err(format!("{host:?} is neither a host name nor an address"));
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{host} is no address (four numbers up to 255)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Advertised>().expect_err(text)
    }

    /// Lesson 83.
    #[test]
    fn a_wildcard_is_refused() {
        for text in ["0.0.0.0", "::", "[::]:9092", "0.0.0.0:9092", "*", "::ffff:0.0.0.0", "[0:0:0:0:0:0:0:0]"] {
            assert!(refused(text).contains("no client can connect to it"), "{text}");
        }
    }

    /// Lesson 83.
    #[test]
    fn a_malformed_address_is_refused_with_its_fault() {
        assert!(refused("").contains("empty"));
        assert!(refused("host:9092:9092").contains("once, not twice"));
        assert!(refused("10.0.0.1:9092:9092").contains("once, not twice"));
        assert!(refused("[::1]:9092:9092").contains("is no port"));
        assert!(refused("PLAINTEXT://host:9092").contains("without a protocol"));
        for text in ["host:", "host:0", "host:65536", "host:+1", "host:9 2"] {
            assert!(refused(text).contains("is no port"), "{text}");
        }
        for text in ["a b", "a..b", "-a", "a-", ".", ":9092", "a/b", "ho\u{308}st", "[host]:1", "[::1", "[::1]x"] {
            refused(text);
        }
        refused(&"a".repeat(64));
        refused(&"a.".repeat(128));
        for text in ["256.1.1.1", "1.2.3", "1234", "10.0.0.1.5"] {
            assert!(refused(text).contains("is no address"), "{text}");
        }
        for text in ["224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(refused(text).contains("one machine"), "{text}");
        }
    }

    #[test]
    fn names_and_addresses_pass_and_print_as_they_were_written() {
        for text in
            ["localhost", "broker-1.example.com", "broker_1", "10.0.0.1", "::1", "host:9092", "[fe80::1]:9092", "a."]
        {
            assert_eq!(text.parse::<Advertised>().expect(text).to_string(), text);
        }
        let forwarded: Advertised = "[2001:db8::1]:19092".parse().expect("valid");
        assert_eq!(forwarded, Advertised { host: "2001:db8::1".into(), port: Some(19092) });
    }

    #[test]
    fn the_listener_binds_to_loopback_while_the_advertised_host_is_loopback() {
        for (text, bind) in [
            ("localhost", "127.0.0.1"),
            ("LOCALHOST.", "127.0.0.1"),
            ("a.localhost", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.2:99", "127.0.0.2"),
            ("::1", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("10.0.0.1", "0.0.0.0"),
            ("broker", "0.0.0.0"),
            ("localhost.example.com", "0.0.0.0"),
            ("2001:db8::1", "::"),
        ] {
            assert_eq!(text.parse::<Advertised>().expect("valid").default_bind().to_string(), bind, "{text}");
        }
    }
}
