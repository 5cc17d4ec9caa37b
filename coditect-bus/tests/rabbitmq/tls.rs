//! `amqps://`: a broker with a certificate of a private authority, which wants one from its clients, too.

use std::path::Path;

use coditect_bus::{Error, ErrorKind, RabbitMqBus, RabbitMqBusBuilder};
use coditect_harness::{RabbitMq, required};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::{bus_of, consumer, next, send};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // Issuer and subject by the same name would make every certificate look self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Issues a certificate, and returns it and its key in PEM.
fn issue(authority: &Authority, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Starts a broker that listens to TLS only by this authority's leave, and returns its TLS port.
async fn broker(authority: &Authority, folder: &Path) -> Option<(RabbitMq, u16)> {
    let (certificate, key) = issue(authority, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let files = [
        ("ca", authority.pem()),
        ("server", certificate),
        ("key", key),
    ];
    for (name, pem) in files {
        std::fs::write(folder.join(name), pem).unwrap();
    }
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let folder = folder.display();
    let settings = [
        format!("listeners.ssl.1 = 127.0.0.1:{port}"),
        format!("ssl_options.cacertfile = {folder}/ca"),
        format!("ssl_options.certfile = {folder}/server"),
        format!("ssl_options.keyfile = {folder}/key"),
        "ssl_options.verify = verify_peer".to_owned(),
        "ssl_options.fail_if_no_peer_cert = true".to_owned(),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    Some((required(RabbitMq::private(&settings)).await?, port))
}

/// Connects and uses the bus, since a broker may refuse a certificate only after the handshake.
async fn try_out(builder: RabbitMqBusBuilder) -> Result<(), Error> {
    let bus = bus_of(builder.connect().await?).await;
    send(&bus, "secret").await;
    next(&mut consumer(&bus, 1).await).await.ack().await
}

#[tokio::test]
async fn only_certificates_of_the_authority_are_trusted_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let Some((_broker, port)) = broker(&ours, folder.path()).await else {
        return;
    };
    let client = || RabbitMqBus::builder(format!("amqps://guest:guest@localhost:{port}"));
    let (certificate, key) = issue(&ours, "agent", ExtendedKeyUsagePurpose::ClientAuth);

    let trusting = || client().with_ca_pem(ours.pem());
    try_out(trusting().with_client_certificate(certificate.clone(), key.clone()))
        .await
        .expect("both sides have what they want");

    let (forged, forged_key) = issue(&other, "agent", ExtendedKeyUsagePurpose::ClientAuth);
    let refused = [
        ("no client certificate", trusting()),
        (
            "another authority's client",
            trusting().with_client_certificate(forged, forged_key),
        ),
        (
            "an unknown server",
            client().with_client_certificate(certificate.clone(), key.clone()),
        ),
        (
            "another authority's server",
            client()
                .with_ca_pem(other.pem())
                .with_client_certificate(certificate, key),
        ),
    ];
    for (what, builder) in refused {
        let error = try_out(builder).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}");
    }
}
