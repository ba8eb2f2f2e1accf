//! Output as it happens, from a command that outlives its reader.
//!
//! Start a server (`make run`), then `cargo run -p execgate-client --example streaming`.

use execgate_client::{Client, Command, Error, Event};
use futures::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let session = client.session().await?;

    let count =
        Command::script("for i in 1 2 3; do echo $i; sleep 0.2; done").execution_id("count");
    let mut events = session.exec(count).await?;
    while let Some(event) = events.next().await {
        match event? {
            Event::Started(started) => println!("started {}", started.execution_id),
            Event::Output(output) => {
                println!("{} at {}", output.data.escape_ascii(), output.offset);
                // The reader goes away; the command runs on.
                break;
            }
            other => println!("{other:?}"),
        }
    }
    drop(events);

    let result = session.attach("count").await?.result().await?;
    println!("in all: {:?}", result.stdout_text());
    println!(
        "{:?} because {:?}",
        result.finished.outcome, result.finished.cause
    );

    session.close().await?;
    Ok(())
}
