//! Where Redis is: one server, the master that sentinels name, or a cluster.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, ProtocolVersion, RedisResult, TlsCertificates, TlsMode, Value,
};

use super::error::invalid;
use crate::Error;

/// A place to connect to and how to enter. Its `Debug` and `Display` never show credentials.
#[derive(Clone)]
pub(super) struct Address {
    /// `host:port` of every node that was named.
    at: String,
    route: Route,
    nodes: Vec<ConnectionInfo>,
    tls: Option<TlsCertificates>,
}

#[derive(Clone)]
enum Route {
    Direct,
    Sentinel(String),
    Cluster,
}

/// A connection of either kind; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }
}

/// The forms that a URL may have, for the error that says so.
const FORMS: &str = "url is none of redis[s]://[user:password@]host[:port][/database], \
     redis[s]+sentinel://[user:password@]host:port[,host:port]/master[/database], \
     redis[s]+cluster://[user:password@]host:port[,host:port]";

impl Address {
    pub(super) fn parse(url: &str, tls: Option<TlsCertificates>) -> Result<Self, Error> {
        // The parser's own words may repeat the URL, and with it the password.
        let wrong = || invalid(FORMS);
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (scheme, route) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(scheme, "redis" | "rediss") {
            return Err(wrong());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let (route, database) = match route {
            "" if !hosts.contains(',') => (Route::Direct, path),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(wrong());
                }
                (Route::Sentinel(master.to_owned()), database)
            }
            "cluster" if matches!(path, "" | "0") => (Route::Cluster, ""),
            _ => return Err(wrong()),
        };
        let node = |host: &str| {
            if host.is_empty() {
                return Err(wrong());
            }
            let url = format!("{scheme}://{login}{host}/{database}");
            let node = url.into_connection_info().map_err(|_| wrong())?;
            // Answers have another form in each version of the protocol.
            let settings = node.redis_settings().clone();
            Ok(node.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2)))
        };
        let nodes = hosts.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        if tls.is_some() && scheme == "redis" {
            return Err(invalid(
                "certificates are given, but the url is not rediss://",
            ));
        }
        let places: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        let address = Self {
            at: places.join(", "),
            route,
            nodes,
            tls,
        };
        if scheme == "rediss" {
            // An application may have chosen another one for the whole process; that one serves as well.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            address
                .client(address.first())
                .map_err(|source| invalid("certificates are no valid PEM").with_source(source))?;
        }
        Ok(address)
    }

    /// Opens a connection whose every answer must come within `response`; connecting itself is not bounded here.
    pub(super) async fn connect(&self, response: Duration) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(response))
            .set_connection_timeout(None);
        match &self.route {
            Route::Direct => {
                let client = self.client(self.first())?;
                let opened = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Connection::Node(opened.await?))
            }
            Route::Sentinel(master) => {
                let mut sentinels = self.sentinels(master)?;
                let opened = sentinels.get_async_connection_with_config(&config);
                Ok(Connection::Node(opened.await?))
            }
            Route::Cluster => {
                let mut builder = ClusterClient::builder(self.nodes.clone())
                    // For redirections; all else is repeated by the caller, who knows until when it makes sense.
                    .retries(3)
                    .response_timeout(response);
                if let Some(tls) = &self.tls {
                    builder = builder.certs(tls.clone());
                }
                let cluster = builder.build()?.get_async_connection().await?;
                Ok(Connection::Cluster(cluster))
            }
        }
    }

    fn first(&self) -> &ConnectionInfo {
        &self.nodes[0]
    }

    fn client(&self, node: &ConnectionInfo) -> RedisResult<Client> {
        match &self.tls {
            Some(tls) => Client::build_with_tls(node.clone(), tls.clone()),
            None => Client::open(node.clone()),
        }
    }

    /// The login and the database are those of the server; sentinels are asked without a login.
    fn sentinels(&self, master: &str) -> RedisResult<SentinelClient> {
        let places = self.nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(places, master, SentinelServerType::Master)?;
        let settings = self.first().redis_settings();
        builder = builder.set_client_to_redis_db(settings.db());
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if matches!(self.first().addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(tls) = &self.tls {
            builder = builder
                .set_client_to_redis_certificates(tls.clone())
                .set_client_to_sentinel_certificates(tls.clone());
        }
        builder.build()
    }
}

/// Puts certificates into the form of the driver.
pub(super) fn certificates(
    ca: Option<&str>,
    identity: Option<&(Vec<u8>, Vec<u8>)>,
) -> Option<TlsCertificates> {
    if ca.is_none() && identity.is_none() {
        return None;
    }
    Some(TlsCertificates {
        client_tls: identity.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.clone(),
        }),
        root_cert: ca.map(|pem| pem.as_bytes().to_vec()),
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, Error> {
        Address::parse(url, None)
    }

    #[test]
    fn each_form_of_address_is_read() {
        let direct = parse("redis://me:a%40b@cache:7000/3").unwrap();
        assert!(matches!(direct.route, Route::Direct));
        assert_eq!(direct.to_string(), "cache:7000");
        let settings = direct.first().redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("me"), Some("a@b"), 3)
        );
        assert_eq!(parse("redis://cache").unwrap().to_string(), "cache:6379");

        let sentinel = parse("rediss+sentinel://:pw@a:1,b:2/main/4").unwrap();
        assert!(matches!(&sentinel.route, Route::Sentinel(name) if name == "main"));
        assert_eq!(sentinel.to_string(), "a:1, b:2");
        assert_eq!(sentinel.first().redis_settings().db(), 4);

        let cluster = parse("redis+cluster://a:1,b:2").unwrap();
        assert!(matches!(cluster.route, Route::Cluster));
        assert_eq!(cluster.nodes.len(), 2);
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for wrong in [
            "",
            "redis",
            "amqp://me:secret@x",
            "redis://me:secret@",
            "redis://me:secret@a:port",
            "redis://me:secret@a:1,b:2",
            "redis+sentinel://me:secret@a:1",
            "redis+cluster://me:secret@a:1/3",
            "redis+other://me:secret@a:1",
        ] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{wrong}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn credentials_are_shown_nowhere() {
        let address = parse("redis+sentinel://me:secret@a:1/main").unwrap();
        for text in [format!("{address:?}"), address.to_string()] {
            assert!(!text.contains("secret") && !text.contains("me"), "{text}");
        }
    }

    #[test]
    fn certificates_are_checked_before_anything_is_connected() {
        let broken = certificates(Some("no pem"), Some(&(b"x".to_vec(), b"y".to_vec())));
        let error = Address::parse("rediss://a", broken.clone()).unwrap_err();
        assert!(error.to_string().contains("PEM"), "{error}");
        let error = Address::parse("redis://a", broken).unwrap_err();
        assert!(error.to_string().contains("rediss://"), "{error}");
    }
}
