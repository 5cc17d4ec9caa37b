//! What holds as soon as a runtime has started.

use std::future::IntoFuture;

use crate::ErrorKind;
use crate::prelude::*;

async fn echo(text: String) -> Result<String, AgentError> {
    Ok(text)
}

/// Many starts, because a view that is still filling is complete in time more often than not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_can_be_found_as_soon_as_the_runtime_has_started() {
    for _ in 0..200 {
        let builder = Runtime::builder()
            .agent(agent("echo@1.0.0", echo).with_name("first"))
            .agent(agent("echo@2.0.0", echo).with_name("second"));
        let runtime = builder.start().await.unwrap();
        assert_eq!(runtime.agents().len(), 2);
        assert!(runtime.agents().offers(&"echo@^2".parse().unwrap()));
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn the_highest_version_that_will_do_is_asked_in_whatever_order_agents_were_added() {
    async fn one(_: ()) -> Result<u32, AgentError> {
        Ok(1)
    }
    async fn two(_: ()) -> Result<u32, AgentError> {
        Ok(2)
    }
    for swapped in [false, true] {
        let (old, new) = (
            agent("number@1.9.0", one).with_name("old"),
            agent("number@2.0.0", two).with_name("new"),
        );
        let builder = Runtime::builder();
        let builder = if swapped {
            builder.agent(new).agent(old)
        } else {
            builder.agent(old).agent(new)
        };
        let runtime = builder.start().await.unwrap();
        for (requirement, expected) in [("number", 2), ("number@^1", 1), ("number@>=1", 2)] {
            let call: Call<(), u32> = call(requirement);
            assert_eq!(runtime.request(&call, ()).await.unwrap(), expected);
            assert_eq!(runtime.run(&call, ()).await.unwrap(), expected);
        }
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_goes_to_a_free_agent_before_a_busy_one() {
    let busy = agent("ask", |context: TaskContext, (): ()| async move {
        context.cancelled().await;
        Err::<u32, _>(AgentError::retryable("nobody let it finish"))
    });
    let free = agent("ask", |(): ()| async { Ok::<_, AgentError>(7) }).with_name("free");
    let builder = Runtime::builder().agent(busy.with_concurrency(1));
    let runtime = builder.agent(free).start().await.unwrap();
    let ask: Call<(), u32> = call("ask");
    let mut stuck = runtime.request(&ask, ()).into_future();
    assert!(futures::poll!(&mut stuck).is_pending());
    assert_eq!(runtime.request(&ask, ()).await.unwrap(), 7);
}

#[tokio::test]
async fn agents_of_one_name_are_refused_with_the_remedy() {
    let builder = Runtime::builder()
        .agent(agent("echo@1.0.0", echo))
        .agent(agent("echo@2.0.0", echo));
    let error = builder.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`echo`"), "{error}");
    assert!(error.to_string().contains("with_name"), "{error}");
}
