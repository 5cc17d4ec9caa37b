//! The parts of a tuple are in the wrong order.

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
    let page = plan.task("page", &FETCH, "https://example.org".to_owned());
    let summary = plan.task("summary", &SUMMARIZE, &page);
    plan.task("compared", &COMPARE, (summary, page));
}
