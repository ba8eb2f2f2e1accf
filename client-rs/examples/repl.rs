//! Talking to a program that reads its standard input.
//!
//! Start a server (`make run`), then `cargo run -p execgate-client --example repl`.

use execgate_client::{Client, Command, Error, Event};
use futures::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let session = client.session().await?;

    // Everything at once:
    let sorted = Command::argv(["sort", "-n"]).stdin("10\n9\n8\n");
    print!("{}", session.run(sorted).await?.stdout_text());

    // Question and answer:
    let doubler = "while read n; do echo $((n * 2)); done";
    let calculator = Command::argv(["sh", "-c", doubler]).open_stdin();
    let mut events = session.exec(calculator).await?;
    let mut questions = ["21\n", "700\n"].into_iter();
    events.write_stdin("1\n").await?;
    while let Some(event) = events.next().await {
        match event? {
            Event::Output(answer) => {
                print!("{}", String::from_utf8_lossy(&answer.data));
                match questions.next() {
                    Some(question) => events.write_stdin(question).await?,
                    None => events.close_stdin().await?,
                };
            }
            Event::Finished(finished) => println!("{:?}", finished.outcome),
            _ => {}
        }
    }

    session.close().await?;
    Ok(())
}
