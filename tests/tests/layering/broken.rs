//! Each rule tried on a small house that breaks it.

use super::*;

/// A small house in good order, for the rules to be tried on.
fn house() -> Vec<Package> {
    let package = |name: &str, on: &[&str]| Package {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        edition: "2024".to_owned(),
        rust_version: Some("1.90".to_owned()),
        license: Some("MIT OR Apache-2.0".to_owned()),
        description: Some("Something.".to_owned()),
        manifest_path: PathBuf::new(),
        dependencies: on.iter().map(|name| arrow(name, false)).collect(),
        features: BTreeMap::from([("default".to_owned(), Vec::new())]),
    };
    let mut packages: Vec<_> = LEAVES.iter().map(|leaf| package(leaf, &[])).collect();
    packages.push(package(CORE, &LEAVES));
    packages.push(package("coditect-tests", &[CORE]));
    packages.push(package(HARNESS, &[]));
    for user in ["coditect-bus", CORE, "coditect-tests"] {
        let mut arrow = arrow(HARNESS, false);
        arrow.kind = Some("dev".to_owned());
        named(&mut packages, user).dependencies.push(arrow);
    }
    packages
}

fn arrow(to: &str, optional: bool) -> Dependency {
    Dependency {
        name: to.to_owned(),
        kind: None,
        optional,
        path: Some(PathBuf::from(to)),
    }
}

fn named<'a>(packages: &'a mut [Package], name: &str) -> &'a mut Package {
    packages
        .iter_mut()
        .find(|package| package.name == name)
        .unwrap()
}

#[test]
fn a_house_in_good_order_breaks_no_rule() {
    let house = house();
    assert_nothing_breaks(&wrong_arrows(&house));
    assert_nothing_breaks(&without_a_place(&house));
    assert_nothing_breaks(&wrong_features(&house));
    assert_nothing_breaks(&different_from_the_rest(&house));
}

#[test]
fn a_wrong_arrow_is_found() {
    for (from, to) in [
        ("coditect-bus", "coditect-state"),
        ("coditect-dag", CORE),
        ("coditect-dag", "coditect-state"),
        (CORE, "coditect-tests"),
        ("coditect-tests", "coditect-bus"),
        ("coditect-registry", HARNESS),
        (HARNESS, "coditect-bus"),
        (HARNESS, CORE),
    ] {
        let mut house = house();
        named(&mut house, from).dependencies.push(arrow(to, false));
        let expected = format!("{from} must not depend on {to}");
        assert_eq!(wrong_arrows(&house), [expected]);
    }
}

#[test]
fn the_optional_arrow_is_drawn_by_its_feature_alone() {
    let (from, to, feature) = PERSISTENT;
    let mut house = house();
    let dag = named(&mut house, from);
    dag.dependencies.push(arrow(to, true));
    let entries = vec![format!("dep:{to}")];
    dag.features.insert(feature.to_owned(), entries.clone());
    assert_nothing_breaks(&wrong_arrows(&house));

    named(&mut house, from)
        .features
        .insert("default".to_owned(), entries);
    assert_eq!(wrong_arrows(&house).len(), 1);
}

#[test]
fn a_crate_without_a_place_and_a_leaf_that_is_gone_are_found() {
    let mut house = house();
    named(&mut house, "coditect-bus").name = "coditect-common".to_owned();
    assert_eq!(
        without_a_place(&house),
        [
            "coditect-common has no place in the house",
            "coditect-common is a name that says nothing",
            "coditect-bus is missing",
        ]
    );
    named(&mut house, CORE)
        .dependencies
        .retain(|arrow| arrow.name != LEAVES[5]);
    assert_eq!(without_a_place(&house).len(), 4);
}

#[test]
fn a_wrong_feature_is_found() {
    let mut house = house();
    let entries = vec!["dep:lapin".to_owned()];
    let features = &mut named(&mut house, CORE).features;
    features.insert("rabbitmq".to_owned(), entries);
    features.insert("fast".to_owned(), vec!["coditect-bus/fast".to_owned()]);
    assert_eq!(
        wrong_features(&house),
        [
            "coditect-core has a feature fast",
            "feature rabbitmq of coditect-core does more than forward",
        ]
    );
}

#[test]
fn a_package_that_goes_its_own_way_is_found() {
    let mut house = house();
    named(&mut house, "coditect-dag").edition = "2021".to_owned();
    named(&mut house, CORE).rust_version = None;
    named(&mut house, CORE).description = None;
    assert_eq!(different_from_the_rest(&house).len(), 3);

    let manifest = r#"
        [dependencies]
        serde.workspace = true
        tokio = "1"
        [dev-dependencies]
        tower = { workspace = true, features = ["util"] }
        [target.'cfg(unix)'.build-dependencies]
        cc = { version = "1" }
    "#;
    assert_eq!(
        not_from_the_workspace("x", &manifest.parse().unwrap()),
        [
            "x has lints of its own",
            "x chooses its own tokio in dependencies",
            "x chooses its own cc in build-dependencies",
        ]
    );
}
