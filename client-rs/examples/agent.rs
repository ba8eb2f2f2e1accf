//! The loop of an agent: try, look at what came of it, try something else.
//!
//! The "model" here is a list of commands; what matters is what becomes of each: a
//! result, a denial with a suggestion, a time limit, too much output.
//!
//! Start a server (`make run`), then `cargo run -p execgate-client --example agent`.

use std::time::Duration;

use execgate_client::{Budget, Client, Command, Error, ErrorReason, RunResult};

/// What a model would come up with.
const IDEAS: [&str; 6] = [
    "mkdir -p project && cd project && echo 'print(1/0)' >main.py && ls",
    "test -f main.py && echo there || echo missing",
    "rm -rf /",
    "seq 1 100000",
    "sleep 60",
    "cd .. && rm -r project",
];

/// What a model would read.
fn observation(answer: Result<RunResult, Error>) -> Result<String, Error> {
    match answer {
        Ok(result) if result.timed_out() => Ok("[it took too long and was ended]".to_owned()),
        Ok(result) => Ok(format!(
            "{}{}[exit code {:?}, in {}]",
            result.stdout_text(),
            result.stderr_text(),
            result.exit_code(),
            result.cwd(),
        )),
        // The model can do something about a denial, and only about that.
        Err(error) if error.reason() == Some(ErrorReason::PolicyDenied) => {
            Ok(format!("[denied: {error}]"))
        }
        Err(error) => Err(error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let session = client.session().label("agent", "example").await?;
    session.run("cd \"$(mktemp -d)\"").await?;

    let budget = Budget::new().head(2).tail(2);
    for idea in IDEAS {
        println!("$ {idea}");
        let command = Command::script(idea)
            .timeout(Duration::from_secs(1))
            .output_budget(budget.clone());
        println!("{}", observation(session.run(command).await)?);
    }

    session.close().await?;
    Ok(())
}
