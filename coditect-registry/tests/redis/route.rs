//! Other ways to a server: TLS, sentinels, a cluster.

use std::slice;

use coditect_harness::{Redis, required};
use coditect_registry::{ErrorKind, RedisRegistryBuilder, Registry};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::support::*;

/// What everybody does with a registry.
pub(crate) async fn lives(builder: RedisRegistryBuilder) {
    let registry = builder.connect().await.unwrap();
    let mut watch = watch(&registry).await;
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    until_added(&mut watch, &registration.instance).await;
    renew(&registry, &registration).await.unwrap();
    let found = registry.find(&"work@^1".parse().unwrap()).await.unwrap();
    assert_eq!(sorted(found), slice::from_ref(&registration.instance));
    registry.deregister(&registration).await.unwrap();
    assert!(instances(&registry).await.is_empty());
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // One whose name is that of what it signs would seem to have signed itself.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key for a host.
    fn issue(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        (signed.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn tls_is_spoken_with_an_authority_of_ones_own() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("127.0.0.1");
    let options =
        Redis::options()
            .with_password("secret")
            .with_tls(authority.pem(), certificate, key);
    let Some(redis) = required(options.start()).await else {
        return;
    };
    assert!(redis.url().starts_with("rediss://"));
    lives(builder(redis.url()).with_ca_pem(authority.pem())).await;
    let file = redis.folder().await.unwrap().join("ca.pem");
    let url = format!("{}?cacertfile={}", redis.url(), file.display());
    lives(builder(url)).await;

    let stranger = builder(redis.url()).with_ca_pem(Authority::new().pem());
    let error = stranger.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let plain = redis.url().replace("rediss://", "redis://");
    let error = builder(plain).connect().await.unwrap_err();
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("127.0.0.1");
    let options = Redis::options()
        .with_tls(authority.pem(), certificate.clone(), key.clone())
        .with_setting("tls-auth-clients optional");
    let Some(redis) = required(options.start()).await else {
        return;
    };
    redis
        .cli(&["CONFIG", "SET", "tls-auth-clients", "yes"])
        .await
        .unwrap();
    let anonymous = builder(redis.url()).with_ca_pem(authority.pem());
    anonymous.clone().connect().await.unwrap_err();
    lives(anonymous.with_client_certificate(certificate, key)).await;
}

#[tokio::test]
async fn sentinels_name_the_master() {
    let Some(redis) = server().await else {
        return;
    };
    let sentinel = Redis::options().as_sentinel_of(&redis, "main");
    let sentinel = sentinel.start().await.unwrap();
    let place = sentinel.place();
    lives(builder(format!("redis+sentinel://{place}/main"))).await;
    lives(builder(format!(
        "redis+sentinel://127.0.0.1:1,{place}/main/3"
    )))
    .await;
    let error = builder(format!("redis+sentinel://{place}/other"))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_cluster_keeps_a_namespace_on_one_node() {
    let options = Redis::options().with_cluster();
    let Some(redis) = required(options.start()).await else {
        return;
    };
    let url = redis.url().replace("redis://", "redis+cluster://");
    lives(builder(&url)).await;

    let registry = connect(&url).await;
    let kept = registry.register(record("kept"), LONG).await.unwrap();
    let mut watch = watch(&registry).await;
    redis.restart_empty().await.unwrap();
    renew(&registry, &kept).await.unwrap();
    assert_eq!(instances(&registry).await, [kept.instance]);
    while next(&mut watch).await.is_some() {}
}
