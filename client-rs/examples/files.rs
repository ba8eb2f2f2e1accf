//! Files into a session and out of it, checked on both sides.
//!
//! Start a server (`make run`), then `cargo run -p execgate-client --example files`.

use execgate_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let session = client.session().await?;
    session.run("cd \"$(mktemp -d)\"").await?;

    let script = b"#!/bin/sh\necho \"$1\" | tr a-z A-Z >shout.txt\n";
    let written = session.put(script, "bin/shout").mode(0o755).await?;
    println!("put {} bytes, verified: {}", written.size, written.verified);

    session.run("./bin/shout hello").await?;
    let text = session.get("shout.txt").bytes().await?;
    print!("{}", String::from_utf8_lossy(&text));

    match session.get("absent").bytes().await {
        Err(Error::File(error)) => println!("{}: {error}", error.reason.name()),
        other => println!("{other:?}"),
    }

    session.run("cd / && rm -r \"$OLDPWD\"").await?;
    session.close().await?;
    Ok(())
}
