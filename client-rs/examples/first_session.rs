//! A first session: state that stays, output as it happens, an honest end.
//!
//! Start a server (`make run`), then `cargo run -p execgate-client --example
//! first_session`.

use std::time::Duration;

use execgate_client::{Client, Command, Error, Event};
use futures::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let session = client.session().await?;

    session.run("cd /tmp; export GREETING=hello").await?;
    let result = session.run("echo $GREETING from $PWD").await?;
    print!("{}", result.stdout_text());

    let mut events = session
        .exec("for i in 1 2 3; do echo $i; echo e$i >&2; sleep 1; done")
        .await?;
    while let Some(event) = events.next().await {
        match event? {
            Event::Output(output) => {
                let text = String::from_utf8_lossy(&output.data);
                print!("{:?}: {text}", output.channel);
            }
            Event::Finished(finished) => println!("{:?}", finished.outcome),
            _ => {}
        }
    }

    let patience = Duration::from_secs(1);
    let slow = Command::script("echo waiting; sleep 60").timeout(patience);
    let result = session.run(slow).await?;
    println!(
        "timed out: {}, kept: {:?}",
        result.timed_out(),
        result.stdout
    );

    let closed = session.close().await?;
    println!("processes ended: {}", closed.ended_process_count);
    Ok(())
}
