/** Takes white space off both ends of the parameters that the site names: of `message` unless its settings say more. */

import { exportRewrite, Rewrite, Value } from "missiongate";

const FIELDS_MAX = 64;

exportRewrite(run);

function run(rewrite: Rewrite): Value {
  rewrite.settings.expect(["fields"]);
  let fields = rewrite.settings.strings("fields", 0, FIELDS_MAX);
  if (fields === null) fields = Value.array().push(Value.text("message"));
  if (!rewrite.value.isObject()) return rewrite.value;

  const parameters = Value.object();
  for (let i = 0; i < rewrite.value.length; i++) {
    const name = rewrite.value.name(i);
    const value = rewrite.value.item(i);
    const trims = value.isText() && isNamed(fields, name);
    parameters.set(name, trims ? Value.text(trimmed(value.asText())) : value);
  }
  return parameters;
}

function isNamed(fields: Value, name: string): bool {
  for (let i = 0; i < fields.length; i++) {
    if (fields.item(i).is(name)) return true;
  }
  return false;
}

function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.substring(start, end);
}

function isSpace(unit: i32): bool {
  return unit == 0x20 || unit == 0x09 || unit == 0x0d || unit == 0x0a;
}
