//! Counts the lines of a file in the mission's workspace.

use missiongate::{Answer, Refusal, Step, Value};

missiongate::export_step!(run);

/// The first round asks for the file; the second finds it in the journal.
fn run(step: &Step) -> Result<Answer, Refusal> {
    step.parameters.expect(&["path", "skip_empty"])?;
    let path = step.parameters.require_string("path")?;
    let skip_empty = step.parameters.boolean("skip_empty", false)?;

    let file = match step.outcome()? {
        None => return Ok(Answer::effect("file.read", Value::object([("path", path)]))),
        Some(file) => file,
    };
    let content = file.get("content").and_then(|content| content.as_str());
    // A larger one comes as a reference, an object (abi.md).
    let content = content.ok_or_else(|| Refusal::new("file.not_text", "the file is no text of at most 64 KiB"))?;
    let count = content.split_terminator('\n').filter(|line| !(skip_empty && line.is_empty())).count();
    Ok(Answer::Output(Value::object([("path", path), ("lines", Value::from(count as i64))])))
}
