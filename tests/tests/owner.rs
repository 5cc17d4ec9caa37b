//! What the owner of a partition promises, whoever owned it before and whatever it is sent.

#[path = "owner/aside.rs"]
mod aside;
#[path = "owner/ending.rs"]
mod ending;
#[path = "owner/former.rs"]
mod former;
#[path = "owner/moved.rs"]
mod moved;
#[path = "owner/outcome.rs"]
mod outcome;
#[path = "owner/slots.rs"]
mod slots;
#[path = "owner/takeover.rs"]
mod takeover;

mod stage;
