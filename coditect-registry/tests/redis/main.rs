//! The registry on real Redis servers: the contract, and what servers, networks and strangers do to it.

mod support;

mod conformance {
    //! The contract, one test per rule.

    coditect_registry::registry_conformance!(real_time: super::support::subject);
}
