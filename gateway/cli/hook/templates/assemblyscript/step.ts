/** Counts the lines of a file in the mission's workspace. */

import { Answer, exportStep, refuse, Step, Value } from "missiongate";

exportStep(run);

/** The first round asks for the file; the second finds it in the journal. */
function run(step: Step): Answer {
  step.parameters.expect(["path", "skip_empty"]);
  const path = step.parameters.requireString("path");
  const skipEmpty = step.parameters.boolean("skip_empty", false);

  const file = step.outcome();
  if (file === null) return Answer.effect("file.read", Value.object().set("path", path));

  const content = file.get("content");
  if (content === null || !content.isText()) {
    // a larger one comes as a reference, an object (abi.md)
    refuse("file.not_text", "the file is no text of at most 64 KiB");
    return Answer.output(Value.nothing());
  }
  const count = Value.integer(lines(content.asText(), skipEmpty));
  return Answer.output(Value.object().set("path", path).set("lines", count));
}

/** Returns the number of lines; what follows the last end of line is one too, unless it is empty. */
function lines(text: string, skipEmpty: bool): i64 {
  let count: i64 = 0;
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    if (end > start || !skipEmpty) count++;
    start = end + 1;
  }
  return count;
}
