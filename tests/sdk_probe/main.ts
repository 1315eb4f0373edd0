/** Does what the probes of the other languages do, so that their SDKs can be compared. */

import { Answer, Effect, exportStep, parse, refuse, Step, Value } from "missiongate";

exportStep(run);

function run(step: Step): Answer {
  const given = step.parameters;
  given.expect(["value", "text", "number", "flag", "word", "list", "parse", "fail", "nest", "wait"]);
  const out = Value.object();
  const value = given.get("value");
  if (value !== null) out.set("value", value);
  const text = given.string("text");
  if (text !== null) out.set("text", Value.text(text.asText()));
  if (given.get("number") !== null) {
    out.set("number", Value.integer(given.integer("number", i64.MIN_VALUE, i64.MAX_VALUE, 0)));
  }
  if (given.get("flag") !== null) out.set("flag", Value.bool(given.boolean("flag", false)));
  out.set("word", Value.text(given.word("word", ["one", "two"])));
  const list = given.strings("list", 1, 3);
  if (list !== null) out.set("list", list);
  const written = given.string("parse");
  if (written !== null) {
    const parsed = parse(written.asText());
    if (parsed === null) refuse("probe.not_json", "it is not JSON");
    else out.set("parse", parsed);
  }
  const fail = given.string("fail");
  if (fail !== null) refuse("probe.failed", fail.asText());
  if (given.get("nest") !== null) {
    let nested = Value.object();
    const depth = given.integer("nest", 0, 200, 0);
    for (let i: i64 = 0; i < depth; i++) nested = Value.array().push(nested);
    out.set("nest", nested);
  }
  const count = <i32>given.integer("wait", 1, 64, 0);
  if (count > 0) return waited(step, out, count);
  const outcome = step.outcome();
  if (outcome !== null) out.set("outcome", outcome);
  return Answer.output(out);
}

function waited(step: Step, out: Value, count: i32): Answer {
  const outcomes = Value.array();
  const effects: Effect[] = [];
  for (let i = 0; i < count; i++) {
    effects.push(new Effect("timer.sleep", Value.object().set("ms", Value.integer(i))));
    const outcome = step.outcomeAt(i);
    if (outcome !== null) outcomes.push(outcome);
  }
  if (outcomes.length < count) return Answer.effects(effects);
  return Answer.output(out.set("wait", outcomes));
}
