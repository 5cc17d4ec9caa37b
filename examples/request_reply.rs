//! Request and reply: asking agents, with a deadline, and agents that ask each other.
//!
//! ```sh
//! cargo run -p coditect-examples --example request_reply -- [--bus amqp://…]
//! ```
//!
//! A shop asks what a lamp costs and is answered. It asks for a thing that nobody sells and is refused, with the agent's
//! own words. It asks a supplier who does not answer, and goes on when the deadline has passed. Last, it wants an offer:
//! that agent asks two others by itself and adds up what they say.
//!
//! ```text
//! price: a lamp costs 49.00
//! price: Failed: nobody sells a unicorn
//! supplier: DeadlineExceeded: no answer within 100ms, so we go on without
//! offer: 3 lamps for 152.00, delivery included
//! ```
//!
//! A `request` is a question and no more: nothing of it is kept, nothing is tried again. An agent of this process
//! answers it directly. The offer is a *run*, which is kept until it ends and whose tasks are tried again when they
//! fail; only in a run can an agent ask others (`TaskContext::request`), because a second attempt must meet the answers
//! that the first one got.
//!
//! With `--bus` there is RabbitMQ behind it, and the agents may live in other processes: the question then travels over the bus to whichever
//! of them is free, and the answer comes back under the question's correlation id. An answer that comes after the deadline
//! is dropped. The calls are the same.

use std::future::IntoFuture;
use std::time::Duration;

use anyhow::{Context, bail};
use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind};
use coditect_examples::say;
use serde::{Deserialize, Serialize};

// What can be asked: a capability with the types of question and answer, for the compiler to check.
const PRICE: Call<String, u32> = Call::new("price");
const DELIVERY: Call<u32, u32> = Call::new("delivery");
const SUPPLIER: Call<String, u32> = Call::new("supplier");
const OFFER: Call<Order, u32> = Call::new("offer");

#[derive(Serialize, Deserialize)]
struct Order {
    thing: String,
    pieces: u32,
}

/// Says what one piece costs, in cents.
async fn price(thing: String) -> Result<u32, AgentError> {
    match thing.as_str() {
        "lamp" => Ok(4_900),
        "chair" => Ok(12_500),
        _ => Err(AgentError::permanent(format!("nobody sells a {thing}"))),
    }
}

/// Says what the delivery of so many pieces costs, in cents.
async fn delivery(pieces: u32) -> Result<u32, AgentError> {
    Ok(200 + 100 * pieces)
}

/// Never answers, but notices when nobody waits any longer.
async fn supplier(context: TaskContext, _: String) -> Result<u32, AgentError> {
    context.cancelled().await;
    Err(AgentError::retryable("the supplier did not pick up"))
}

/// Asks two other agents at once, and gives its own slot up while it waits.
async fn offer(context: TaskContext, order: Order) -> Result<u32, AgentError> {
    let (price, delivery) = tokio::try_join!(
        context.request("price", &PRICE, order.thing).into_future(),
        context
            .request("delivery", &DELIVERY, order.pieces)
            .into_future(),
    )?;
    Ok(price * order.pieces + delivery)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = coditect_examples::bus::from_arguments();
    let runtime = Runtime::builder()
        .bus(bus.as_str())
        .agent(agent("price", price))
        .agent(agent("delivery", delivery))
        .agent(agent("supplier", supplier))
        .agent(agent("offer", offer))
        .start()
        .await
        .map_err(|error| bus.explain(error))?;

    let cents = runtime.request(&PRICE, "lamp".to_owned()).await?;
    say!("price: a lamp costs {}", money(cents));

    match runtime.request(&PRICE, "unicorn".to_owned()).await {
        Ok(cents) => bail!("a unicorn for {}", money(cents)),
        Err(error) => say!("price: {}", refusal(&error)?),
    }

    let patience = Duration::from_millis(100);
    let asked = runtime
        .request(&SUPPLIER, "lamp".to_owned())
        .deadline(patience)
        .await;
    match asked {
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
            say!(
                "supplier: {:?}: no answer within {patience:?}, so we go on without",
                error.kind()
            );
        }
        other => bail!("the supplier answered after all: {other:?}"),
    }

    let order = Order {
        thing: "lamp".to_owned(),
        pieces: 3,
    };
    let cents = runtime.run(&OFFER, order).await?;
    say!("offer: 3 lamps for {}, delivery included", money(cents));

    runtime.shutdown().await?;
    Ok(())
}

/// The kind of an error, which a program acts on, and the agent's words, which are for people.
fn refusal(error: &Error) -> anyhow::Result<String> {
    let failure = error.failure().context("no agent said this")?;
    Ok(format!("{:?}: {failure}", error.kind()))
}

fn money(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
