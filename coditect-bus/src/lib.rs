//! Message bus of CODITECT: envelopes, topics, queues, priorities, acknowledgement, dead letters.
