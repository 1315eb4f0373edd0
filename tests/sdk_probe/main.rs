//! Does what the probes of the other languages do, so that their SDKs can be compared.

use missiongate::{parse, Answer, Effect, Refusal, Step, Value};

missiongate::export_step!(run);

fn run(step: &Step) -> Result<Answer, Refusal> {
    let given = step.parameters;
    given.expect(&["value", "text", "number", "flag", "word", "list", "parse", "fail", "nest", "wait"])?;
    let mut out = Vec::new();
    if let Some(value) = given.get("value") {
        out.push(("value", value));
    }
    if let Some(text) = given.string("text")?.and_then(|text| text.as_str()) {
        out.push(("text", text.into()));
    }
    if let Some(number) = given.integer("number", i64::MIN, i64::MAX)? {
        out.push(("number", number.into()));
    }
    if given.get("flag").is_some() {
        out.push(("flag", given.boolean("flag", false)?.into()));
    }
    out.push(("word", given.word("word", &["one", "two"])?.into()));
    if given.strs("list", 1, 3)?.is_some() {
        out.push(("list", given.require("list")?));
    }
    if let Some(text) = given.string("parse")?.and_then(|text| text.as_str()) {
        out.push(("parse", parse(text).ok_or_else(|| Refusal::new("probe.not_json", "it is not JSON"))?));
    }
    if let Some(text) = given.string("fail")?.and_then(|text| text.as_str()) {
        return Err(Refusal::new("probe.failed", text));
    }
    if let Some(depth) = given.integer("nest", 0, 200)? {
        out.push(("nest", (0..depth).fold(Value::object([]), |value, _| Value::array(vec![value]))));
    }
    if let Some(count) = given.integer("wait", 1, 64)? {
        let done = (0..count as usize).map(|at| step.outcome_at(at)).collect::<Result<Vec<_>, _>>()?;
        match done.into_iter().collect::<Option<Vec<_>>>() {
            None => return Ok(Answer::Effects((0..count).map(sleep).collect())),
            Some(outcomes) => out.push(("wait", outcomes.into())),
        }
    } else if let Some(outcome) = step.outcome()? {
        out.push(("outcome", outcome));
    }
    Ok(Answer::Output(Value::object(out)))
}

fn sleep(ms: i64) -> Effect {
    Effect { op: "timer.sleep", args: Value::object([("ms", Value::from(ms))]) }
}
