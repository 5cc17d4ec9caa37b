//! A number is no document.

#![allow(dead_code, reason = "only its types matter")]

use coditect_core::{Call, Plan};

#[derive(serde::Serialize, serde::Deserialize)]
struct Doc {
    text: String,
}

const FETCH: Call<String, Doc> = Call::new("fetch");
const COUNT: Call<String, u64> = Call::new("count");
const SUMMARIZE: Call<Doc, String> = Call::new("summarize");
const MERGE: Call<Vec<Doc>, Doc> = Call::new("merge");
const COMPARE: Call<(Doc, String), u64> = Call::new("compare");

fn main() {
    let mut plan = Plan::builder();
    let count = plan.task("count", &COUNT, "some words".to_owned());
    plan.task("summary", &SUMMARIZE, count);
}
