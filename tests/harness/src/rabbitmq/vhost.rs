//! A place on a RabbitMQ server for one test, and what an operator or a stranger can do there.

use serde_json::{Value, json};

use super::RabbitMq;
use crate::Error;
use crate::http::{base64, part};

/// A vhost that belongs to one test.
#[derive(Debug)]
pub struct Vhost<'a> {
    broker: &'a RabbitMq,
    name: String,
}

impl<'a> Vhost<'a> {
    pub(super) fn new(broker: &'a RabbitMq, name: String) -> Self {
        Self { broker, name }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.url_through(self.broker.place())
    }

    /// Its address by way of another place: that of a [`Relay`](crate::Relay).
    pub fn url_through(&self, place: impl std::fmt::Display) -> String {
        self.broker.url_of(&place.to_string(), &self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub fn broker(&self) -> &'a RabbitMq {
        self.broker
    }

    /// Closes the connections to this vhost, and returns how many there were.
    pub async fn close_connections(&self) -> Result<u64, Error> {
        let condition = format!(
            "rabbit_networking:connection_info(C, [vhost]) =:= [{{vhost, <<\"{}\">>}}]",
            self.name
        );
        let path = format!("/api/vhosts/{}/connections", self.name);
        self.broker.close_connections_where(&condition, &path).await
    }

    /// Declares a durable queue with the given arguments: `json!({"x-queue-type": "quorum"})`.
    pub async fn declare_queue(&self, queue: &str, arguments: Value) -> Result<(), Error> {
        let body = json!({"durable": true, "auto_delete": false, "arguments": arguments});
        self.send("PUT", &self.queue(queue), Some(&body)).await
    }

    /// Deletes a queue.
    pub async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        self.send("DELETE", &self.queue(queue), None).await
    }

    /// Puts any bytes into a queue, with any properties (`json!({"headers": {…}, "delivery_mode": 2})`).
    pub async fn publish(
        &self,
        queue: &str,
        properties: Value,
        payload: &[u8],
    ) -> Result<(), Error> {
        let path = format!("/api/exchanges/{}/amq.default/publish", self.name);
        let body = json!({
            "properties": properties,
            "routing_key": queue,
            "payload": base64(payload),
            "payload_encoding": "base64",
        });
        let answer = self.broker.manage("POST", &path, Some(&body)).await?;
        match answer["routed"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(Error::failed(format!("no queue {queue} in {}", self.name))),
        }
    }

    /// Takes up to `count` messages out of a queue, as the management API shows them: `payload`, `properties`, ….
    pub async fn take(&self, queue: &str, count: usize) -> Result<Vec<Value>, Error> {
        let path = format!("{}/get", self.queue(queue));
        let body = json!({"count": count, "ackmode": "ack_requeue_false", "encoding": "auto"});
        match self.broker.manage("POST", &path, Some(&body)).await? {
            Value::Array(messages) => Ok(messages),
            other => Err(Error::failed(format!("no list of messages: {other}"))),
        }
    }

    /// How many messages wait in a queue for a consumer. Exact on a private server; a given one knows it with a delay of
    /// some seconds.
    pub async fn depth(&self, queue: &str) -> Result<u64, Error> {
        if !self.broker.is_private() {
            let state = self.broker.manage("GET", &self.queue(queue), None).await?;
            let ready = state["messages_ready"].as_u64();
            return ready.ok_or_else(|| Error::failed(format!("no depth of {queue}")));
        }
        // Not from the statistics, which for a quorum queue are some seconds old.
        let expression = format!(
            "case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{}\">>)) of \
             {{ok, Q}} -> {{ok, N, _}} = rabbit_amqqueue:stat(Q), N; E -> E end.",
            self.name, queue
        );
        let printed = self.broker.eval(&expression).await?;
        let depth = printed.trim().parse();
        depth.map_err(|_| Error::failed(format!("the depth of {queue}: {printed}")))
    }

    /// The names of all queues, sorted.
    pub async fn queues(&self) -> Result<Vec<String>, Error> {
        let path = format!("/api/queues/{}?columns=name", self.name);
        let listed = self.broker.manage("GET", &path, None).await?;
        let queues = listed.as_array().into_iter().flatten();
        let names = queues.filter_map(|queue| queue["name"].as_str());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Deletes the vhost with all that is in it, under the feet of whoever is connected.
    pub async fn delete(&self) -> Result<(), Error> {
        let path = format!("/api/vhosts/{}", self.name);
        self.send("DELETE", &path, None).await
    }

    fn queue(&self, queue: &str) -> String {
        format!("/api/queues/{}/{}", self.name, part(queue))
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(), Error> {
        self.broker.manage(method, path, body).await.map(drop)
    }
}
