//! How often which fault happens: chances in 10,000, drawn for each seed.

use coditect_harness::Random;

/// The chances of each fault, at each opportunity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// An operation takes a while.
    pub(crate) slow: u64,
    /// For how many milliseconds at most.
    pub(crate) slow_ms: u64,
    /// The node dies in the middle of an operation.
    pub(crate) crash: u64,
    /// The bus takes nothing and says so.
    pub(crate) publish_refused: u64,
    /// The bus takes some or all, and says that it is not sure.
    pub(crate) publish_unsure: u64,
    /// A message arrives twice.
    pub(crate) duplicate: u64,
    /// A message arrives late.
    pub(crate) late: u64,
    /// A notice to everybody reaches nobody.
    pub(crate) notice_lost: u64,
    /// An acknowledgement is lost on its way: the message comes again.
    pub(crate) ack_lost: u64,
    /// What a consumer holds goes back to the queue.
    pub(crate) severed: u64,
    /// The journal does nothing and says so.
    pub(crate) journal_refused: u64,
    /// The journal does it, and says that it is not sure.
    pub(crate) journal_unsure: u64,
    /// A renewal takes longer than the lease.
    pub(crate) renewal_stalls: u64,
    /// The registry does not answer.
    pub(crate) registry_refused: u64,
    /// The store does nothing and says so.
    pub(crate) store_refused: u64,
    /// Somebody else was faster, says the store.
    pub(crate) store_conflict: u64,
    /// The store commits or not, and says that it is not sure.
    pub(crate) store_unsure: u64,
}

impl Faults {
    /// Nothing but time passes.
    pub(crate) fn calm(random: &mut Random) -> Self {
        Self {
            slow: [0, 2_000, 9_000][random.below(3) as usize],
            slow_ms: 1 + random.below(20),
            ..Self::default()
        }
    }

    /// Draws what happens in this world: of each fault none, a little, or much.
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let mut some = |little: u64, much: u64| match random.below(5) {
            0 | 1 => 0,
            2 | 3 => little,
            _ => much,
        };
        Self {
            slow: some(1_000, 6_000),
            crash: some(15, 120),
            publish_refused: some(300, 2_500),
            publish_unsure: some(300, 2_500),
            duplicate: some(500, 3_000),
            late: some(500, 4_000),
            notice_lost: some(2_000, 6_000),
            ack_lost: some(500, 3_000),
            severed: some(200, 1_500),
            journal_refused: some(300, 2_000),
            journal_unsure: some(200, 1_500),
            renewal_stalls: some(200, 3_000),
            registry_refused: some(50, 500),
            store_refused: some(200, 1_500),
            store_conflict: some(500, 3_000),
            store_unsure: some(200, 1_500),
            slow_ms: 1 + random.below(150),
        }
    }
}
