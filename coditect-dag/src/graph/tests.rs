//! Tests of the graph as a whole.
