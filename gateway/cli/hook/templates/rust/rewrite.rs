//! Takes white space off both ends of the parameters that the site names: of `message` unless its settings
//! say more.

use missiongate::{Member, Refusal, Rewrite, Value};

missiongate::export_rewrite!(run);

const FIELDS_MAX: usize = 64;
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn run(rewrite: &Rewrite) -> Result<Value, Refusal> {
    rewrite.settings.expect(&["fields"])?;
    let fields = rewrite.settings.strs("fields", 0, FIELDS_MAX)?;
    let fields = fields.unwrap_or_else(|| vec!["message"]);

    let members = match rewrite.value.as_object() {
        None => return Ok(rewrite.value),
        Some(members) => members,
    };
    let trimmed = |member: &Member| match member.value.as_str() {
        Some(text) if fields.contains(&member.name) => Value::text(text.trim_matches(&SPACE[..])),
        _ => member.value,
    };
    Ok(Value::object(members.iter().map(|member| (member.name, trimmed(member)))))
}
