//! The contract of [`Registry`](crate::Registry) as tests that every backend must pass (feature `test-util`).
//!
//! There is one function per rule; [`registry_conformance!`](crate::registry_conformance) makes a test of each. Third
//! parties run them on their own backends:
//!
//! ```
//! use std::sync::Arc;
//! use coditect_registry::{MemoryRegistry, conformance::Subject};
//!
//! async fn subject() -> Subject {
//!     Subject { registry: Arc::new(MemoryRegistry::new()), watch_buffer: 1024 }
//! }
//!
//! mod conformance {
//!     coditect_registry::registry_conformance!(paused: super::subject);
//! }
//! # fn main() {}
//! ```
//!
//! A backend whose leases end by a server's clock says `real_time:` instead of `paused:`; the rules then wait for real,
//! a few seconds in all.

mod agents;
mod leases;
mod roles;
mod support;
mod verdicts;
mod watches;

pub use agents::*;
pub use leases::*;
pub use roles::*;
pub use support::Subject;
pub use verdicts::*;
pub use watches::*;

/// Makes one test of each rule, in the module where it stands.
///
/// The argument is a path to an `async fn` that makes a fresh, empty [`Subject`], or an `Option` of one: without it the
/// rule is left out, and the function says why. `tokio` must be a
/// (development) dependency with `macros` and, for `paused:`, `test-util`.
#[macro_export]
macro_rules! registry_conformance {
    (paused: $subject:path) => {
        $crate::registry_conformance!(@each $subject, #[tokio::test(start_paused = true)]);
    };
    (real_time: $subject:path) => {
        $crate::registry_conformance!(@each $subject, #[tokio::test]);
    };
    (@each $subject:path, #[$test:meta]) => {
        $crate::registry_conformance!(@rules $subject, #[$test],
            r1_a_registered_record_is_found
            r2_an_unrenewed_lease_expires_by_itself
            r2_watchers_are_told_of_expiry
            r3_renewal_extends_the_lease_and_stores_the_report
            r3_a_reason_goes_with_the_health_it_was_given_for
            r4_a_lost_registration_is_refused
            r5_fencing_tokens_grow
            r6_registering_again_replaces_the_same_instance
            r7_incarnations_coexist
            r7_an_exclusive_registration_replaces_older_ones
            r7_a_replaced_incarnation_may_return_once_the_newer_is_gone
            r8_update_replaces_the_record_without_extending_the_lease
            r9_deregister_is_immediate_and_idempotent
            r9_a_lost_registration_cannot_take_out_its_successor
            r10_find_matches_name_and_version
            r11_a_watch_begins_with_a_resync_and_tells_every_change
            r11_each_watch_is_told_everything
            r12_a_slow_watch_gets_a_resync
            r13_tenants_are_strangers
            r14_invalid_input_is_refused_and_changes_nothing
            r15_the_catalogue_lists_each_capability_once
            r16_a_verdict_is_told_and_shown_until_it_is_taken_back
            r16_a_verdict_lasts_as_long_as_the_registration
            r16_only_a_live_instance_can_be_judged
            r17_a_role_is_given_to_one_candidate
            r17_a_role_is_free_when_its_time_is_over
            r17_only_the_holder_can_resign
        );
    };
    (@rules $subject:path, #[$test:meta], $($rule:ident)*) => {
        $(
            #[$test]
            async fn $rule() {
                let subject: ::std::option::Option<$crate::conformance::Subject> =
                    $subject().await.into();
                if let Some(subject) = subject {
                    $crate::conformance::$rule(subject).await;
                }
            }
        )*
    };
}
