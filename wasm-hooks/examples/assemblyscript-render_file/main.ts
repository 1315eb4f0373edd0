/** render_file: puts values into a template, and writes the result to a new file. */

import { Answer, exportStep, invalid, member, refuse, refused, Step, Value } from "missiongate";

exportStep(run);

function run(step: Step): Answer {
  step.parameters.expect(["path", "template", "values"]);
  const path = step.parameters.requireString("path");
  const template = step.parameters.requireString("template").asText();
  const values = step.parameters.require("values");
  if (!values.isObject()) invalid("values: an object is needed");

  const written = step.outcome();
  if (written !== null) {
    const bytes = member(written, "bytes");
    return Answer.output(Value.object().set("path", path).set("bytes", bytes).set("sha256", member(written, "sha256")));
  }
  const content = Value.text(rendered(template, values));
  return Answer.effect("file.write", Value.object().set("path", path).set("content", content));
}

/** Returns the template with each {{name}} replaced; what is put in is not looked at again. */
function rendered(template: string, values: Value): string {
  const parts: string[] = [];
  let from = 0;
  while (!refused()) {
    const start = template.indexOf("{{", from);
    if (start < 0) break;
    const end = template.indexOf("}}", start);
    if (end < 0) {
      refuse("template.open", "the template has {{ without }}");
      break;
    }
    parts.push(template.substring(from, start));
    parts.push(shown(values, template.substring(start + 2, end).trim()));
    from = end + 2;
  }
  parts.push(template.substring(from));
  return parts.join("");
}

function shown(values: Value, name: string): string {
  const value = values.get(name);
  if (value === null) refuse("template.unknown", "no value is given for a name of the template");
  else if (value.isText()) return value.asText();
  else if (value.isNumber()) return value.asNumber();
  else if (value.isBool()) return value.asBool() ? "true" : "false";
  else refuse("template.kind", "a value is neither text nor number, true or false");
  return "";
}
